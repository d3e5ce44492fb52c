"""A baseline judges the module of a user's wherever it stands in the comparison."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.gate.test_gate import record, times
from upbench.cli import drafts, gates
from upbench.cli.gate_options import GateOptions
from upbench.errors import SpecError
from upbench.gate import Finding, Result, diff, exit_code, measured
from upbench.gate.budgets import Budgets
from upbench.records.record import Output

RULES = diff.Rules("baseline", "the baseline", "this run")


def run(names: str, mine: float, code: str = "a", other_code: str | None = None) -> list[measured.Measured]:
    """One comparison of `up:Up` and others, in the order of names; bilinear takes 1, and `up:Up` so much of that."""
    sources = {"up:Up": {"up.py": code}, "other:Up": {"other.py": other_code or "a"}}
    factors = {"up:Up": mine, "bilinear": 1.0, "other:Up": 2.0}
    records = [
        record(name, times(factors[name]), noise_floor=0.01, sources=sources.get(name)) for name in names.split()
    ]
    return measured.from_records(records, records[0])


def latencies(old: list[measured.Measured], new: list[measured.Measured]) -> dict[str, Finding]:
    found = [f for f in diff.compare(old, new, RULES) if f.gate == "baseline latency"]
    assert len({f.upsampler for f in found}) == len(found)
    return {f.upsampler: f for f in found}


@pytest.mark.parametrize("names", ["up:Up bilinear", "bilinear up:Up", "up:Up bilinear other:Up"])
def test_a_slower_module_fails_first_or_last(names: str) -> None:
    found = latencies(run(names, 4.0), run(names, 6.4, "b"))
    assert found["up:Up"].result is Result.failed
    assert found["up:Up"].sentence.startswith("SLOWER: 1.60x")
    assert "bilinear" not in found or names.startswith("bilinear")


def test_a_faster_module_makes_nobody_slower() -> None:
    found = latencies(run("up:Up bilinear", 4.0), run("up:Up bilinear", 2.0, "b"))
    assert {name: f.result for name, f in found.items()} == {"up:Up": Result.passed}
    assert found["up:Up"].sentence.startswith("FASTER: 0.50x")
    assert "2.00x of bilinear, 4.00x in the baseline" in found["up:Up"].sentence


def test_the_order_may_be_another_than_in_the_baseline() -> None:
    assert latencies(run("bilinear up:Up", 4.0), run("up:Up bilinear", 6.4, "b"))["up:Up"].result is Result.failed


def test_alone_it_cannot_be_judged_and_strict_does_not_pass_it() -> None:
    found = latencies(run("up:Up", 4.0), run("up:Up", 40.0, "b"))
    assert found["up:Up"].result is Result.unsure
    assert "`compare bilinear up:Up`" in found["up:Up"].sentence
    assert exit_code(list(found.values()), strict=True) == 1


def test_beside_one_that_changed_as_well_it_cannot_be_judged() -> None:
    found = latencies(run("up:Up other:Up", 4.0), run("up:Up other:Up", 8.0, "b", "b"))
    assert found["up:Up"].result is Result.unsure


def test_with_its_code_as_it_was_it_is_judged_and_so_are_the_others() -> None:
    found = latencies(run("up:Up bilinear", 4.0), run("up:Up bilinear", 4.0))
    assert {name: f.result for name, f in found.items()} == {"up:Up": Result.passed, "bilinear": Result.passed}


def test_outputs_without_statistics_are_compared_by_their_digests() -> None:
    """Those of a detector that finds nothing, or of values that are not finite."""
    none = {"mean": None, "std": None, "lowest": None, "highest": None}
    old, new = (measured.from_records([record(output=Output(digest=name, **none))]) for name in ("aa", "bb"))
    found = next(f for f in diff.compare(old, new, RULES) if f.gate == "baseline output-digest")
    assert found.result is Result.failed
    assert "it has no statistics" in found.sentence


@pytest.mark.parametrize("names", ["up:Up bilinear", "bilinear up:Up"])
def test_a_module_that_waits_now_and_is_timed_by_another_clock_does_not_pass_strictly(names: str) -> None:
    new = [replace(one, clock="perf_counter") for one in run(names, 8.0, "b")]
    found = latencies(run(names, 4.0), new)["up:Up"]
    assert found.result is Result.unsure
    assert "--against GIT_REF decides" in found.sentence


@pytest.mark.parametrize("stopped", ["interrupted", "budget"])
def test_a_baseline_of_an_interrupted_run_is_not_written(stopped: str, tmp_path: Path) -> None:
    made = record("up:Up", times(1.0))
    assert made.latency is not None
    made = made.model_copy(update={"latency": made.latency.model_copy(update={"stopped": stopped})})
    options = GateOptions(save=tmp_path / "b.json")
    gates.judge(gates.Gates(options, Budgets(), None, None, 0.05), [made], made, "all")
    assert (tmp_path / "b.json").exists() == (stopped == "budget")


def test_a_parameter_that_is_set_twice_is_refused() -> None:
    with pytest.raises(SpecError, match="--set: groups is given twice"):
        drafts.assignments(["groups=8", "groups=16"])
