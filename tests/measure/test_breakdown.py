"""The parts of MACs and parameters, upsampler by upsampler, against formulas written by hand."""

from __future__ import annotations

import math
from dataclasses import asdict

import pytest
import torch
from torch import Tensor, nn

from tests.upsamplers.test_contract import CARDS
from upbench import conventions, registry
from upbench.benchmark import inputs
from upbench.conventions import Breakdown
from upbench.measure import breakdown, macs
from upbench.specs import run_spec as spec

C = 64
BATCH = 2
PARTS = ("similarity", "sampling", "assembly", "fusion", "bias", "hook_norm", "activation", "pooling")

# Per low-resolution pixel at scale 2 (4 output pixels), C = Cy = 64: gathers, and what hooks on modules see.
EXPECTED: dict[str, dict[str, int]] = {
    "nearest": {},
    "bilinear": {"sampling": 4 * 4 * C},
    "bicubic": {"sampling": 16 * 4 * C},
    "deconv": {"bias": 4 * C},
    "pixelshuffle": {"bias": 4 * C},
    "carafe": {"assembly": 25 * 4 * C, "bias": 64 + 100},
    "indexnet": {"assembly": 4 * C, "hook_norm": 2 * 2 * C, "activation": 2 * C},
    "a2u": {"assembly": 9 * 4 * C, "hook_norm": 2 * 2 * C, "activation": 2 * C, "pooling": 3 * 4 * C},
    # The shared convolution runs at both resolutions, and so does its bias.
    "fade": {"assembly": 25 * 4 * C, "fusion": 2 * 4 * C, "bias": 4 * 64 + 5 * 25 + 1},
    "fade-lite": {"assembly": 25 * 4 * C, "fusion": 2 * 4 * C, "bias": 4 * 25 + 5 * 25 + 1},
    "sapa-i": {"similarity": 25 * 4 * C, "assembly": 25 * 4 * C},
    "sapa-b": {"similarity": 25 * 4 * 32, "assembly": 25 * 4 * C, "bias": 5 * 32, "hook_norm": 2 * 5 * C},
    "sapa-d": {
        "similarity": 9 * 4 * 128,
        "sampling": 4 * 9 * 4 * (128 + C),
        "assembly": 9 * 4 * C,
        "bias": 5 * 128 + 2 * 9 * 4 * 4,
    },
    "dysample": {"sampling": 4 * 4 * C, "bias": 2 * 4 * 4},
    "dysample+": {"sampling": 4 * 4 * C, "bias": 2 * 4 * 4},
    "dysample-s": {"sampling": 4 * 4 * C, "bias": 4 * 2 * 8},
    "dysample-s+": {"sampling": 4 * 4 * C, "bias": 4 * 2 * 8},
    "laaqu": {"similarity": 9 * 4 * 16, "assembly": 9 * 4 * C, "hook_norm": 2 * C},
    "ldaaqu": {
        "similarity": 9 * 4 * 16,
        "sampling": 4 * 9 * 4 * (16 + C),
        "assembly": 9 * 4 * C,
        "bias": 2 * 4 * 18,
        "hook_norm": 2 * (C + 4 * 16),
        "activation": 4 * 16,
    },
    "resfu": {
        "sampling": 4 * 9 * 4 * C,
        "assembly": 9 * 4 * C,
        "bias": 5 * 32 + 2 * 4 * (128 + 9),
        "hook_norm": 2 * 5 * C + 2 * 2 * 4 * (32 + 32 + 128),
        "activation": 2 * 4 * (128 + 128),
    },
    "maxunpool": {},
    "convex": {"assembly": 9 * 4 * C, "bias": 256 + 36, "activation": 256},
    "dlu": {"sampling": 4 * 4 * 25, "assembly": 25 * 4 * C, "bias": 64 + 25 + 8},
    # The content encoders run at both resolutions. Assembly: of both maps' logits, of both maps, at both resolutions.
    "freqfusion": {
        "assembly": 9 * 4 * 64 + 25 * 4 * (25 + 9) + 25 * 4 * C + 9 * 4 * C,
        "bias": 5 * (64 + 25 + 9),
    },
    "jbu": {
        "similarity": 49 * 4 * 32,
        "sampling": 16 * 4 * C,
        "assembly": 49 * 4 * C,
        "bias": 4 * (2 * 32 + 2 * 49),
        "activation": 4 * (32 + 49),
    },
    # Four stages, of 4, 16, 64 and 256 output pixels each.
    "jbu-stack": {
        "similarity": 49 * 340 * 32,
        "sampling": 16 * 340 * C,
        "assembly": 49 * 340 * C,
        "bias": 340 * (2 * 32 + 2 * 49) + 256 * C,
        "activation": 340 * (32 + 49),
    },
    "sam-mask": {"bias": 4 * C // 4 + 16 * C // 8, "activation": 4 * C // 4 + 16 * C // 8},
    "sam2-mask": {"bias": 2 * (4 * C // 4 + 16 * C // 8), "activation": 4 * C // 4 + 16 * C // 8},
    # An image of 16 x 16 pixels for every one of x: maps of 8 x 8, 4 x 4 (pooled to 2 x 2) and 1.
    "lift": {
        "bias": 32 * (64 + 16 + 1) + 4 * (C + 32) // 2 + 4 * C,
        "hook_norm": 2 * (32 * (64 + 16 + 1) + 2 * 4 * C // 2),
        "activation": 32 * (64 + 16 + 1) + 2 * 4 * C // 2,
        "pooling": 16 * 32,
    },
    # Every output pixel attends to all 12 cells. Values are weighed and dropped, as released.
    "jafar": {
        "similarity": 4 * 12 * 128,
        "assembly": 4 * 12 * (C + 128),
        "hook_norm": 2 * (4 * 128 * (3 * 4 + 1) + 5 * 128 + C),
    },
    "anyup": {
        "similarity": 4 * 12 * 128,
        "assembly": 4 * 12 * (C + 128),
        "hook_norm": 2 * (4 * 128 * (3 * 4 + 2) + 5 * 128),
        "activation": 4 * 128 * (3 * 4 + 2),
    },
    "loftup": {
        "similarity": 2 * 4 * 12 * (C + 20),
        "assembly": 2 * 4 * 12 * (C + 20),
        "bias": 4 * (2 * (C + 20) + 2 * (C + C + 20) + C),
        "hook_norm": 2 * 4 * (2 + 2) * (C + 20),
        "activation": 4 * (2 * (C + 20) + 2 * C),
    },
    "naf": {
        "similarity": 81 * 4 * 256,
        "assembly": 81 * 4 * C,
        "bias": 4 * 2 * 5 * 128,
        "hook_norm": 2 * 4 * 2 * 4 * 128,
    },
}
# What A2U predicts once a sample: two filters of 36 values and a pattern of 36.
PER_SAMPLE = {"a2u": {"bias": 36 + 36 + 36}}

JBU = 3 * 32 + 32 * 32 + (49 + 3) * 49 + 49 * 49 + 2
LOFTUP_LAYER = 2 * (C + 20) + 4 * (C + 20) ** 2 + 2 * C * (C + 20)  # two norms, an attention, a feed-forward

# Parameters: weights, position bias, biases, norms.
PARAMETERS: dict[str, tuple[int, int, int, int]] = {
    "nearest": (0, 0, 0, 0),
    "bilinear": (0, 0, 0, 0),
    "bicubic": (0, 0, 0, 0),
    "deconv": (9 * C * C, 0, C, 0),
    "pixelshuffle": (36 * C * C, 0, 4 * C, 0),
    "carafe": (64 * C + 64 * 100 * 9, 0, 64 + 100, 0),
    "indexnet": (32 * C * C + 8 * C, 0, 0, 4 * C),
    "a2u": (38 * C, 0, 38, 4 * C),
    "fade": (2 * C * 64 + 64 * 25 * 9 + C, 0, 64 + 25 + 1, 0),
    "fade-lite": (2 * C * 25 + 25 * 9 + C, 0, 25 + 25 + 1, 0),
    "sapa-i": (0, 0, 0, 0),
    "sapa-b": (2 * C * 32, 0, 2 * 32, 4 * C),
    "sapa-d": (2 * C * 128 + 288 * C, 0, 2 * 128 + 288, 0),
    "dysample": (32 * C, 0, 32, 0),
    "dysample+": (64 * C, 0, 32, 0),
    "dysample-s": (4 * C, 0, 16, 0),
    "dysample-s+": (8 * C, 0, 16, 0),
    "laaqu": (2 * C * 16, 9 * 16, 0, 2 * C),
    "ldaaqu": (2 * C * 16 + 9 * 8 + 18 * 8 * 9, 9 * 16, 18, 2 * C + 2 * 8),
    "maxunpool": (0, 0, 0, 0),
    "convex": (9 * C * 256 + 256 * 36, 0, 256 + 36, 0),
    "dlu": (64 * C + 64 * 9 * (25 + 8), 0, 64 + 25 + 8, 0),
    "freqfusion": (2 * C * 64 + 64 * 9 * (25 + 9), 0, 2 * 64 + 25 + 9, 0),
    "jbu": (JBU, 0, 2 * 32 + 2 * 49, 0),
    "jbu-stack": (4 * JBU + C * C, 0, 4 * (2 * 32 + 2 * 49) + C, 0),
    # The norm over channels is a class of its own, of which only the bias has a name that says what it is.
    "sam-mask": (C * C + C * C // 8 + C // 4, 0, C // 4 + C // 8 + C // 4, 0),
    "sam2-mask": (C * C + C * C // 8 + C // 4 + C * (C // 4 + C // 8), 0, 3 * C // 4 + 2 * C // 8, 0),
    "lift": (
        9 * 32 * (3 + 32 + 32)
        + 4 * (C + 32) * (C + 32) // 2
        + 9 * (C + 96) // 2 * C // 2
        + 9 * C * C // 4
        + C * C // 2,
        0,
        3 * 32 + (C + 32) // 2 + C,
        2 * (3 * 32 + C),
    ),
    "jafar": (128 * (3 + 2 * C + 2) + 128 * 128 * 32, 0, 4 * 128, 2 * 128 * 16 + 2 * 128 + C),
    "anyup": (128 * (3 + 25 + 2) + 128 * 128 * 53, 0, 4 * 128, 2 * 128 * 20 + 2 * 128),
    "loftup": (
        203 + 9 * (C + 20) * (203 + C + 20) + 2 * LOFTUP_LAYER + (C + 20) * (1 + C) + C + 10 * (2 + 20),
        0,
        203 + 2 * (C + 20) + 2 * (7 * (C + 20) + C) + C + 20 + 2 * C,
        2 * 2 * (C + 20) + 2 * 2 * (C + 20),
    ),
    "naf": (2 * 128 * 128 * 20 + 128 * 3 * (1 + 9), 0, 2 * 5 * 128, 2 * 2 * 4 * 128),
    "resfu": (2 * C * 32 + 2 * 128 * (8 * 9 + 32 + 9), 0, 2 * 32 + 2 * (128 + 128 + 9), 4 * C + 2 * 2 * (32 + 128)),
}


def size_of(name: str) -> tuple[int, int]:
    return (9, 10) if name == "naf" else (3, 4)  # whose windows are 9 x 9


def measured(name: str) -> tuple[Breakdown, macs.Macs, nn.Module]:
    run = spec.load({"upsampler": name, "input": {"shape": [C, *size_of(name)], "batch": BATCH}})
    module = registry.construct(run.card, run.setting, backend="eager").eval()
    tensors = inputs.make(run, torch.device("cpu"))
    counted = macs.count(module, tensors)
    return breakdown.count(module, tensors, counted), counted, module


@pytest.mark.parametrize("name", [card.name for card in CARDS])
def test_every_part_of_every_upsampler(name: str) -> None:
    found, counted, module = measured(name)
    low = BATCH * math.prod(size_of(name))
    expected = {part: low * EXPECTED[name].get(part, 0) for part in PARTS}
    for part, n in PER_SAMPLE.get(name, {}).items():
        expected[part] += BATCH * n
    assert {part: getattr(found, part) for part in PARTS} == expected
    assert (found.weights, found.position_bias, found.biases, found.norm_affine) == PARAMETERS[name]
    assert {kind: getattr(found, kind) for kind in ("conv", "norm", "elementwise")} == {
        kind: counted.by_kind[kind] for kind in ("conv", "norm", "elementwise")
    }
    assert conventions.flops(found) == counted.total
    assert conventions.params(found) == sum(p.numel() for p in module.parameters())


def test_every_declared_gather_has_a_part() -> None:
    """A new plain op that nobody put into the table would silently count as assembly. Parts are counted on plain ops."""
    from upbench.ops import OPS

    for card in CARDS:
        measured(card.name)  # an op is registered when its upsampler is first imported
    copies = {"upbench::read_windows", "upbench::max_unpool"}  # no MACs
    assert {name for name, op in OPS.items() if op.kind == "gather" and "_fused" not in name} - copies == {
        name for name in breakdown.GATHERS if name.startswith("upbench::")
    }


def test_a_gather_from_elsewhere_counts_as_assembly_and_a_sample_as_sampling() -> None:
    counted = macs.Macs(
        by_kind={"conv": 1, "gather": 30, "norm": 0, "elementwise": 0},
        by_op={"aten::einsum": 7, "aten::grid_sampler": 8, "upbench::neighbour_assemble": 15, "aten::_convolution": 1},
        uncounted={},
    )
    assert breakdown.gathers(counted) == {"similarity": 0, "sampling": 8 + 12, "assembly": 7 + 3, "fusion": 0}


class ByHand(nn.Module):
    """A norm whose weights are used by the module around it, and a table and a bias of no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.wrapped = Wrapper()
        self.unused = nn.GroupNorm(1, 3)
        self.position_table = nn.Parameter(torch.zeros(5))
        self.offset_bias = nn.Parameter(torch.zeros(2))
        self.scale = nn.Parameter(torch.ones(1))
        self.first = nn.Conv2d(3, 3, 1)
        self.again = self.first
        self.tied = nn.Conv2d(3, 3, 1, bias=False)
        self.tied.weight = self.first.weight
        self.called = nn.Sequential(nn.GroupNorm(1, 3, affine=False))
        self.pool = nn.Sequential(nn.MaxPool2d(2), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.tied(self.again(self.first(self.called(self.wrapped(x)))))).sigmoid() * self.scale


class Wrapper(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(3)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.norm.weight[:, None, None]


def test_hooks_see_modules_that_were_called_and_norms_through_their_wrapper() -> None:
    module, x = ByHand(), torch.ones(1, 3, 4, 6)
    found = asdict(breakdown.count(module, (x,), macs.count(module, (x,))))
    assert {part: found[part] for part in PARTS[4:]} == {
        "bias": 2 * 72,  # one layer, called twice
        "hook_norm": 2 * 72 + 2 * 72,  # the wrapper, and the called norm once; the one that nobody called is not there
        "activation": 18,  # the module; the functional sigmoid is not there
        "pooling": 72,
    }
    assert (found["weights"], found["position_bias"], found["biases"], found["norm_affine"]) == (9 + 1, 5, 3 + 2, 12)


def test_hooks_are_removed_even_when_the_module_fails() -> None:
    module = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(4, 4, 1))
    counted = macs.Macs(dict.fromkeys(macs.KINDS, 0), {}, {})
    with pytest.raises(RuntimeError):
        breakdown.count(module, (torch.ones(1, 3, 2, 2),), counted)
    assert not any(layer._forward_hooks for layer in module.modules())
