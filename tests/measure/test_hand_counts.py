"""Modules as people write them, through the command line: counted by class against what is counted by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import upbench

C, H, W = 8, 6, 5
LOW, S = H * W, 2
HIGH = LOW * S**2
FAST = ["--shape", f"{C}x{H}x{W}", "--budget", "0.01", "--device", "cpu", "--threads", "1"]


def profiled(name: str, *options: object) -> dict[str, Any]:
    result = upbench("profile", name, *FAST, "--format", "json", *options)
    assert result.exit_code == 0, result.output
    record: dict[str, Any] = json.loads(result.stdout)
    return record


def told(record: dict[str, Any]) -> list[str]:
    """Warnings about the counts."""
    ours = ("disagree", "not counted", "could not", "written out")
    return [text for text in record["warnings"] if any(word in text for word in ours)]


def carafe(mid: int = 64, k_enc: int = 3, k_up: int = 5) -> dict[str, int]:
    weights = S**2 * k_up**2  # values that are predicted for each low-resolution pixel
    return {
        "conv": LOW * (C * mid + mid * weights * k_enc**2),
        "gather": HIGH * C * k_up**2,
        "norm": 2 * LOW * (mid + weights),
        "elementwise": LOW * mid + 3 * LOW * weights,
    }


def segformer(embedding: int = 16) -> dict[str, int]:
    return {
        "conv": LOW * C * embedding + HIGH * (embedding**2 + embedding * C),
        "gather": 4 * HIGH * embedding,
        "norm": 2 * HIGH * embedding,
        "elementwise": HIGH * embedding,
    }


def espcn(width: int = 16) -> dict[str, int]:
    half = width // 2
    return {
        "conv": LOW * (25 * C * width + 9 * width * half + 9 * half * C * S**2),
        "gather": 0,
        "norm": 0,
        "elementwise": LOW * (width + half) + C * (S * H + 1) * (S * W + 1),
    }


def coordconv() -> dict[str, int]:
    # For rows and columns each: a division, a product, a difference. Then two squares, a sum and a root.
    return {"conv": HIGH * 9 * (C + 3) * C, "gather": 0, "norm": 0, "elementwise": HIGH * (2 * 3 + 2 + 1 + 1)}


def dupsampling() -> dict[str, int]:
    return {"conv": LOW * C * S**2 * C, "gather": 0, "norm": 0, "elementwise": HIGH * C}


def gum(width: int = 8) -> dict[str, int]:
    # tanh of two offsets and their sum with the grid; the grid is a product of three numbers with a fixed matrix.
    return {
        "conv": HIGH * (9 * C * width + width * 2),
        "gather": HIGH * 4 * C + HIGH * 3 * 2,
        "norm": 2 * HIGH * width,
        "elementwise": HIGH * width + 2 * HIGH * 2,
    }


MODULES = {
    "carafe:CARAFE": carafe(),
    "segformer:MLPHead": segformer(),
    "espcn:ESPCN": espcn(),
    "coordconv:CoordConvUp": coordconv(),
    "dupsampling:DUpsampling": dupsampling(),
    "gum:GUM": gum(),
}


@pytest.mark.parametrize("name", list(MODULES))
def test_macs_by_class_are_those_counted_by_hand(name: str) -> None:
    record = profiled(f"tests.modules.{name}")
    expected = MODULES[name]
    assert {kind: record["macs"][kind] for kind in expected} == expected
    assert record["macs"]["total"] == sum(expected.values())
    assert (record["uncounted"], record["missing"]) == ({}, {})
    assert told(record) == []
    assert (
        sum(record["breakdown"][part] for part in ("similarity", "sampling", "assembly", "fusion"))
        == (expected["gather"])
    )


def test_macs_follow_the_params() -> None:
    record = profiled("tests.modules.carafe:CARAFE", "--set", "k_up=3", "--set", "c_mid=8", "--set", "k_enc=1")
    expected = carafe(8, 1, 3)
    assert {kind: record["macs"][kind] for kind in expected} == expected


@pytest.mark.parametrize("name", [n for n in MODULES if n.startswith(("segformer", "espcn"))])
def test_modules_count_alike_while_training(name: str) -> None:
    """Dropout and batch norm change their work, what is multiplied does not."""
    record = profiled(f"tests.modules.{name}", "--mode", "training")
    assert {kind: record["macs"][kind] for kind in ("conv", "gather")} == {
        kind: MODULES[name][kind] for kind in ("conv", "gather")
    }
    assert told(record) == []


def test_a_learned_matrix_is_in_the_strictest_convention() -> None:
    result = upbench("profile", "tests.modules.dupsampling:DUpsampling", *FAST, "--convention", "F0", "--format", "csv")
    assert str(dupsampling()["conv"]) in result.stdout


def test_a_fusion_of_several_maps_is_refused_in_one_sentence() -> None:
    result = upbench("profile", "tests.modules.asff:ASFF", *FAST)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert " ".join(result.stderr.split()) == (
        "upbench: upsampler 'tests.modules.asff:ASFF': class tests.modules.asff:ASFF takes (x, *others) in its forward, "
        "but an upsampler is called with x alone; wrap it in a class whose forward takes (x)"
    )


WRITTEN = """
import torch
import torch.nn.functional as F
from torch import nn

class Up(nn.Module):
    def __init__(self, channels, scale):
        super().__init__()
        {layers}

    def forward(self, x{more}):
        {body}
        return F.interpolate(x, scale_factor=2)
"""
_SAME = "self.c = nn.Conv2d(channels, 4 * channels, 3, padding='same'); self.d = nn.Conv2d(4 * channels, channels, 1)"
_numbers = iter(range(1000))


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(layers: str, body: str, more: str = "") -> str:
        name = f"counted_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(WRITTEN.format(layers=layers, body=body, more=more))
        return f"{name}:Up"

    return write


def test_a_gate_does_not_pass_on_an_operator_that_a_trace_does_not_know(write: Any) -> None:
    name = write(_SAME, "x = self.d(self.c(x))")
    exact = LOW * (C * 4 * C * 9 + 4 * C * C)
    for bound, code in ((1, 1), (exact - 1, 1), (exact, 0)):
        result = upbench("compare", name, *FAST, "--exact", "--max", f"macs={bound}")
        assert result.exit_code == code, result.output


@pytest.mark.parametrize(
    ("layers", "body"),
    [
        ("self.c = nn.Conv2d(channels, channels, 1)", "x = torch.fft.ifft2(torch.fft.fft2(self.c(x))).real"),
        ("pass", "x = torch.fft.ifft2(torch.fft.fft2(x)).real"),
    ],
)
def test_no_gate_passes_on_a_count_that_is_known_to_be_incomplete(
    layers: str, body: str, write: Any, tmp_path: Path
) -> None:
    name, saved = write(layers, body), tmp_path / "b.json"
    record = profiled(name)
    assert record["missing"] == {"aten::_fft_c2c": 2}
    assert (record["macs"] is None) == (layers == "pass")
    for gate in (["--max", "macs=1T"], ["--max", "macs=9x:bilinear", "bilinear"], ["--min", "macs=0"]):
        result = upbench("compare", name, *FAST, "--exact", *gate)
        assert result.exit_code == 1
        assert "the MACs are incomplete: aten::_fft_c2c (2x) is not counted" in " ".join(result.stderr.split())
    assert upbench("compare", name, *FAST, "--exact", "--save", saved).exit_code == 0
    result = upbench("compare", name, *FAST, "--exact", "--baseline", saved)
    assert result.exit_code == 1
    assert "the MACs are incomplete" in " ".join(result.stderr.split())
    allowed = upbench("compare", name, *FAST, "--exact", "--baseline", saved, "--tolerance", "macs=off")
    assert allowed.exit_code == 0, allowed.output


def test_what_cannot_be_told_apart_by_layer_costs_its_convention_and_its_gate_alone(write: Any) -> None:
    """A scripted layer takes no hooks, which tell biases and norms."""
    name = write("self.c = torch.jit.script(nn.Conv2d(channels, channels, 1))", "x = self.c(x)")
    record = profiled(name)
    assert (record["macs"]["conv"], record["params"], record["breakdown"]) == (LOW * C * C, C * C + C, None)
    assert record["memory"]["forward_peak_bytes"] > 0
    assert record["latency"]["samples_s"]
    assert upbench("compare", name, *FAST, "--exact", "--max", f"macs={LOW * C * C}").exit_code == 0
    result = upbench("compare", name, *FAST, "--exact", "--max", "macs=1T", "--convention", "F1")
    assert result.exit_code == 1
    assert "is not known here" in result.stderr


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize(
    ("layers", "body", "conv", "gather"),
    [
        (
            "self.a = nn.MultiheadAttention(channels, 2, batch_first=True)",
            "t = x.flatten(2).mT; x = self.a(t, t, t)[0].mT.view_as(x)",
            4 * LOW * C * C,
            2 * LOW * LOW * C,
        ),
        ("self.c = nn.DataParallel(nn.Conv2d(channels, channels, 1))", "x = self.c(x)", LOW * C * C, 0),
        ("self.c = torch.compile(nn.Conv2d(channels, channels, 1))", "x = self.c(x)", LOW * C * C, 0),
    ],
    ids=["attention", "data parallel", "compiled"],
)
def test_there_are_no_false_alarms(layers: str, body: str, conv: int, gather: int, mode: str, write: Any) -> None:
    record = profiled(write(layers, body), "--mode", mode)
    assert (record["macs"]["conv"], record["macs"]["gather"]) == (conv, gather)
    assert told(record) == []


def test_a_written_out_sum_is_told_by_the_record(write: Any) -> None:
    body = "w = x.softmax(1); x = sum(x[:, n:n + 1] * w[:, n:n + 1] for n in range(8)).expand_as(x)"
    (text,) = told(profiled(write("pass", body)))
    assert text.startswith("a sum of 8 products is written out (aten::mul, aten::add) and counts as element-wise")


@pytest.mark.parametrize(
    ("more", "refused"),
    [
        (", mask=None", None),
        (", *args, **kwargs", None),
        (", skip", "takes (x, skip) in its forward, but an upsampler is called with x alone; where the second is"),
        (", skip, mask", "takes (x, skip, mask) in its forward, but an upsampler is called with x alone; wrap it"),
        (", *, skip", "takes (x, skip) in its forward"),
    ],
)
def test_a_forward_of_other_arguments_is_refused_before_it_runs(more: str, refused: str | None, write: Any) -> None:
    result = upbench("profile", write("pass", "pass", more), *FAST)
    assert result.exit_code == (2 if refused else 0)
    assert (refused or "") in " ".join(result.stderr.split())
