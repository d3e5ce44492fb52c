"""Rows of `sweep_protocol`: equal cells, slower cells, time, history, processes, a shipped sweep twice, and the twin."""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import time
from typing import Any

import yaml

from tests.slow.sweep_commands import ROOT, Bench, Row, Sweep, equal_cells, noise, pairs, ratio, twin_of
from tests.slow.test_pinned_memory import PROCESSES, ROUNDS, Turns, levels_in_turns
from upbench.analysis.passes import PassRatio
from upbench.analysis.stats import Verdict
from upbench.machine import allocator
from upbench.report.tables.pass_levels import passes_of

SLOWDOWN = 0.08
OPPOSITE = {Verdict.FASTER: Verdict.SLOWER, Verdict.SLOWER: Verdict.FASTER}
SLOWED = """
import torch
from upbench.upsamplers.carafe import CARAFE

class Slowed(CARAFE):
    def __init__(self, channels, scale, work=0):
        super().__init__(channels, scale)
        self.work = work
        self.scratch = torch.ones(4096)

    def forward(self, x, size=None):
        for _ in range(self.work):
            self.scratch.add_(1e-9)
        return super().forward(x)
"""
CALIBRATE = """
import random, sys
import numpy as np, torch
from slowed import Slowed
from upbench.analysis.passes import interquartile_mean
from upbench.measure.cpu_clock import ThreadMeter

torch.set_num_threads(1)
torch.manual_seed(0)
plain, slow = Slowed(64, 2).eval(), Slowed(64, 2, int(sys.argv[1])).eval()
x, meter, order = torch.rand(1, 64, 48, 48), ThreadMeter(), random.Random(0)
def call_of(module):
    def call():
        with torch.inference_mode():
            module(x)
    return call
calls = [call_of(plain), call_of(slow)]
for call in calls * 3:
    call()
logs = []
for _ in range(int(sys.argv[2])):
    row = [0, 1] if order.random() < 0.5 else [1, 0]
    taken = [0.0, 0.0]
    for n in row + row[::-1]:
        taken[n] += meter.sample(calls[n], 1).cpu_s
    logs.append(np.log(taken[1] / taken[0]))
print(interquartile_mean(logs), np.std(logs) / len(logs) ** 0.5)
"""


def equal(bench: Bench) -> list[Row]:
    """Sweeps of equal cells: what is told apart, false effects and dominations, and whether intervals hold the truth."""
    found: list[tuple[PassRatio, float]] = []
    effects = dominated = 0
    spread = 1.0
    for n in range(bench.sweeps):
        done = bench.sweep(equal_cells(), f"equal-{n}")
        records = done.records
        found += [(one, max(noise(a), noise(b))) for a, b, one in pairs(records)]
        values = [ratio(record) for record in records]
        spread = max(spread, max(values) / min(values))
        rows = done.shown("effects", "--metrics", "latency", "--part", "effects")["tables"][0]["rows"]
        effects += sum(row["verdict"] in ("FASTER", "SLOWER") for row in rows)
        front = done.shown("effects", "--metrics", "latency", "--part", "front")["tables"][0]["rows"]
        dominated += sum(not row["on_front"] for row in front)
    apart = sum(one.told_apart(resolution) for one, resolution in found)
    covered = [one.low is not None and one.high is not None and one.low <= 1 <= one.high for one, _ in found]
    narrow = min(one.half_width or 0.0 for one, _ in found)
    return [
        Row("equal pairs told apart", f"{apart} of {len(found)}", "at most 1 of 140", apart <= len(found) / 140),
        Row("false effects", str(effects), "0", effects == 0),
        Row("equal cells dominated", str(dominated), "0", dominated == 0),
        Row("largest ratio of equal cells", f"{spread:.3f}", "at most 1.05", spread <= 1.05),
        Row("pair intervals that hold 1", f"{sum(covered)} of {len(found)}", "at least 93 %", _part(covered) >= 0.93),
        Row("narrowest half interval", f"{narrow:.2%}", "at least 0.5 %", narrow >= 0.005),
    ]


def power(bench: Bench) -> list[Row]:
    """Half of the cells 8 % slower: all of these pairs must be seen, and none called the same."""
    (bench.folder / "slowed.py").write_text(SLOWED)
    work, effect, error = _work(bench)
    data = equal_cells("slowed:Slowed", 4)
    data["grid"] = {"work": [0, work], "seed": list(range(4))}
    verdicts: list[Verdict] = []
    values: list[float] = []
    for n in range(bench.sweeps):
        records = bench.sweep(data, f"power-{n}").records
        for a, b, one in pairs(records):
            if a.axes["work"] == b.axes["work"]:
                continue
            slow_first = a.axes["work"] > b.axes["work"]
            verdict = one.verdict(max(noise(a), noise(b)))
            verdicts.append(OPPOSITE.get(verdict, verdict) if slow_first else verdict)
            values.append(1 / one.value if slow_first else one.value)
    slower, same = (sum(one is verdict for one in verdicts) for verdict in (Verdict.SLOWER, Verdict.SAME))
    shown = math.exp(statistics.fmean(map(math.log, values))) - 1
    return [
        Row(
            "calibrated slowdown", f"{effect:+.1%} (se {error:.1%})", "+8 % within 0.5", abs(effect - SLOWDOWN) <= 0.005
        ),
        Row("the same in all sweeps together", f"{shown:+.1%}", "(what the verdicts are on)", None),
        Row(
            "slower pairs called SLOWER", f"{slower} of {len(verdicts)}", "at least 90 %", slower >= 0.9 * len(verdicts)
        ),
        Row("slower pairs called SAME", str(same), "0", same == 0),
    ]


def _work(bench: Bench) -> tuple[int, float, float]:
    """How many units of work are 8 % of a call by CPU time in a pinned process, what they are, and its standard error."""
    environment = allocator.worker_environment("kept", bench.environment)

    def log_ratio(units: int, rounds: int) -> tuple[float, float]:
        line = [sys.executable, "-c", CALIBRATE, str(units), str(rounds)]
        done = subprocess.run(line, check=True, capture_output=True, text=True, env=environment, start_new_session=True)
        value, error = map(float, done.stdout.split())
        return value, error

    units = 200
    for _ in range(3):
        value, error = log_ratio(units, 400)
        if abs(math.expm1(value) - SLOWDOWN) <= 0.003:
            break
        units = max(1, round(units * math.log1p(SLOWDOWN) / value))
    value, error = log_ratio(units, 800)
    return units, math.expm1(value), error


def wall_time(bench: Bench) -> list[Row]:
    """The same sweep by this build and by another one, in turn."""
    limit = "at most the other build's"
    if bench.old is None:
        return [Row("wall time of a sweep", "no other build was given (--old)", limit, None)]
    taken: dict[str, list[float]] = {"new": [], "old": []}
    for n in range(max(2, bench.sweeps // 2)):
        for which in ("new", "old") if n % 2 else ("old", "new"):
            if which == "new":
                taken["new"].append(bench.sweep(equal_cells(), f"time-{n}").took_s)
                continue
            spec = bench.write(equal_cells(), f"time-old-{n}")
            begun = time.monotonic()
            line = [str(bench.old), "sweep", str(spec), "--output", str(bench.folder / f"time-old-{n}.jsonl")]
            alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            subprocess.run(line, check=True, capture_output=True, env=alone, cwd=bench.folder)
            taken["old"].append(time.monotonic() - begun)
    new, old = sum(taken["new"]), sum(taken["old"])
    each = ", ".join(f"{a:.0f}/{b:.0f}" for a, b in zip(taken["new"], taken["old"], strict=True))
    return [Row("wall time of a sweep, new/old", f"{new / old:.2f} ({each} s)", limit, new <= old)]


def history(bench: Bench) -> list[Row]:
    """Equal cells after unequal ones, in both orders."""
    shapes = ["64x48x48", "64x64x64", "64x48x48", "64x80x80", "64x48x48"]
    cells = [{"shape": shape, "seed": shapes[:n].count(shape)} for n, shape in enumerate(shapes)]
    rows = []
    for order, listed in (("in order", cells), ("in the opposite order", cells[::-1])):
        data = {key: value for key, value in equal_cells().items() if key != "grid"} | {"cells": listed}
        records = bench.sweep(data, f"history-{order.rpartition(' ')[0].replace(' ', '-')}").records
        alike = [record for record in records if record.axes["shape"] == shapes[0]]
        values = [ratio(record) for record in alike]
        apart = max(values) / min(values) - 1
        faults = max(passes.faults or 0.0 for record in records if (passes := passes_of(record)))
        rows += [
            Row(f"equal cells after unequal ones, {order}", f"{apart:.1%} apart", "within 3 %", apart <= 0.03),
            Row(f"page faults a call, {order}", f"{faults:g}", "0", faults == 0),
        ]
    return rows


def processes(bench: Bench) -> list[Row]:
    """Fresh workers that take turns."""
    turns = Turns(PROCESSES, allocator.worker_environment("kept", os.environ))
    try:
        levels, faults = levels_in_turns(turns, [(n, 0) for n in range(PROCESSES)], ROUNDS)
    finally:
        turns.end()
    sd = statistics.stdev(levels)
    return [
        Row(f"sd of {PROCESSES} fresh workers", f"{sd:.2%}", "at most 1 %", sd <= 0.01),
        Row("page faults a call in them", f"{max(faults):g}", "0", max(faults) == 0),
    ]


def theta(bench: Bench) -> list[Row]:
    """A shipped sweep twice: what one run says the other may not deny."""
    data = yaml.safe_load((ROOT / "sweeps" / "theta.yaml").read_text())
    data["measure"] |= {"device": "cpu", "budget": 2.0}
    runs = [bench.sweep({**data, "name": f"theta-{n}"}, f"theta-{n}") for n in range(2)]
    first, second = map(_verdicts, runs)
    denied = [pair for pair in first if _contradict(first[pair], second[pair])]
    told = [sum(one[0] in (Verdict.FASTER, Verdict.SLOWER) for one in run.values()) for run in (first, second)]
    return [
        Row("theta twice: pairs that one run denies", f"{len(denied)} of {len(first)}", "0", not denied),
        Row("theta twice: pairs told apart", f"{told[0]} and {told[1]}", "(for the row above)", None),
    ]


def _verdicts(sweep: Sweep) -> dict[tuple[Any, Any], tuple[Verdict, float]]:
    return {
        (a.axes["theta"], b.axes["theta"]): (one.verdict(max(noise(a), noise(b))), one.value)
        for a, b, one in pairs(sweep.records)
    }


def _contradict(one: tuple[Verdict, float], other: tuple[Verdict, float]) -> bool:
    """Whether a pair is told apart in a run and another order, or called the same, in the other."""
    for (verdict, value), (denial, against) in ((one, other), (other, one)):
        if verdict in (Verdict.FASTER, Verdict.SLOWER) and (denial is Verdict.SAME or (value > 1) != (against > 1)):
            return True
    return False


def twin(bench: Bench) -> list[Row]:
    """The hidden second build of the reference, in every sweep of the folder to which nothing happened."""
    kinds = ("equal", "power", "history", "time", "theta")
    files = [file for kind in kinds for file in sorted(bench.folder.glob(f"{kind}-*.passes.jsonl"))]
    found = [one for file in files if (one := twin_of(file)) is not None]
    if not found:
        return [Row("twins whose interval holds 1", "no sweep was run", "at least 19 of 20", None)]
    held = [(one.low or 0.0) <= 1 <= (one.high or math.inf) for one, _ in found]
    resolution = max(resolution for _, resolution in found)
    return [
        Row("twins whose interval holds 1", f"{sum(held)} of {len(held)}", "at least 19 of 20", _part(held) >= 0.95),
        Row("largest resolution printed", f"{resolution:.1%}", "at most 5 %", resolution <= 0.05),
    ]


def _part(held: list[bool]) -> float:
    return sum(held) / len(held) if held else 0.0
