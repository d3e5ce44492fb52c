"""What a sweep must show: one script that drives the real command line, and one table of figures, limits and outcomes.

    python -m tests.slow.sweep_protocol --neighbours --old OTHER/bin/upbench

It takes the better part of an hour; `--only` picks rows, `--sweeps` makes it shorter. With `--neighbours` two processes
spin beside it, each a session of its own. Exit code 1 says that a limit does not hold.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

from tests.slow import sweep_failures, sweep_figures
from tests.slow.neighbours import spinning
from tests.slow.sweep_commands import Bench, Row

ROWS: dict[str, Callable[[Bench], list[Row]]] = {
    "processes": sweep_figures.processes,
    "history": sweep_figures.history,
    "kill": sweep_failures.kill,
    "kill-in-a-write": sweep_failures.kill_in_a_write,
    "crash": lambda bench: sweep_failures.fails_in_one_pass(bench, "crash"),
    "oom": lambda bench: sweep_failures.fails_in_one_pass(bench, "oom"),
    "hang": lambda bench: sweep_failures.fails_in_one_pass(bench, "hang"),
    "equal": sweep_figures.equal,
    "power": sweep_figures.power,
    "time": sweep_figures.wall_time,
    "theta": sweep_figures.theta,
    "twin": sweep_figures.twin,
}
"""Groups of figures by the name that --only takes; `twin` counts the sweeps of those before it."""


def run(bench: Bench, names: Sequence[str]) -> list[Row]:
    """Return the rows of some groups; each is printed as soon as it is known."""
    rows: list[Row] = []
    for name in names:
        begun = time.monotonic()
        found = ROWS[name](bench)
        for row in found:
            print(f"  {row}", flush=True)
        print(f"  ({name}: {time.monotonic() - begun:.0f} s, load {os.getloadavg()[0]:.1f})", flush=True)
        rows += found
    return rows


def table(rows: Sequence[Row]) -> str:
    """Return the rows below each other: figure, what was measured, limit, and whether it holds."""
    cells = [("figure", "measured", "limit", "held"), *(row.cells for row in rows)]
    widths = [max(len(row[n]) for row in cells) for n in range(4)]
    return "\n".join("  ".join(text.ljust(widths[n]) for n, text in enumerate(row)).rstrip() for row in cells)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--neighbours", action="store_true", help="let two processes spin beside it")
    parser.add_argument("--only", metavar="NAME,NAME", help=f"of {', '.join(ROWS)}; default: all")
    parser.add_argument("--sweeps", type=int, default=5, help="sweeps of equal cells, and of slower ones; default: 5")
    parser.add_argument("--old", type=Path, help="the upbench of another build, for the time")
    parser.add_argument("--folder", type=Path, help="where files are kept; default: a temporary folder")
    given = parser.parse_args()
    names = given.only.split(",") if given.only else list(ROWS)
    if wrong := [name for name in names if name not in ROWS]:
        parser.error(f"--only {','.join(wrong)}: known are {', '.join(ROWS)}")
    with tempfile.TemporaryDirectory() as temporary, spinning() if given.neighbours else nullcontext():
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        rows = run(Bench(folder, given.sweeps, given.old), names)
    print(f"\n{table(rows)}")
    sys.exit(any(row.held is False for row in rows))


if __name__ == "__main__":
    main()
