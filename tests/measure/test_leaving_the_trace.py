"""Arithmetic whose result the output of a module does not depend on is counted all the same: it runs in every call."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from upbench.cli.app import app
from upbench.measure import counting, dispatched

IMAGE = torch.randn(1, 8, 6, 5, generator=torch.Generator().manual_seed(0))
GATE, BODY = 8 * 8 * 30, 8 * 8 * 9 * 30


def branch(gate: Tensor, x: Tensor, m: Any) -> Tensor:
    return x if gate.mean() > 100 else m.body(x)


def item(gate: Tensor, x: Tensor, m: Any) -> Tensor:
    return m.body(x) * gate.mean().item()


def numpy(gate: Tensor, x: Tensor, m: Any) -> Tensor:
    return m.body(torch.from_numpy(gate.detach().numpy().copy()))


def data(gate: Tensor, x: Tensor, m: Any) -> Tensor:
    return m.body(gate.data)


def unused(gate: Tensor, x: Tensor, m: Any) -> Tensor:
    return m.body(x)


def kept_for_a_loss(gate: Tensor, x: Tensor, m: Any) -> Tensor:
    m.auxiliary = gate
    return m.body(x)


def statistics(gate: Tensor, x: Tensor, m: Any) -> Tensor:
    m.running.copy_(gate.mean((0, 2, 3)))
    return m.body(x)


def chosen_channels(gate: Tensor, x: Tensor, m: Any) -> Tensor:
    return m.body(x) if gate.mean((0, 2, 3)).topk(4).indices.tolist() else x


class Gated(nn.Module):
    def __init__(self, way: Any) -> None:
        super().__init__()
        self.way = way
        self.gate, self.body = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, padding=1)
        self.register_buffer("running", torch.zeros(8))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.way(self.gate(x), x, self)
        return out


@pytest.mark.parametrize(
    "way",
    [branch, item, numpy, data, unused, kept_for_a_loss, statistics, chosen_channels],
    ids=lambda way: way.__name__,
)
def test_what_does_not_reach_the_output_is_counted(way: Any) -> None:
    counted = counting.count(Gated(way), (IMAGE,))
    assert counted.by_kind["conv"] == GATE + BODY
    assert counted.by_kind == dispatched.count(Gated(way), (IMAGE,)).by_kind
    assert not counted.uncounted


def test_a_gate_on_macs_sees_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "branching.py").write_text(
        "from torch import nn\n"
        "class Up(nn.Module):\n"
        "    def __init__(self, channels, scale=2):\n"
        "        super().__init__()\n"
        "        self.gate, self.up = nn.Conv2d(channels, channels, 3, padding=1), nn.Upsample(scale_factor=scale)\n"
        "    def forward(self, x):\n"
        "        return self.up(x) if self.gate(x).mean() > -1e9 else x\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "branching", raising=False)
    asked = ["compare", "branching:Up", "--shape", "8x6x5", "--exact", "--columns", "flops", "--max", "macs=1"]
    found = CliRunner().invoke(app, asked)
    assert found.exit_code == 1, found.output
    assert "17.28K" in found.stdout, found.stdout


@torch.jit.script
def swish(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


class Scripted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = swish(x)
        return out


def test_elementwise_arithmetic_of_a_scripted_function_is_counted() -> None:
    assert counting.count(Scripted(), (IMAGE,)).by_kind["elementwise"] == 2 * IMAGE.numel()


class OfPixels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.linear(x.permute(0, 2, 3, 1)), -1)


def test_the_bias_of_a_linear_layer_costs_nothing_by_either_way() -> None:
    """torch adds it apart where the layer is given another order of dimensions than that of memory."""
    for count in (counting.count, dispatched.count):
        counted = count(OfPixels(), (IMAGE,))
        assert (counted.by_kind["conv"], counted.by_kind["elementwise"]) == (30 * 32, 3 * 30 * 4)
