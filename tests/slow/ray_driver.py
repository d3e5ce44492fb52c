"""A sweep of fake cells on a cluster, as a process of its own: ADDRESS FILE CELLS; prints its peak memory in MB."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

from upbench.records import store
from upbench.sweeping import expand
from upbench.sweeping import runner as sweep
from upbench.sweeping.engines.choice import Choice


def run(path: Path, count: int, choice: Choice) -> float:
    """Measure and return the seconds that it took, without the start of the workers."""
    data = {
        "name": path.stem,
        "base": {"upsampler": "carafe"},
        "input": {"shape": "16x6x5"},
        "measure": {"device": "cpu"},
        "grid": {"seed": [1000 + n for n in range(count)]},
    }
    plan = expand.load(data, "here")
    cells = expand.expand(plan, "here")
    options = sweep.Options(module="tests.slow.timed_worker", engine=choice)
    with sweep.crew(cells, options, path, _say) as crew:
        start = time.monotonic()
        sweep.run_cells(cells, plan, path, store.index(path), crew, options, lambda *said: None, _say)
        return time.monotonic() - start


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    address, file, number = sys.argv[1:]
    seconds = run(Path(file), int(number), Choice(name="ray", address=address))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, seconds)
