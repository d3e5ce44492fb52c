"""Gates as pure functions of records: exact metrics exactly, latency on its interval."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from upbench.analysis import stats
from upbench.errors import SpecError, StoreError
from upbench.gate import Finding, Result, amounts, baseline, budgets, diff, exit_code, lines, measured
from upbench.metrics import METRICS
from upbench.records.record import Latency, Macs, Memory, Output, Record
from upbench.report.formats import github, junit

ENVIRONMENT = {
    "device": "A CPU",
    "device_type": "cpu",
    "cores": 2,
    "threads": 1,
    "torch": "2.0",
    "cuda": None,
    "upbench": "1.0",
}


def record(name: str = "carafe", samples_s: Sequence[float] = (), **changes: Any) -> Record:
    """A record of 40000 parameters, 10^6 MACs and 1 MiB, timed when samples are given."""
    memory = {"forward_peak_bytes": 2**20, "training_peak_bytes": 2**21, "saved_bytes": 100, "workspace_bytes": 0}
    memory |= {key: changes.pop(key) for key in list(changes) if key in memory}
    total = changes.pop("macs", 10**6)
    environment = {**ENVIRONMENT, **changes.pop("environment", {})}
    time_of = Latency(
        mode="inference",
        clock="a clock",
        first_call_s=1.0,
        warmup_calls=2,
        stable=True,
        calls_per_sample=1,
        samples_per_round=2,
        stopped="budget",
        discarded_rounds=0,
        samples_s=list(samples_s),
    )
    whole = {
        "label": name,
        "spec": {"upsampler": name, "input": {"shape": "1x1x1"}, "measure": {"device": "cpu", "mode": "inference"}},
        "started": "then",
        "environment": environment,
        "params": 40_000,
        "macs": Macs(conv=total, gather=0, norm=0, elementwise=0, total=total),
        "op_count": 7,
        "output": Output(digest="aa", mean=0.0, std=1.0, lowest=-3.0, highest=3.0),
        "memory": Memory(method="m", input_bytes=1, weight_bytes=1, output_bytes=1, **memory),
        "latency": time_of if len(samples_s) else None,
        **changes,
    }
    return Record(**whole)


def times(factor: float, noise: float = 0.001, n: int = 60) -> list[float]:
    return [factor * (1 + noise * float(z)) for z in np.random.default_rng(int(factor * 1000)).standard_normal(n)]


def judged(maximum: Sequence[str] = (), minimum: Sequence[str] = (), *records: Record, **more: Any) -> list[Finding]:
    found, mistakes = budgets.parse(maximum, minimum, more.pop("tolerances", ()), more.pop("data", {}), "b.yaml")
    assert not mistakes
    names = [r.label for r in records]
    found, mistakes = budgets.resolve(found, names, names, names)
    assert not mistakes
    return budgets.judge(found, records)


def compared(old: Record, new: Record, **more: Any) -> dict[str, Finding]:
    rules = diff.Rules("diff", "old", "new", **more)
    found = diff.compare(measured.from_records([old]), measured.from_records([new]), rules)
    return {f.gate.removeprefix("diff "): f for f in found}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("params", "40k", 40_000),
        ("params", "40K", 40_000),
        ("macs", "1.2G", 1_200_000_000),
        ("macs", "0.3M", 300_000),
        ("peak-memory", "200MiB", 200 * 2**20),
        ("peak-memory", "1.5 GB", 1_500_000_000),
        ("peak-memory", "17", 17),
        ("latency", "12ms", Fraction(12, 1000)),
        ("latency", "900us", Fraction(9, 10_000)),
    ],
)
def test_values_are_read_without_rounding(name: str, text: str, value: object) -> None:
    assert amounts.amount(METRICS[name], text) == amounts.Amount(text, Fraction(value))  # type: ignore[call-overload]
    ratio = amounts.amount(METRICS[name], "1.1x:bilinear")
    assert (ratio.value, ratio.reference) == (Fraction(11, 10), "bilinear")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("params", "40 KiB"),
        ("params", "40m"),
        ("params", "-3"),
        ("params", "3x"),
        ("params", "40k:bilinear"),
        ("peak-memory", "3G"),
        ("latency", "12"),
        ("latency", "12 m"),
        ("macs", ""),
    ],
)
def test_other_values_are_refused(name: str, text: str) -> None:
    with pytest.raises(SpecError, match="is not a value of"):
        amounts.amount(METRICS[name], text)


@pytest.mark.parametrize("name", ["params", "macs", "peak-memory", "op-count"])
def test_a_bound_holds_to_the_last_unit(name: str) -> None:
    value = METRICS[name].read(record())
    assert value is not None
    (kept,) = judged([f"{name}={value}"], [], record())
    (broken,) = judged([f"{name}={value - 1}"], [], record())
    assert (kept.result, broken.result) == (Result.passed, Result.failed)
    assert f" (by 1{' byte' if name == 'peak-memory' else ''}, " in broken.sentence
    (below,) = judged([], [f"{name}={value + 1}"], record())
    assert below.result is Result.failed
    assert " < " in below.sentence


def test_tolerances_bounds_of_one_and_ratios_of_exact_metrics() -> None:
    small, large = record("small", params=100), record("large", params=201)
    found = judged(["params=2x:small", "small.params=99"], [], small, large)
    assert [(f.upsampler, f.gate, f.result) for f in found] == [
        ("large", "max params", Result.failed),
        ("small", "max params", Result.failed),
    ]
    assert "201 > 2x of small = 200 (by 1, 0.5 %); exact" in found[0].sentence
    kept = judged(["params=2x:small"], [], small, large, tolerances=["params=1%"])
    assert [f.result for f in kept] == [Result.passed]
    off = judged(["params=1"], [], small, tolerances=["params=off"])
    assert [f.result for f in off] == [Result.note]


def test_what_is_not_known_is_unsure_never_passed() -> None:
    (found,) = judged(["training-peak-memory=1GiB"], [], record(training_peak_bytes=None))
    assert found.result is Result.unsure
    assert (exit_code([found], strict=False), exit_code([found], strict=True)) == (0, 1)


def test_a_budgets_file_says_what_flags_say() -> None:
    data = {
        "max": {"params": "40k", "latency": "3x:bilinear"},
        "min": {"op-count": 1},
        "tolerance": {"peak-memory": "1%", "output-digest": False},
        "upsamplers": {"carafe": {"max": {"macs": 1200000}}},
    }
    found, mistakes = budgets.parse([], [], [], data, "b.yaml")
    assert not mistakes
    written = {(b.side, b.metric.name, b.amount.text, b.upsampler) for b in found.bounds}
    assert written == {
        ("max", "params", "40k", None),
        ("max", "latency", "3x:bilinear", None),
        ("min", "op-count", "1", None),
        ("max", "macs", "1200000", "carafe"),
    }
    assert found.tolerance == {"peak-memory": Fraction(1, 100), "output-digest": None}


def test_all_mistakes_of_a_budgets_file_are_said_together() -> None:
    data = {
        "maxx": {},
        "max": {"parms": "4", "params": True, "macs": "4 apples"},
        "tolerance": {"params": 3, "output-digest": "1%"},
        "upsamplers": {"carafe": {"maximum": {}}, "fade": 3},
    }
    _, mistakes = budgets.parse(["params", "x.latency=3"], [], ["macs"], data, "b.yaml")
    for part in (
        "b.yaml: maxx: unknown key; known: max, min, tolerance, upsamplers; did you mean 'max'?",
        "did you mean 'params'?",
        "is True, but must be a value",
        "'4 apples' is not a value of macs",
        "'3' is not a tolerance",
        "its only tolerance is off",
        "upsamplers.carafe.maximum: unknown key",
        "fade is 3, but must be a mapping",
        "--max params: is not METRIC=VALUE",
        "--max x.latency=3: '3' is not a value of latency",
        "--tolerance macs: is not METRIC=VALUE",
    ):
        assert any(part in sentence for sentence in mistakes), part
    assert len(mistakes) == 11


def test_names_that_are_not_in_the_run_are_refused() -> None:
    found, _ = budgets.parse(["carafee.params=1", "params=2x:deconv"], [], [], {}, "")
    _, mistakes = budgets.resolve(found, ["carafe"], ["carafe"], ["carafe"])
    assert "did you mean 'carafe'?" in mistakes[0]
    assert "'deconv' is not among the compared upsamplers; add it" in mistakes[1]


def test_names_with_params_are_bound_by_flags_and_a_label_is_one_upsampler() -> None:
    typed, names, labels = ["ldaaqu:theta=5", "ldaaqu"], ["ldaaqu"] * 2, ["ldaaqu (theta=5)", "ldaaqu"]
    texts = ["ldaaqu:theta=5.params=40k", "ldaaqu (theta=5).macs=1G", "params=2x:ldaaqu", "macs=2x:ldaaqu:theta=5"]
    found, mistakes = budgets.parse(texts, [], [], {}, "")
    assert not mistakes
    found, mistakes = budgets.resolve(found, typed, names, labels)
    assert not mistakes
    assert [(b.metric.name, b.upsampler, b.amount.reference) for b in found.bounds] == [
        ("params", "ldaaqu (theta=5)", None),
        ("macs", "ldaaqu (theta=5)", None),
        ("params", None, "ldaaqu"),
        ("macs", None, "ldaaqu (theta=5)"),
    ]
    _, (mistake,) = budgets.parse([], [], ["latency=3%"], {}, "")
    assert "--threshold PERCENT" in mistake


@pytest.mark.parametrize(
    ("bound", "result"),
    [("3x", Result.failed), ("3.999x", Result.unsure), ("4.5x", Result.passed)],
)
def test_a_ratio_of_latency_is_judged_on_its_interval(bound: str, result: Result) -> None:
    pair = (record("bilinear", times(1.0)), record("carafe", times(4.0), noise_floor=0.01))
    (found,) = judged([f"latency={bound}:bilinear"], [], *pair)
    assert found.result is result
    assert found.low is not None
    assert found.high is not None
    assert found.low < 4.0 < found.high


@pytest.mark.parametrize(("bound", "result"), [("2x", Result.failed), ("3.5x", Result.unsure), ("500x", Result.passed)])
def test_few_rounds_break_a_bound_that_is_far(bound: str, result: Result) -> None:
    pair = (record("bilinear", times(1.0)[:6]), record("carafe", times(4.0)[:6]))
    (found,) = judged([f"latency={bound}:bilinear"], [], *pair)
    assert found.result is result
    assert "in 3 rounds" in found.sentence
    assert ("8 are needed; raise --budget" in found.sentence) == (result is Result.unsure)
    assert "too near" not in found.sentence


def test_a_latency_in_seconds_is_judged_on_its_interval() -> None:
    one = record("carafe", times(0.010, noise=0.02))
    assert [f.result for f in judged(["latency=9ms"], [], one)] == [Result.failed]
    assert [f.result for f in judged(["latency=10ms"], [], one)] == [Result.unsure]
    assert [f.result for f in judged(["latency=11ms"], ["latency=9ms"], one)] == [Result.passed] * 2
    assert [f.result for f in judged(["latency=11ms"], [], record())] == [Result.unsure]


def test_more_than_before_fails_and_less_does_not() -> None:
    same = compared(record(), record())
    assert {f.result for f in same.values()} == {Result.passed}
    more = compared(record(), record(params=40_001, macs=10**6 + 1, forward_peak_bytes=2**20 + 1, op_count=8))
    failed = {gate for gate, f in more.items() if f.result is Result.failed}
    assert failed == {"params", "macs", "peak-memory", "op-count"}
    assert "1048577 bytes (1.00 MiB) > 1048576 bytes (1.00 MiB) of old (by 1 byte, " in more["peak-memory"].sentence
    less = compared(record(), record(params=39_999))
    assert less["params"].result is Result.passed
    assert "39999 < 40000 of old (by 1, 0.0025 %); exact" in less["params"].sentence
    slack = compared(record(), record(params=40_400), tolerance={"params": Fraction(1, 100)})
    assert slack["params"].result is Result.passed


def test_another_output_fails_and_says_whether_rounding_explains_it() -> None:
    near = Output(digest="bb", mean=1e-7, std=1.0, lowest=-3.0, highest=3.0)
    found = compared(record(), record(output=near))["output-digest"]
    assert found.result is Result.failed
    assert "as rounding would leave them" in found.sentence
    far = Output(digest="bb", mean=0.1, std=1.0, lowest=-3.0, highest=3.0)
    assert "no rounding" in compared(record(), record(output=far))["output-digest"].sentence
    off = compared(record(), record(output=far), tolerance={"output-digest": None})
    assert off["output-digest"].result is Result.note
    unrepeatable = Output(digest=None, mean=0.0, std=1.0, lowest=-3.0, highest=3.0)
    assert compared(record(), record(output=unrepeatable))["output-digest"].result is Result.note


def _in_a_run(factor: float, noise_floor: float = 0.01, n: int = 60, **environment: Any) -> list[measured.Measured]:
    pair = [
        record(name, times(by, n=n), environment=environment, noise_floor=noise_floor)
        for name, by in (("bilinear", 1.0), ("carafe", factor))
    ]
    return measured.from_records(pair, pair[0])


def test_latency_is_compared_as_a_ratio_to_the_common_reference() -> None:
    def latency_of(new: list[measured.Measured]) -> Finding:
        found = diff.compare(_in_a_run(4.0), new, diff.Rules("baseline", "the baseline", "this run"))
        return next(f for f in found if f.gate == "baseline latency" and f.upsampler == "carafe")

    assert latency_of(_in_a_run(4.02)).result is Result.passed
    slower = latency_of(_in_a_run(4.4))
    assert slower.result is Result.failed
    assert slower.sentence.startswith("SLOWER: 1.10x")
    assert "a verdict takes 8 rounds" in latency_of(_in_a_run(5.0, n=10)).sentence
    for disturbed in ({"noise_floor": 0.2}, {"n": 18}):
        unsure = latency_of(_in_a_run(5.0, **disturbed))
        assert unsure.result is Result.unsure
        assert "are no evidence between runs" in unsure.sentence
    elsewhere = latency_of(_in_a_run(8.0, device="Another CPU", torch="2.1"))
    assert elsewhere.result is Result.note
    assert "device A CPU in the baseline, Another CPU in this run; torch 2.0 in the baseline" in elsewhere.sentence
    assert exit_code([elsewhere], strict=True) == 0


def test_another_machine_leaves_parameters_and_macs_to_compare() -> None:
    other = Output(digest="bb", mean=1e-7, std=1.0, lowest=-3.0, highest=3.0)
    found = compared(record(), record(params=40_001, op_count=99, output=other, environment={"torch": "2.1"}))
    assert found["params"].result is Result.failed
    assert found["op-count"].result is Result.note
    assert found["output-digest"].result is Result.note


def test_memory_on_another_gpu_is_not_compared() -> None:
    more, gpu = {"forward_peak_bytes": 2**21}, {"device_type": "cuda", "device": "one GPU"}
    other = compared(record(environment=gpu), record(environment={**gpu, "device": "another GPU"}, **more))
    assert other["peak-memory"].result is Result.note
    assert compared(record(environment=gpu), record(environment=gpu, **more))["peak-memory"].result is Result.failed


def test_other_defaults_of_the_code_are_compared_and_other_settings_are_named() -> None:
    def one(params: int, defaults: dict[str, int], label: str = "my:Up", **settings: Any) -> measured.Measured:
        (found,) = measured.from_records([record("my:Up", params=params)])
        return replace(found, label=label, spec={**found.spec, "params": defaults, **settings})

    rules = diff.Rules("diff", "old", "new")
    found = diff.compare([one(100, {"hidden": 8})], [one(200, {"hidden": 16, "extra": 1})], rules)
    assert found[0].sentence == "its defaults are others: hidden 8 in old, 16 in new; extra absent in old, 1 in new"
    assert [f.gate for f in found if f.result is Result.failed] == ["diff params"]
    chosen = one(200, {"hidden": 16}, label="my:Up (hidden=16)")
    assert [f.result for f in diff.compare([one(100, {"hidden": 8})], [chosen], rules)] == [Result.unsure, Result.note]
    unsure, _ = diff.compare([one(100, {}, scale=2)], [one(100, {}, scale=4)], rules)
    assert "with the same settings (scale 2 in old, 4 in new)" in unsure.sentence


def test_a_noise_floor_coarser_than_the_threshold_makes_no_equals() -> None:
    rules = diff.Rules("against", "old", "new")
    wide = stats.Ratio(1.08, 1.0, 1.16, 20)
    found = diff.latency("against latency", "carafe", wide, 0.187, rules)
    assert found.result is Result.unsure
    assert "too coarse for 5.0 %" in found.sentence
    assert diff.latency("g", "u", stats.Ratio(1.1, 1.07, 1.13, 20), 0.03, rules).result is Result.failed
    assert diff.latency("g", "u", stats.Ratio(1.1, 1.07, 1.13, 20), 0.12, rules).result is not Result.failed
    assert diff.latency("g", "u", stats.Ratio(1.06, 1.01, 1.13, 20), 0.0, rules).result is Result.unsure
    assert diff.latency("g", "u", stats.Ratio(1.0, 0.98, 1.02, 20), 0.0, rules).result is Result.passed


def test_what_only_one_side_has_is_said() -> None:
    rules = diff.Rules("baseline", "the baseline", "this run")
    found = diff.compare(measured.from_records([record("a")]), measured.from_records([record("b")]), rules)
    assert [(f.upsampler, f.result) for f in found] == [("b", Result.unsure), ("a", Result.note)]
    assert exit_code(found, strict=True) == 1


def test_a_baseline_reads_as_it_was_written() -> None:
    run = _in_a_run(4.0)
    text = baseline.to_text(run)
    assert json.loads(text)["schema"] == baseline.SCHEMA
    read = baseline.from_data(json.loads(text), "b.json")
    assert read == [replace(m, latency_s=None) for m in run]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schema": 9}, "has schema 9, but this version of upbench reads schemas 1 and 2"),
        ({"kind": "x"}, "was not written by `upbench compare --save`"),
        ({"upsamplers": [{}]}, "is damaged"),
    ],
)
def test_another_file_is_no_baseline(change: dict[str, object], sentence: str) -> None:
    data = {**json.loads(baseline.to_text(_in_a_run(4.0))), **change}
    with pytest.raises(StoreError, match=sentence):
        baseline.from_data(data, "b.json")


FOUND = [
    Finding("max params", "carafe", Result.failed, "5 > 4 (by 1, 25 %); exact", 5, 4),
    Finding("max latency", "my:Up", Result.unsure, "too near\nto tell"),
    Finding("baseline latency", "carafe", Result.note, "not compared"),
    Finding("max macs", "carafe", Result.passed, "3 keeps max 4"),
]


def test_stderr_says_a_line_for_all_but_what_passed() -> None:
    assert lines(FOUND, strict=False) == [
        "NOTE carafe, baseline latency: not compared",
        "UNSURE my:Up, max latency: too near to tell",
        "FAILED carafe, max params: 5 > 4 (by 1, 25 %); exact",
        "gates: 1 passed, 1 failed, 1 unsure; 1 not judged",
    ]
    assert "FAILED (unsure, --strict) my:Up, max latency" in lines(FOUND, strict=True)[1]
    assert lines([], strict=True) == []


def test_what_one_change_broke_is_one_line_and_with_all_notes_a_line_each() -> None:
    of = "of baseline b.json"
    found = [
        Finding("baseline params", "my:Up", Result.failed, f"2560 > 512 {of} (by 2048, 400.0 %); exact", 2560, 512),
        Finding("baseline peak-memory", "my:Up", Result.failed, f"9 bytes > 8 bytes {of} (by 1); exact", 9, 8),
        Finding("baseline params", "carafe", Result.failed, f"5 > 4 {of} (by 1, 25 %); exact", 5, 4),
        Finding("max latency", "my:Up", Result.failed, "5 ms (95 % interval 4 ms to 6 ms) is 25 % above max 4 ms"),
        Finding("baseline output-digest", "my:Up", Result.failed, f"the output is not that {of}, bit for bit"),
    ]
    assert lines(found, strict=False) == [
        f"FAILED my:Up, baseline params: 2560 > 512 {of} (by 2048, 400.0 %); exact. "
        "Also failed: peak-memory 9 bytes > 8 bytes, max latency, output-digest",
        f"FAILED carafe, baseline params: 5 > 4 {of} (by 1, 25 %); exact",
        "gates: 5 failed",
    ]
    whole = lines(found, strict=False, whole=True)
    assert whole[:-1] == [f"FAILED {f.upsampler}, {f.gate}: {f.sentence}" for f in found]


def test_github_gets_a_command_for_each_with_its_text_escaped() -> None:
    assert github.commands(FOUND, strict=False) == [
        "::error title=upbench%3A carafe%2C max params::5 > 4 (by 1, 25 %25); exact",
        "::warning title=upbench%3A my%3AUp%2C max latency::too near%0Ato tell",
        "::notice title=upbench%3A carafe%2C baseline latency::not compared",
    ]
    assert github.commands(FOUND, strict=True)[1].startswith("::error ")


def test_junit_has_a_case_for_each() -> None:
    from xml.etree import ElementTree as ET

    root = ET.fromstring(junit.document(FOUND, strict=False).split("\n", 1)[1])
    assert (root.get("tests"), root.get("failures"), root.get("skipped")) == ("4", "1", "2")
    failure = root.find(".//testcase[@name='max params']/failure")
    assert failure is not None
    assert failure.get("message") == FOUND[0].sentence


def test_junit_is_xml_whatever_a_sentence_holds() -> None:
    from xml.etree import ElementTree as ET

    text = junit.document(
        [Finding("check like", "my:Up", Result.failed, 'a\x1b[1m\x00 <b> & "c" \ud800')], strict=False
    )
    message = ET.fromstring(text.encode()).find(".//failure")
    assert message is not None
    assert message.get("message") == 'a\ufffd[1m\ufffd <b> & "c" \ufffd'
