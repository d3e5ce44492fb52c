"""Processor seconds of README's command, beside those of another build of upbench, in turn.

    python -m tests.slow.processor_seconds --old OTHER/bin/upbench --runs 3

Each build runs with an empty cache folder of its own. Results of checks are not kept (`--no-cache`), but for the last run,
which says what a second call of the same command takes. Exit code 1 says that the limit does not hold.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

COMMAND = ("compare", "ldaaqu", "dysample", "carafe", "--threads", "1")
LIMIT = 1 / 3
"""Largest part of the other build's seconds."""
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Seconds:
    """Processor seconds of the runs of both builds, and of one more whose checks were kept."""

    new: list[float]
    old: list[float]
    again: float

    @property
    def ratio(self) -> float:
        """Median of the new build's as a part of the old one's."""
        return statistics.median(self.new) / statistics.median(self.old)

    def __str__(self) -> str:
        new, old = (" ".join(f"{one:.1f}" for one in runs) for runs in (self.new, self.old))
        last = statistics.median(self.old)
        return (
            f"new {new} s, old {old} s: {self.ratio:.2f} of it (limit {LIMIT:.2f}); with kept checks {self.again:.1f} s, "
            f"{self.again / last:.2f} of it"
        )


def spent(words: Sequence[str], cache: Path, this_build: bool) -> float:
    """Return the processor seconds, of the user and the system, of a command and of all that it started.

    Args:
        words: The command.
        cache: Its cache folder.
        this_build: Whether modules are found in this checkout.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"UPBENCH_CACHE": str(cache), **({"PYTHONPATH": str(ROOT)} if this_build else {})}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(words, cwd=cache, env=environment, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}: {done.stderr}")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def compare(old: Path, runs: int) -> Seconds:
    """Return the seconds of both builds.

    Args:
        old: The other build's command.
        runs: Runs of each.
    """
    here = (sys.executable, "-m", "upbench", *COMMAND)
    seconds: dict[str, list[float]] = {"new": [], "old": []}
    with tempfile.TemporaryDirectory() as folder:
        caches = {name: Path(folder) / name for name in seconds}
        for cache in caches.values():
            cache.mkdir()
        for n in range(runs):
            for name in ("new", "old") if n % 2 == 0 else ("old", "new"):
                words = (*here, "--no-cache") if name == "new" else (str(old), *COMMAND)
                seconds[name].append(spent(words, caches[name], name == "new"))
                print(f"  {name}: {seconds[name][-1]:.1f} s (load {os.getloadavg()[0]:.1f})", flush=True)
        spent(here, caches["new"], True)
        return Seconds(seconds["new"], seconds["old"], spent(here, caches["new"], True))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the seconds, and return 1 where the limit does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", type=Path, required=True, help="the other build's command, as OTHER/bin/upbench")
    parser.add_argument("--runs", type=int, default=3, help="runs of each build")
    given = parser.parse_args(arguments)
    found = compare(given.old.absolute(), given.runs)
    print(found)
    return int(found.ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
