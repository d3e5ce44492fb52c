"""Verdicts of a study from rows that are made up: the base's mean, the A/A, Holm, two looks, runs that are lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from upbench.analysis.paired import Better
from upbench.quality.candidates import candidate
from upbench.quality.judging import judge
from upbench.quality.protocol import VERSION, Candidate, Protocol
from upbench.quality.rows import Row
from upbench.quality.study import Study

NOISE = [0.03, -0.05, 0.01, 0.04, -0.02, 0.02, -0.01, 0.05, -0.04, 0.02, 0.0, -0.03]


def study(seeds: int, *names: str) -> Study:
    protocol = Protocol(seeds=seeds)  # type: ignore[arg-type]
    return Study(protocol, tuple(candidate({"upsampler": name}, protocol, "test") for name in names))


def rows(
    one: Candidate, scores: Sequence[float], repeat: int = 0, planned: int = 6, status: Mapping[int, str] | None = None
) -> list[Row]:
    found = []
    for seed, score in enumerate(scores):
        made = {
            "version": VERSION, "protocol": {}, "data": "", "about": "", "planned": planned, "upsampler": one.upsampler,
            "params": one.params, "label": one.label, "key": one.key, "repeat": repeat, "seed": seed, "together": (seed,),
            "status": (status or {}).get(seed, "ok"), "scores": {"miou": score}, "cpu_s": 2.0, "backend": "eager",
            "torch": "", "device": "cpu", "date": "",
        }  # fmt: skip
        found.append(Row.model_validate(made))
    return found


def base_of(plan: Study, planned: int = 6) -> list[Row]:
    first = [70 + 0.3 * n for n in range(plan.protocol.seeds)]
    second = [score + noise for score, noise in zip(first, NOISE, strict=False)]
    return [*rows(plan.base, first, planned=planned), *rows(plan.base, second, repeat=1, planned=planned)]


def above(plan: Study, by: float) -> list[float]:
    return [70 + 0.3 * n + by + NOISE[-1 - n] for n in range(plan.protocol.seeds)]


def test_the_base_is_the_mean_of_both_runs_and_its_difference_the_resolution() -> None:
    plan = study(6, "bilinear", "carafe", "dysample")
    found = judge(
        plan,
        [*base_of(plan), *rows(plan.candidates[1], above(plan, 1)), *rows(plan.candidates[2], above(plan, 0))],
        "miou",
    )
    again = found.rows[1].against
    assert again is not None
    assert again.mean == pytest.approx(sum(NOISE[:6]) / 6)
    assert found.resolution == again.bound
    carafe = found.of("carafe")
    assert carafe.against is not None
    assert carafe.against.mean == pytest.approx(1 + sum(NOISE[6:]) / 6 - sum(NOISE[:6]) / 12)
    assert [row.verdict for row in found.rows] == [None, None, Better.better, found.of("dysample").verdict]
    assert found.of("dysample").verdict in (Better.same, Better.unsure)
    assert (found.adjusted, found.level, carafe.p) == (False, 0.05, 2 / 64)


def test_twelve_seeds_adjust_p_for_the_rows_and_a_second_look_asks_for_more() -> None:
    plan = study(12, "bilinear", "carafe", "dysample", "sapa-b")
    scores = [above(plan, by) for by in (1, -1, 0.5)]
    made = [row for one, each in zip(plan.candidates[1:], scores, strict=True) for row in rows(one, each, planned=12)]
    found = judge(plan, [*base_of(plan, planned=12), *made], "miou")
    assert found.adjusted
    assert found.level == 0.05
    assert {row.p for row in found.rows[2:]} == {3 * 2 / 4096}
    assert [row.verdict for row in found.rows[2:]] == [Better.better, Better.worse, Better.better]
    assert judge(plan, [*base_of(plan, planned=6), *made], "miou").level == 0.03


def test_a_run_that_is_lost_is_counted_and_leaves_no_verdict() -> None:
    plan = study(6, "bilinear", "carafe")
    lost = {2: "diverged", 4: "error"}
    found = judge(plan, [*base_of(plan), *rows(plan.candidates[1], above(plan, 2), status=lost)], "miou").of("carafe")
    assert (found.runs, found.lost, found.verdict) == (4, "1 diverged, 1 failed", Better.unsure)
    nothing = judge(plan, base_of(plan), "miou").of("carafe")
    assert (nothing.mean, nothing.against, nothing.verdict) == (None, None, Better.unsure)
