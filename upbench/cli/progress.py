"""A progress bar on stderr for whatever takes longer than two seconds."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from upbench.cli.interrupts import TIMING
from upbench.models.job import NOTICE

PATIENCE_S = 2.0


class Progress:
    """A progress bar on a terminal, elsewhere one plain line for each new step; nothing in the first two seconds.

    Where several machines work, each has a line of its own.

    It has no thread of its own: a thread that draws would disturb what is being measured.
    """

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.stream = sys.stderr  # a module that is measured may put another in its place, or none
        self.last_step: dict[str, str] = {}
        self.bar: Any = None
        self.tasks: dict[str, Any] = {}
        self.drawn_s = 0.0
        self.timing = False

    def __call__(self, what: str, part: float, left_s: float | None = None, line: str = "") -> None:
        """Show the current step.

        Args:
            what: The step.
            part: The part of the whole that is done, from 0 to 1; NOTICE for a sentence that stays, without patience.
            left_s: Seconds until the end, where they can be known.
            line: The machine that it is a step of; "" where there is only one.
        """
        if part == NOTICE:
            self._keep(what)
            return
        self.timing = what.endswith(f": {TIMING}")
        now = time.monotonic()
        if now - self.start < PATIENCE_S or self.stream is None:
            return
        if not self.stream.isatty():
            if what != self.last_step.get(line):
                left = f", {time_left(left_s)}" if left_s is not None else ""
                where = f"{line}: " if line else ""
                print(f"upbench: {where}{what} ({part:.0%}{left})", file=self.stream, flush=True)
            self.last_step[line] = what
        elif what != self.last_step.get(line) or now - self.drawn_s > 0.2 or part >= 1:
            text = what if left_s is None else f"{what}, {time_left(left_s)}"
            self._draw(f"{line}: {text}" if line else text, part, line)
            self.last_step[line], self.drawn_s = what, now

    def _keep(self, what: str) -> None:
        """Print a sentence that stays, above a bar where there is one."""
        if self.bar is not None:
            self.bar.console.print(f"upbench: {what}", markup=False, highlight=False)
        elif self.stream is not None:
            print(f"upbench: {what}", file=self.stream, flush=True)

    def _draw(self, what: str, part: float, line: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        if self.bar is None:
            columns = (BarColumn(20), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
            self.bar = Bar(
                *columns, console=Console(file=self.stream), auto_refresh=False, transient=True, redirect_stdout=False
            )
            self.bar.start()
        if line not in self.tasks:
            self.tasks[line] = self.bar.add_task("", total=1.0)
        self.bar.update(self.tasks[line], completed=part, description=what)
        self.bar.refresh()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()
        if isinstance(error, KeyboardInterrupt) and self.timing:
            error.args = (TIMING,)


def time_left(seconds: float) -> str:
    """Return a time in words, as "5 min left"."""
    return f"{span(seconds)} left"


def span(seconds: float) -> str:
    """Return a time in words, no finer than it can be known: "40 s", "5 min", "2 h 10 min"."""
    if seconds < 90:
        return f"{max(seconds, 0):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
