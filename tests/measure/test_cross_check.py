"""Closed form, fvcore and torch's counter: they agree on every upsampler, and a disagreement is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.upsamplers.test_contract import CARDS, scales_of, setting_of
from upbench import cards, ops, registry
from upbench.benchmark import inputs
from upbench.cards import Card
from upbench.measure import cross_check, macs
from upbench.specs import run_spec as spec

CPU = torch.device("cpu")
VARIANTS = {
    "carafe": [{"groups": 2, "k_up": 3, "k_enc": 1, "dilation": 2}],
    "indexnet": [
        {"kind": "m2o"},
        {"kind": "o2o"},
        {"nonlinear": False},
        {"kind": "m2o", "nonlinear": False, "context": False},
    ],
    "a2u": [{"k_up": 5, "k_enc": 4}],
    "fade": [{"gate": False}, {"k_up": 3}],
    "fade-lite": [{"gate": False}],
    "sapa-i": [{"k_up": 3}],
    "sapa-b": [{"norm": False, "bias": False, "k_up": 3}],
    "sapa-d": [{"dof": 1, "norm": True}, {"groups": 1, "points": 4, "bias": False}],
    "laaqu": [{"heads": 2, "k_u": 5, "position_bias": False}],
    "ldaaqu": [{"heads": 2, "groups": 4, "k_e": 1, "coord": "input"}, {"reduction": 2, "k_u": 5}],
    "resfu": [{"norm": False, "groups": 2, "gf_scale": 1}, {"k_up": 5, "radius": 3}, {"qkv_bias": False}],
    "freqfusion": [
        {"resample": True},
        {"resample": True, "similarity": "only", "border": "reflect"},
        {"low_res_fusion": False, "high_pass": False},
        {"semi_conv": False, "resize": "bilinear", "residual": False},
    ],
    "jafar": [{"dim": 64, "kernel": 3, "heads": 2}],
    "anyup": [{"lfu_dim": 16, "kernel": 3, "window": 0.0}, {"order": "intended", "lfu_kernel": 3}],
    "loftup": [{"position": "learnable", "lr_size": 4}, {"frequencies": 3, "layers": 1, "input_norm": True}],
    "naf": [{"kernel": 3, "dim": 32, "layers": 1, "heads": 2}],
    "jbu": [{"radius": 2, "key_dim": 8}],
    "lift": [{"patch": 8}, {"any_image": True}],
    "dlu": [{"k_up": 3, "k_enc": 1, "compressed": 16}],
    "convex": [{"hidden": 16, "gain": 1}],
}


def routes_of(
    name: str, shape: tuple[int, int, int], scale: float | None, batch: int = 1, **params: object
) -> tuple[cards.Macs, macs.Macs, cross_check.TorchCount]:
    """All three routes for one call: the closed form, fvcore, torch."""
    data = {"upsampler": name, "scale": scale, "params": params, "input": {"shape": list(shape), "batch": batch}}
    run = spec.load(data)
    assert run.card.count_macs is not None
    module, tensors = registry.construct(run.card, run.setting, backend="eager").eval(), inputs.make(run, CPU)
    return run.card.count_macs(run.setting), macs.count(module, tensors), cross_check.torch_count(module, tensors)


CASES = [(card, scale, size) for card in CARDS for scale in scales_of(card)[-2:] for size in ((3, 4), (6, 5))]


@pytest.mark.parametrize(("card", "scale", "size"), CASES, ids=lambda v: getattr(v, "name", str(v)))
def test_the_three_routes_agree(card: Card, scale: float, size: tuple[int, int]) -> None:
    s = setting_of(card, scale, *size)
    closed, counted, seen = routes_of(card.name, (s.channels, s.height, s.width), scale, 2, **s.params)
    assert cross_check.disagreements(closed, counted, seen) == []
    assert (closed.conv, closed.gather) == (counted.by_kind["conv"], counted.by_kind["gather"])
    blind = [name for name in counted.by_op if name in ops.OPS and not seen.by_site[name]]
    for kind in ("conv", "gather"):
        hidden = sum(counted.by_op[name] for name in blind if ops.OPS[name].kind == kind)
        assert seen.by_kind[kind] == counted.by_kind[kind] - hidden
    # An op that torch sees at all, it sees whole.
    assert all(seen.by_site[name] == n for name, n in counted.by_op.items() if name in ops.OPS and name not in blind)


@pytest.mark.parametrize(
    ("name", "params"), [(n, p) for n, options in VARIANTS.items() for p in options], ids=lambda v: str(v)
)
def test_the_three_routes_agree_away_from_the_defaults(name: str, params: dict[str, object]) -> None:
    closed, counted, seen = routes_of(name, (64, 4, 3), 2, 2, **params)
    assert cross_check.disagreements(closed, counted, seen) == []
    assert counted.total > 0


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_the_three_routes_agree_under_autocast_and_in_training(card: Card) -> None:
    s = setting_of(card, None, 4, 3)
    run = spec.load({"upsampler": card.name, "input": {"shape": [64, s.height, s.width]}})
    module, tensors = registry.construct(run.card, run.setting, backend="eager").train(), inputs.make(run, CPU)
    tensors = tuple(t.requires_grad_() for t in tensors)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        counted, seen = macs.count(module, tensors), cross_check.torch_count(module, tensors)
    assert card.count_macs is not None
    assert cross_check.disagreements(card.count_macs(run.setting), counted, seen) == []


def test_only_those_ops_are_hidden_from_torch_that_are_no_products() -> None:
    """Sampling, element-wise products with a sum, and pooling. A product that becomes one of them is noticed here."""
    found: dict[str, bool] = {}
    for card in CARDS:
        s = setting_of(card, None, 3, 4)
        _, counted, seen = routes_of(card.name, (64, s.height, s.width), None)
        found |= {name: bool(seen.by_site[name]) for name in counted.by_op if name in ops.OPS}
    assert {name for name, visible in found.items() if visible} == {
        "upbench::window_similarity",
        "upbench::window_assemble",
        "upbench::add_position",
        "upbench::mirrored_assemble",
        "upbench::mirrored_similarity",
        "upbench::attention_assemble",
        "upbench::attention_weights",
        "upbench::dilated_assemble",
        "upbench::dilated_weights",
        "upbench::unify_channels",
    }
    assert {name for name, visible in found.items() if not visible} == {
        "upbench::interpolate",
        "upbench::resize_map",
        "upbench::sample_points",
        "upbench::neighbour_assemble",
        "upbench::point_similarity",
        "upbench::point_assemble",
        "upbench::nearby_similarity",
        "upbench::nearby_assemble",
        "upbench::modulate",
        "upbench::gate_fuse",
        "upbench::affinity_logits",
        "upbench::box_mean",
    }


def corners(x: Tensor, points: Tensor) -> Tensor:
    """Bilinear samples as products of four weights with four pixels. x: [1, C, H, W], points: [N, 2] inside the map."""
    low = points.floor().clamp(max=torch.tensor([x.shape[3] - 2.0, x.shape[2] - 2.0]))
    fx, fy = (points - low).unbind(-1)
    weights = torch.stack(((1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy), -1)
    column, row = low.long().unbind(-1)
    pixels = torch.stack([x[0, :, row + dy, column + dx] for dy in (0, 1) for dx in (0, 1)])
    return torch.bmm(weights.unsqueeze(1), pixels.permute(2, 0, 1)).squeeze(1).t()


def as_samples(x: Tensor, points: Tensor) -> Tensor:
    groups, count, height, width = points.shape[1:5]
    parts = [corners(part, at.reshape(-1, 2)) for part, at in zip(x.chunk(groups, 1), points[0], strict=True)]
    return torch.cat(parts).view(1, x.shape[1], count, height, width)


def as_gate(guide: Tensor, up: Tensor, gate: Tensor) -> Tensor:
    mix = torch.cat((gate, 1 - gate), 1).flatten(2).permute(0, 2, 1).flatten(0, 1).unsqueeze(1)
    both = torch.stack((guide, up), 1).flatten(3).permute(0, 3, 1, 2).flatten(0, 1)
    return torch.bmm(mix, both).view(len(up), -1, up.shape[1]).permute(0, 2, 1).view_as(up)


def as_modulation(x: Tensor, index: Tensor, scale: int) -> Tensor:
    near = F.interpolate(x, scale_factor=scale)
    return torch.bmm(near.reshape(-1, 1, 1), index.expand_as(near).reshape(-1, 1, 1)).view_as(near)


def as_affinity(first: Tensor, second: Tensor, pattern: Tensor) -> Tensor:
    one, other = (t.flatten(2).transpose(1, 2).flatten(0, 1) for t in (first, second))
    affinity = torch.bmm(one.unsqueeze(1), other.unsqueeze(2)).view(len(first), 1, -1) * first.shape[1] ** -0.5
    return torch.bmm(pattern.flatten(2), affinity).view(len(first), -1, *first.shape[2:])


def as_boxes(x: Tensor, radius: int) -> Tensor:
    ones = torch.ones(x.shape[1], 1, 1, 2 * radius + 1)
    rows = F.conv2d(x, ones, padding=(0, radius), groups=x.shape[1])
    sums = F.conv2d(rows, ones.transpose(2, 3), padding=(radius, 0), groups=x.shape[1])
    return sums / F.avg_pool2d(torch.ones_like(x), 2 * radius + 1, 1, radius, divisor_override=1)


def as_neighbours(x: Tensor, weight: Tensor, kernel: int) -> Tensor:
    """At twice the size."""
    height, width = weight.shape[2:]
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    aligned = torch.stack(((column + 0.5) / 2 - 0.5, (row + 0.5) / 2 - 0.5), -1)
    last = torch.tensor([x.shape[3] - 1.0, x.shape[2] - 1.0])
    reach = range(-(kernel // 2), kernel // 2 + 1)
    taps = [torch.tensor([dx, dy], dtype=torch.float32) for dy in reach for dx in reach]
    points = torch.stack([(aligned + tap).clamp(min=torch.zeros(2), max=last) for tap in taps])
    return torch.einsum("bcnhw,bnhw->bchw", as_samples(x, points[None, None]), weight)


def rand(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(len(shape) + sum(shape)))


POINTS = rand(1, 2, 3, 6, 8, 2) * 2.9
SAME_MATHS: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor], tuple[object, ...]]] = {
    "sample_points": (lambda x, p: ops.sample_points(x, p, "zeros"), as_samples, (rand(1, 4, 4, 4), POINTS)),
    "interpolate": (
        lambda x: ops.interpolate(x, 8, 8, "bilinear"),
        lambda x: as_neighbours(x, torch.ones(1, 1, 8, 8), 1),
        (rand(1, 6, 4, 4),),
    ),
    "neighbour_assemble": (ops.sample_window_assemble, as_neighbours, (rand(1, 4, 4, 5), rand(1, 9, 8, 10), 3)),
    "point_similarity": (
        lambda q, k: ops.point_similarity(q, k, 2),
        lambda q, k: torch.einsum("bndhw,bndthw->bnthw", q.unflatten(1, (2, -1)), k.unflatten(1, (2, -1))),
        (rand(2, 6, 4, 5), rand(2, 6, 3, 4, 5)),
    ),
    "point_assemble": (
        ops.point_assemble,
        lambda w, v: torch.einsum("bnthw,bndthw->bndhw", w, v.unflatten(1, (w.shape[1], -1))).flatten(1, 2),
        (rand(2, 2, 3, 4, 5), rand(2, 6, 3, 4, 5)),
    ),
    "window_similarity": (
        ops.window_similarity,
        lambda q, k, n, s: torch.einsum(
            "bchw,bcthw->bthw",
            q,
            F.interpolate(F.unfold(k, n, padding=n // 2).view(2, 27, 4, 5), scale_factor=s).view(2, 3, 9, 8, 10),
        ),
        (rand(2, 3, 8, 10), rand(2, 3, 4, 5), 3, 2),
    ),
    "gate_fuse": (ops.gate_fuse, as_gate, (rand(2, 3, 4, 5), 1 + rand(2, 3, 4, 5), rand(2, 1, 4, 5))),
    "modulate": (ops.modulate, as_modulation, (rand(2, 3, 4, 5), rand(2, 1, 8, 10), 2)),
    "affinity_logits": (ops.affinity_logits, as_affinity, (rand(2, 5, 3, 4), 1 + rand(2, 5, 3, 4), rand(2, 7, 1, 1))),
    "box_mean": (ops.box_mean, as_boxes, (rand(2, 3, 6, 5), 1)),
}


@pytest.mark.parametrize("name", list(SAME_MATHS))
def test_declared_macs_are_those_of_the_same_maths_in_products(name: str) -> None:
    """What torch cannot see in an op, it sees when the op is written with matrix products and convolutions."""

    class Written(nn.Module):
        def __init__(self, function: Callable[..., Tensor]) -> None:
            super().__init__()
            self.function = function

        def forward(self, *tensors: Tensor) -> Tensor:
            return self.function(*tensors, *others)

    op, same, arguments = SAME_MATHS[name]
    tensors = tuple(a for a in arguments if isinstance(a, Tensor))
    others = arguments[len(tensors) :]
    torch.testing.assert_close(same(*arguments), op(*arguments))
    declared = macs.count(Written(op), tensors).by_op[f"upbench::{name}"]
    assert sum(cross_check.torch_count(Written(same), tensors).by_kind.values()) == declared


# Parameters, then MACs of convolutions and of gathers per low-resolution pixel, C = Cy = 256, s = 2.
TABLE = [
    ("nearest", {}, 0, 0, 0),
    ("bilinear", {}, 0, 0, 4_096),
    ("bicubic", {}, 0, 0, 16_384),
    ("deconv", {}, 590_080, 589_824, 0),
    ("pixelshuffle", {}, 2_360_320, 2_359_296, 0),
    ("carafe", {}, 74_148, 73_984, 25_600),
    ("indexnet", {}, 2_100_224, 2_099_200, 1_024),
    ("indexnet", {"kind": "m2o"}, 4_458_496, 4_456_448, 1_024),
    ("indexnet", {"kind": "o2o"}, 19_456, 17_408, 1_024),
    ("a2u", {}, 10_790, 18_724, 9_216),
    ("fade", {"gate": False}, 47_257, 153_920, 25_600),
    ("fade", {}, 47_514, 154_176, 27_648),
    ("fade-lite", {}, 13_332, 33_381, 27_648),
    ("sapa-i", {}, 0, 0, 51_200),
    ("sapa-b", {}, 17_472, 40_960, 28_800),
    ("sapa-b", {"embedding": 64}, 33_920, 81_920, 32_000),
    ("sapa-d", {}, 139_808, 237_568, 69_120),
    ("sapa-d", {"dof": 1}, 84_296, 182_272, 69_120),
    ("dysample", {}, 8_224, 8_192, 4_096),
    ("dysample+", {}, 16_416, 16_384, 4_096),
    ("dysample-s", {}, 1_040, 4_096, 4_096),
    ("dysample-s+", {}, 2_064, 8_192, 4_096),
    # 2 C^2 / r weights, 2 C of the norm, 9 C / r of position bias; 9 (C / r + C) for each of 4 output pixels.
    ("laaqu", {}, 33_856, 32_768, 11_520),
    ("ldaaqu", {}, 39_410, 76_544, 57_600),
    ("ldaaqu", {"reduction": 16}, 10_250, 19_136, 48_960),
    ("resfu", {}, 47_570, 169_472, 46_080),
    # The methods of 2017 to 2026, at the settings of their releases.
    ("maxunpool", {}, 0, 0, 0),
    ("freqfusion", {}, 52_514, 179_840, 40_520),
    ("jbu", {}, 6_233, 24_276, 72_832),
    # Four stages; 4 + 16 + 64 + 256 output pixels.
    ("jbu-stack", {}, 90_724, 340 * 6_069 + 256 * 65_536, 340 * (49 * 32 + 49 * 256 + 16 * 256)),
    ("dlu", {}, 35_489, 35_392, 26_000),
    ("convex", {}, 599_332, 9 * 65_536 + 9_216, 9_216),
    ("sam-mask", {}, 73_952, 98_304, 0),
    ("sam2-mask", {}, 98_624, 98_304 + 4 * 16_384 + 16 * 8_192, 0),
    ("lift", {}, 569_360, 1_909_760, 0),
    # 107 (128) layers of 128 x 128 an input pixel, a quarter of them an image pixel; every pixel attends to 8 cells.
    ("jafar", {}, 595_584, 107 * 16_384 + 4 * 384 + 2 * 32_768, 4 * 8 * (2 * 128 + 256)),
    ("anyup", {}, 878_080, 128 * 16_384 + 4 * 384 + 25 * 128 * 256, 4 * 8 * (2 * 128 + 256)),
    ("loftup", {}, 2_162_710, 7_695_984, 4 * 4 * 8 * 276),
    ("naf", {}, 662_528, 4 * 659_200, 4 * 81 * (256 + 256)),
]
SIZES = {"naf": (9, 9)}
"""Rows and columns where 2x4 is too small."""
# What is predicted once a sample from the pooled guide, which the table leaves out: 108 C.
PER_SAMPLE = {"a2u": 108 * 256}
# The angles of the positions in an image of 32 pixels, the same for all samples.
ONCE = {"jafar": 32 * 2 * 128, "anyup": 32 * 2 * 128}


@pytest.mark.parametrize(("name", "options", "params", "conv", "gather"), TABLE)
def test_reference_table(name: str, options: dict[str, object], params: int, conv: int, gather: int) -> None:
    height, width = SIZES.get(name, (2, 4))
    run = spec.load({"upsampler": name, "params": options, "input": {"shape": [256, height, width], "batch": 2}})
    module = registry.construct(run.card, run.setting, backend="eager").eval()
    counted = macs.count(module, inputs.make(run, CPU))
    assert run.card.count_params is not None
    assert run.card.count_params(run.setting) == sum(p.numel() for p in module.parameters()) == params
    assert counted.by_kind["conv"] == 2 * height * width * conv + 2 * PER_SAMPLE.get(name, 0) + ONCE.get(name, 0)
    assert counted.by_kind["gather"] == 2 * height * width * gather


def test_the_reference_table_is_complete() -> None:
    assert {row[0] for row in TABLE} == {card.name for card in CARDS}


def test_an_injected_disagreement_names_both_numbers_and_what_was_not_seen() -> None:
    closed, counted, seen = routes_of("a2u", (32, 3, 4), 2)
    conv, hidden = counted.by_kind["conv"], counted.by_op["upbench::affinity_logits"]
    assert cross_check.disagreements(replace(closed, conv=closed.conv + 1), counted, seen) == [
        f"conv MACs disagree: the closed form gives {conv + 1}, fvcore {conv}; fvcore sees every operator"
    ]
    lost = replace(seen, by_kind={**seen.by_kind, "conv": seen.by_kind["conv"] - 7}, uncounted={"aten::mul": 3})
    assert cross_check.disagreements(closed, counted, lost) == [
        f"conv MACs disagree: fvcore counts {conv - hidden} (without upbench::affinity_logits {hidden}), torch "
        f"{conv - hidden - 7}; fvcore sees every operator, torch does not see aten::mul (3x)"
    ]


def test_a_false_declaration_disagrees_with_both_other_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "upbench::window_assemble"
    honest = ops.OPS[name]
    monkeypatch.setitem(ops.OPS, name, replace(honest, macs=lambda shapes, args: honest.macs(shapes, args) - 1))
    closed, counted, seen = routes_of("carafe", (32, 3, 4), 2)
    with_closed, with_torch = cross_check.disagreements(closed, counted, seen)
    assert f"the closed form gives {closed.gather}, fvcore {closed.gather - 1};" in with_closed
    assert f"fvcore counts {closed.gather - 1}, torch {closed.gather};" in with_torch


class Hidden(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(x, weight)


class Opaque(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return Hidden.apply(x, self.weight)


def test_a_convolution_in_a_users_function_is_counted_and_one_that_is_not_seen_is_a_disagreement() -> None:
    tensors = (rand(1, 4, 3, 5),)
    counted, seen = macs.count(Opaque(), tensors), cross_check.torch_count(Opaque(), tensors)
    assert counted.by_kind["conv"] == seen.by_kind["conv"] == 4 * 8 * 3 * 5
    assert cross_check.disagreements(None, counted, seen) == []
    unseen = replace(counted, by_kind={**counted.by_kind, "conv": 0}, by_op={})
    assert cross_check.disagreements(None, unseen, seen) == [
        "conv MACs disagree: fvcore counts 0, torch 480; fvcore does not see prim::PythonOp.Hidden (1x), "
        "torch sees every operator"
    ]


class Foreign(nn.Module):
    """What modules from elsewhere are made of, once each."""

    def __init__(self) -> None:
        super().__init__()
        self.with_bias, self.without = nn.Linear(4, 6), nn.Linear(4, 6, bias=False)
        self.down = nn.ConvTranspose2d(4, 4, 3, groups=2)

    def forward(self, x: Tensor, grid: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        a, b = self.with_bias(tokens), self.without(tokens)
        flat = self.without(tokens[0]) + self.with_bias(tokens[0])
        products = torch.einsum("bnd,bmd->bnm", a, b) @ b + torch.addmm(flat, tokens[0], self.without.weight.t())
        attended = F.scaled_dot_product_attention(a, b, b)
        sampled = F.grid_sample(x, grid, align_corners=False) + F.interpolate(x, size=(3, 5), mode="bicubic")
        return products.sum() + attended.sum() + sampled.sum() + self.down(x).sum()


def test_classes_of_what_torch_charges() -> None:
    """15 pixels; a product of features and a linear layer without bias are the same mm to the dispatcher."""
    tensors = (rand(1, 4, 3, 5), rand(1, 3, 5, 2))
    counted, seen = macs.count(Foreign(), tensors), cross_check.torch_count(Foreign(), tensors)
    assert seen.by_kind["conv"] == 5 * 15 * 24 + 15 * 4 * 2 * 9
    assert seen.by_kind["gather"] - seen.by_site[cross_check.ATTENTION] == 2 * 15 * 15 * 6
    assert counted.by_op[cross_check.ATTENTION] == 2 * 15 * 15 * 6
    assert cross_check.disagreements(None, counted, seen) == []
    assert seen.uncounted["aten::grid_sampler_2d"] == 1
    assert seen.uncounted["aten::upsample_bicubic2d"] == 1


def test_what_ran_uncharged_is_listed_without_data_movement() -> None:
    for name, expected in {
        "pixelshuffle": {},
        "nearest": {},
        "bilinear": {"aten::upsample_bilinear2d": 1},
        "carafe": {"aten::_softmax": 1},
        "laaqu": {
            "aten::native_layer_norm": 1,
            "aten::upsample_bilinear2d": 1,
            "aten::add": 1,
            "aten::mul": 3,
            "aten::sum": 2,
            "aten::_softmax": 1,
        },
        "sapa-b": {"aten::_softmax": 1, "aten::native_group_norm": 2},
    }.items():
        assert routes_of(name, (32, 3, 4), 2)[2].uncounted == expected
    # The dtype that it asks torch for is no arithmetic.
    assert "aten::promote_types" not in routes_of("dysample", (32, 3, 4), 2)[2].uncounted


def test_counting_leaves_the_module_as_it_was() -> None:
    run = spec.load({"upsampler": "indexnet", "input": {"shape": "32x3x4"}})
    module, tensors = registry.construct(run.card, run.setting, 0, "eager").train(), inputs.make(run, CPU)
    module.eval()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    first = cross_check.torch_count(module, tensors)
    assert first == cross_check.torch_count(module, tensors)
    assert not module.training
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert all(not layer._forward_hooks and not layer._forward_pre_hooks for layer in module.modules())
