"""A user's module is judged by itself: an instrument that cannot deal with it costs its own numbers, not the run."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import torch

from tests.command_line import upbench
from upbench.measure import counting, cross_check, macs, memory, output, params

TINY = ("--shape", "8x6x5", "--device", "cpu", "--budget", "0.02")
CONV_PARAMS, CONV_MACS, OUT_BYTES = 8 * 8 * 9 + 8, 8 * 8 * 9 * 12 * 10, 4 * 8 * 12 * 10


def profile(name: str, *more: object) -> dict[str, Any]:
    """The record of a user's module that can be measured."""
    result = upbench("profile", f"tests.modules.judged:{name}", *TINY, "--format", "json", *more)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    assert found["latency"]["samples_s"]
    return found


def refused(name: str, *command: str) -> str:
    """The one sentence with which a module is refused."""
    others = [word for n in range(0, len(TINY), 2) if TINY[n] not in command for word in TINY[n : n + 2]]
    result = upbench(command[0], f"tests.modules.judged:{name}", *command[1:], *others)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    sentences = [line for line in result.stderr.splitlines() if not line.endswith("%)")]
    assert len(sentences) == 1, result.stderr
    return sentences[0]


def warned(record: dict[str, Any], text: str) -> bool:
    return any(text in warning for warning in record["warnings"])


@pytest.mark.parametrize(
    "name", ["ReadsValuesWhileBuilt", "Uncopyable", "KeepsATensorForAllInstances", "TellsDevicesApart"]
)
def test_a_module_is_built_and_counted_where_it_runs(name: str) -> None:
    """The meta device refuses the first, a copy of the second; it would leave its mark on the third, and fool the last."""
    record = profile(name)
    assert (record["params"], record["macs"]["conv"]) == (CONV_PARAMS, CONV_MACS)
    assert record["cross_check"]["torch"]["conv"] == CONV_MACS
    assert record["breakdown"]["bias"] == 8 * 12 * 10
    assert not warned(record, "disagree")


@pytest.mark.parametrize("name", ["Compiled", "Scripted", "Traced", "Untraceable"])
def test_a_module_that_cannot_be_traced_keeps_every_other_number(name: str) -> None:
    record = profile(name)
    assert record["params"] == CONV_PARAMS
    assert record["memory"]["forward_peak_bytes"] >= OUT_BYTES
    assert record["memory"]["training_peak_bytes"] > OUT_BYTES
    assert record["cross_check"]["torch"]["conv"] == CONV_MACS
    assert record["macs"]["conv"] == CONV_MACS


def test_a_trace_that_fails_leaves_no_hooks() -> None:
    from upbench.benchmark import case
    from upbench.measure.clock import CpuClock
    from upbench.specs import run_spec as spec

    plan = spec.load({"upsampler": "tests.modules.judged:Untraceable", "input": {"shape": "8x6x5"}})
    work = case.Case(plan, torch.device("cpu"), CpuClock())
    assert work.attempt("no trace", lambda: macs.count(work.plain, work.inputs)) is None
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in work.plain.modules())


@pytest.mark.parametrize(
    ("instrument", "attribute", "field"),
    [
        (params, "count", "params"),
        (counting, "count", "macs"),
        (cross_check, "torch_count", "cross_check"),
        (output, "ran", "op_count"),
        (output, "describe", "output"),
        (memory, "peak_bytes", "memory"),
    ],
)
def test_an_instrument_that_fails_costs_its_own_numbers(
    instrument: Any, attribute: str, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object) -> None:
        raise NotImplementedError("not for this module")

    monkeypatch.setattr(instrument, attribute, fails)
    record = profile("Up")
    assert record[field] is None
    assert warned(record, "NotImplementedError: not for this module")
    others = {"params", "macs", "op_count", "output", "memory"} - {field}
    blank = {name for name in others if record[name] is None}
    assert blank <= ({"memory"} if field == "params" else set()), "bytes of weights are part of the memory"


def test_a_module_that_refuses_dispatch_modes_is_counted_by_the_trace() -> None:
    record = profile("RefusesDispatchModes")
    assert record["macs"]["conv"] == CONV_MACS
    assert (record["cross_check"], record["op_count"]) == (None, None)
    assert warned(record, "no dispatch modes")


@pytest.mark.parametrize("name", ["Generates", "Lazy"])
def test_generators_and_lazy_layers_are_measured(name: str) -> None:
    assert profile(name)["params"] == {"Generates": CONV_PARAMS, "Lazy": 72}[name]


@pytest.mark.parametrize(
    ("name", "dtype", "size"),
    [
        ("Complex", "complex64", 8),
        ("Float8", None, 1),
        ("Integer", "int32", 4),
        ("Boolean", "bool", 1),
        ("Half", None, 2),
    ],
)
def test_an_output_of_another_dtype_is_measured(name: str, dtype: str | None, size: int) -> None:
    record = profile(name)
    assert record["memory"]["output_bytes"] == size * 8 * 12 * 10
    assert record["output"]["digest"]
    assert (record["output"]["mean"] is None) == (name == "Complex")
    assert warned(record, f"the output is {dtype}, not floating point") == (dtype is not None)
    compared = upbench("compare", f"tests.modules.judged:{name}", "nearest", *TINY, "--exact")
    assert compared.exit_code == 0, compared.output


@pytest.mark.parametrize(
    ("name", "given", "made"),
    [
        ("Doubled", "float32", "float64"),
        ("Doubled", "bfloat16", "float64"),
        ("Doubled", "autocast-bfloat16", "float64"),
        ("ToFloat32", "float64", "float32"),
        ("Doubled", "float64", None),
        ("ToFloat32", "bfloat16", None),
        ("ToFloat32", "autocast-bfloat16", None),
        ("Up", "autocast-bfloat16", None),
        ("Up", "float16", None),
    ],
)
def test_an_output_in_another_precision_is_warned_of(name: str, given: str, made: str | None) -> None:
    warnings = profile(name, "--dtype", given)["warnings"]
    said = [warning for warning in warnings if warning.startswith("the output is ")]
    assert len(said) == (made is not None), warnings
    if made is not None:
        typed = given.removeprefix("autocast-b").replace("float16", "float32") if "autocast" in given else given
        assert said[0].startswith(f"the output is {made} where the input is {typed}: ")


@pytest.mark.parametrize("name", ["Integer", "Boolean"])
def test_an_output_without_gradient_is_not_trained(name: str) -> None:
    assert "of which no gradient can be taken; measure it in mode inference" in refused(
        name, "profile", "--mode", "training"
    )


@pytest.mark.parametrize(("name", "what"), [("Pair", "a tuple of 2"), ("Mapping", "a dict of 1"), ("Nothing", "None")])
@pytest.mark.parametrize("command", [("profile",), ("compare", "nearest")])
def test_an_output_that_is_no_tensor_is_one_sentence(name: str, what: str, command: tuple[str, ...]) -> None:
    expected = f"returned {what}, but an upsampler of scale 2 must return one tensor of [1, 8, 12, 10]"
    assert expected in refused(name, *command)


def test_an_output_of_another_size_is_one_sentence() -> None:
    assert "returned [1, 8, 12, 9], but an upsampler of scale 2 must return [1, 8, 12, 10]" in refused(
        "TooSmall", "profile"
    )


def test_an_error_that_cannot_say_what_it_is_is_one_sentence() -> None:
    assert "failed on 8x6x5 in float32 on cpu: Mute" in refused("FailsSpeechless", "profile")


def test_a_failure_names_the_device_that_was_used() -> None:
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    assert f"failed on 8x6x5 in float32 on {device}: Mute" in refused("FailsSpeechless", "profile", "--device", "auto")


def test_a_call_that_fails_while_it_is_timed_is_one_sentence() -> None:
    assert "failed on 8x6x5 in float32 on cpu: RuntimeError: worn out" in refused(
        "FailsLater", "profile", "--budget", "1"
    )
    assert "FailsLater failed on" in refused("FailsLater", "compare", "nearest", "--budget", "1")


def test_an_output_that_is_not_finite_fails_a_profile_and_warnings_are_printed() -> None:
    result = upbench("profile", "tests.modules.judged:NotFinite", *TINY)
    assert result.exit_code == 1
    assert "upbench: FAILED tests.modules.judged:NotFinite, check finite: " in result.stderr
    assert "upbench: warning: the output has values that are not finite" in result.stderr


def test_a_slow_call_says_how_often_it_is_made_and_is_made_no_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget of nothing makes every call a slow one."""
    from tests.modules import judged
    from upbench.benchmark import measurement

    monkeypatch.setattr("upbench.cli.progress.PATIENCE_S", 0.0)
    monkeypatch.setattr(measurement, "SLOW_S", 0.0)
    monkeypatch.setenv("UPBENCH_WARMUP", "0")
    calls: list[int] = []
    forward = judged.Up.forward

    def slowly(self: judged.Up, x: torch.Tensor) -> torch.Tensor:
        time.sleep(0.002)  # a sample of one call
        calls.append(1)
        return forward(self, x)

    monkeypatch.setattr(judged.Up, "forward", slowly)
    result = upbench("profile", "tests.modules.judged:Up", *TINY[:4], "--budget", "1e-9", "--format", "json")
    found = json.loads(result.stdout)
    assert f"there are about {measurement.CALLS})" in result.stderr
    assert len(calls) + measurement.BACKWARD <= measurement.CALLS
    assert len(found["latency"]["samples_s"]) == len(found["latency"]["rounds_of_pass"]) == 3
    assert found["latency"]["samples_per_round"] == 1
    assert warned(found, "it was timed 3 times, once in each pass, which is the least that has an interval")
