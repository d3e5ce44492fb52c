"""The cells of a sweep that are to be counted, as jobs for workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from upbench.records.record import Record, Status, from_dict
from upbench.sweeping.expand import Cell
from upbench.sweeping.jobs import Job, Message

CALIBRATES_FROM_S = 60.0
"""Time limit of a cell, in seconds, from which on the first cell may also measure the ceilings of the machine."""


class Limits(Protocol):
    """What a cell may take; see `runner.Options`."""

    @property
    def timeout_s(self) -> float | None:
        """Seconds that a cell may take; None for no limit."""

    @property
    def memory_bytes(self) -> int | None:
        """Bytes that a cell may take on a CPU; None for most of what is free."""


class Run(Protocol):
    """The run of a sweep, as counting needs it; see `runner.Run`."""

    @property
    def cells(self) -> Sequence[Cell]:
        """The cells of the sweep."""

    @property
    def options(self) -> Limits:
        """The limits of the run."""

    def devices(self, n: int) -> list[str]:
        """Return the devices that a cell can be measured on."""

    def say(self, device: str, what: str, part: float, left_s: float | None) -> None:
        """Say what a device does, the part of everything that is done, and the seconds that are left."""

    def counted(self, n: int, record: Record, call_s: float, first_call_s: float) -> None:
        """Keep the record of a cell that was counted."""

    def failed(self, n: int, device: str, status: Status, error: str) -> None:
        """Write that a cell failed."""


@dataclass
class Counting:
    """Gives out cells to count.

    Args:
        run: The run that they are of.
        queue: Their numbers.
    """

    run: Run
    queue: deque[int]

    def next_job(self, device: str) -> Job | None:
        """Return the first cell that can be counted on a device."""
        n = next((n for n in self.queue if device in self.run.devices(n)), None)
        if n is None:
            return None
        self.queue.remove(n)
        plan = self.run.cells[n].spec
        assert plan is not None, "impossible cells are never measured"
        timeout_s = self.run.options.timeout_s
        message = {
            "spec": plan.to_dict(),
            "memory_bytes": self.run.options.memory_bytes,
            "calibrate": timeout_s is None or timeout_s >= CALIBRATES_FROM_S,  # its seconds count as the cell's
        }
        return Job(message, n, self.run.options.timeout_s, device=device)

    def progressed(self, job: Job, part: float) -> None:
        """Say which cell is counted."""
        total, n = len(self.run.cells), job.content
        done = total - len(self.queue) - 1
        what = f"counting [{done + 1}/{total}] {self.run.cells[n].label}"
        self.run.say(job.device, what, (done + part) / total, None)

    def answered(self, job: Job, device: str, message: Message, spent_s: float) -> None:
        """Write what was counted, or that the cell failed."""
        n = job.content
        if "record" not in message:
            self.run.failed(n, device, message["status"], message["error"])
            return
        record = from_dict(message["record"], f"the worker for {device}")
        self.run.counted(n, record, message["call_s"], message["first_call_s"])

    def lost(self, job: Job, device: str, status: Status, error: str, said: int | None) -> None:
        """Write that the cell ended its process, or took too long."""
        self.run.failed(job.content, device, status, error)

    def returned(self, job: Job, device: str) -> None:
        """Put a cell back whose machine was lost."""
        self.queue.appendleft(job.content)
