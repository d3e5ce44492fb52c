"""What `upbench compare` says of equals and of a true +8 %, run as users run it beside two busy neighbours.

`UPBENCH_COMPARISONS=20 setsid pytest -n 0 -m slow -s tests/slow/test_compare_noise.py` runs 20 of each; the default is 100.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.slow.neighbours import spinning
from tests.slow.sweep_commands import UPBENCH, Bench
from tests.slow.sweep_figures import SLOWDOWN, SLOWED
from tests.slow.sweep_figures import _work as slowing_work
from upbench.analysis.stats import Ratio
from upbench.records.record import from_dict
from upbench.report.tables import columns

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("in_workers")]
COMPARISONS = int(os.environ.get("UPBENCH_COMPARISONS", "100"))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A folder with the module that can be slowed."""
    made = Bench(tmp_path_factory.mktemp("compare"))
    (made.folder / "slowed.py").write_text(SLOWED)
    return made


@pytest.fixture(scope="module")
def work(bench: Bench) -> int:
    """Units of work that make a call 8 % slower, by CPU time while the machine is as quiet as it is."""
    units, effect, error = slowing_work(bench)
    print(f"\ncalibrated slowdown {effect:+.1%} (se {error:.1%}), {units} units")
    assert abs(effect - SLOWDOWN) <= 0.005 + 2 * error
    return units


@pytest.fixture
def neighbours(work: int) -> Iterator[None]:
    """Two busy processes, once the work is calibrated."""
    with spinning():
        yield


def compared(folder: Bench, units: int) -> tuple[Ratio, str, float, float]:
    """Ratio and verdict of the second upsampler, the noise floor, and the part of a core that it had."""
    given = ["--shape", "64x48x48", "--threads", "1", "--device", "cpu", "--format", "json"]
    line = [*UPBENCH, "compare", "slowed:Slowed", f"slowed:Slowed:work={units}", *given]
    done = subprocess.run(line, capture_output=True, text=True, cwd=folder.folder, env=folder.environment)
    assert done.returncode == 0, done.stderr
    first, second = (from_dict(one, "compare") for one in json.loads(done.stdout)["records"])
    assert second.latency is not None
    assert (second.latency.allocator, second.latency.clock_reason) == ("kept", None)
    verdict = columns.verdict(second, first)
    return columns.paired(second, first), str(verdict), second.noise_floor or 0.0, second.latency.share or 0.0


def figures(found: list[tuple[Ratio, str, float, float]]) -> tuple[Counter[str], int]:
    """Print what the comparisons showed; how often each verdict was given, and how many intervals hold 1."""
    ratios = [ratio for ratio, *_ in found]
    verdicts = Counter(verdict for _, verdict, *_ in found)
    holds = sum(ratio.low <= 1 <= ratio.high for ratio in ratios)
    logs = [math.log(ratio.value) for ratio in ratios]
    half = statistics.median((ratio.high - ratio.low) / 2 / ratio.value for ratio in ratios)
    floor = statistics.median(floor for *_, floor, _ in found)
    share = statistics.median(share for *_, share in found)
    print(
        f"\n{len(found)} comparisons: {dict(verdicts)}, {holds} intervals hold 1; ratio {math.exp(statistics.fmean(logs)):.4f} "
        f"(sd {statistics.stdev(logs):.2%}), half width {half:.1%}, noise floor {floor:.1%}, "
        f"{statistics.median(r.rounds for r in ratios):.0f} rounds, share of a core {share:.0%}"
    )
    return verdicts, holds


@pytest.mark.usefixtures("neighbours")
def test_equals_are_not_told_apart(bench: Bench) -> None:
    verdicts, holds = figures([compared(bench, 0) for _ in range(COMPARISONS)])
    assert verdicts["FASTER"] + verdicts["SLOWER"] <= max(1, COMPARISONS // 100)
    assert holds >= 0.92 * COMPARISONS - (1 if COMPARISONS < 100 else 0)


@pytest.mark.usefixtures("neighbours")
def test_a_true_slowdown_of_eight_percent_is_seen(bench: Bench, work: int) -> None:
    verdicts, _ = figures([compared(bench, work) for _ in range(COMPARISONS)])
    assert verdicts["SLOWER"] >= 0.9 * COMPARISONS
    assert verdicts["FASTER"] + verdicts["SAME"] == 0
