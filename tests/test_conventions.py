"""Conventions: their rules, and that they reproduce what papers print."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict, fields

import pytest
import torch

from upbench import conventions, registry
from upbench.benchmark import inputs
from upbench.conventions import Breakdown
from upbench.errors import UnknownName, UpbenchError
from upbench.measure import breakdown, macs
from upbench.specs import run_spec as spec

# A power of two for each part: a sum says which parts are in it.
POWERS = Breakdown(**{field.name: 2**n for n, field in enumerate(fields(Breakdown))})
TRACED = ("conv", "similarity", "sampling", "assembly", "fusion", "norm", "elementwise")


def parts_of(total: int) -> set[str]:
    return {name for name, value in asdict(POWERS).items() if total & value}


@pytest.mark.parametrize(
    ("convention", "parts"),
    [
        ("F0", "conv"),
        ("F1", "conv bias hook_norm activation pooling"),
        ("F2", "conv similarity"),
        ("F3", "conv similarity sampling assembly"),
        ("F4", "conv similarity sampling assembly fusion"),
        ("all", " ".join(TRACED)),
        ("P0", " ".join(TRACED)),
        ("f3, p1", "conv similarity sampling assembly"),
    ],
)
def test_what_each_convention_adds_to_flops(convention: str, parts: str) -> None:
    assert parts_of(conventions.flops(POWERS, convention)) == set(parts.split())


@pytest.mark.parametrize(
    ("convention", "parts"),
    [
        ("P0", "weights position_bias"),
        ("P1", "weights position_bias biases"),
        ("P2", "weights position_bias biases norm_affine"),
        ("all", "weights position_bias biases norm_affine"),
        ("F0", "weights position_bias biases norm_affine"),
        ("P0,F1", "weights position_bias"),
    ],
)
def test_what_each_convention_adds_to_parameters(convention: str, parts: str) -> None:
    assert parts_of(conventions.params(POWERS, convention)) == set(parts.split())


def test_the_default_is_everything() -> None:
    assert conventions.flops(POWERS) == conventions.flops(POWERS, "all")
    assert conventions.params(POWERS) == conventions.params(POWERS, "all")
    assert conventions.describe() == conventions.describe("all")


@pytest.mark.parametrize("text", ["F5", "", "F0,", "F3 P0", "macs"])
def test_an_unknown_convention_lists_the_known_ones(text: str) -> None:
    for use in (lambda: conventions.flops(POWERS, text), lambda: conventions.describe(text)):
        with pytest.raises(UnknownName, match=r"unknown convention .* [kK]nown: all, F0, F1, F2, F3, F4, P0, P1, P2"):
            use()


@pytest.mark.parametrize("text", ["F0,F1", "P0,P0", "all,F0", "P1,all", "all,all"])
def test_two_rules_for_the_same_numbers_are_refused(text: str) -> None:
    with pytest.raises(UpbenchError, match="says twice how to count; give at most one of F0, F1"):
        conventions.parse(text)


def test_a_table_says_what_it_adds() -> None:
    sentence = conventions.describe("F3,P0")
    assert "One multiply-accumulate counts as one FLOP." in sentence
    assert "FLOPs (F3): " in sentence
    assert "assembly" in sentence
    assert "fusion" not in sentence
    assert "Parameters (P0): weights and position biases only." in sentence
    assert "fusion" in conventions.describe("F4")
    assert len({conventions.describe(name) for name in conventions.NAMES}) == len(conventions.NAMES)


def test_conventions_need_no_torch() -> None:
    code = "import sys, upbench.conventions; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def at_size(name: str, pixels: int, calls: int, **params: object) -> Breakdown:
    """The parts of `calls` modules with C = Cy = 256 at scale 2 over `pixels` low-resolution pixels together.

    Parts are linear in the pixels (and A2U has some that are once a call), so two small maps give the line.
    """
    small, large = (_at_width(name, width, params) for width in (2, 4))
    found = {}
    for part in small:
        slope, rest = divmod(large[part] - small[part], 4)
        assert rest == 0
        constant = small[part] - 4 * slope
        found[part] = slope * pixels + constant * calls
    return Breakdown(**found)


def _at_width(name: str, width: int, params: dict[str, object]) -> dict[str, int]:
    run = spec.load({"upsampler": name, "params": params, "input": {"shape": [256, 2, width]}})
    module = registry.construct(run.card, run.setting, backend="eager").eval()
    tensors = inputs.make(run, torch.device("cpu"))
    return asdict(breakdown.count(module, tensors, macs.count(module, tensors)))


def test_two_small_maps_give_the_numbers_of_a_large_one() -> None:
    for name in ("ldaaqu", "a2u"):
        assert at_size(name, 2 * 14, 1) == Breakdown(**_at_width(name, 14, {}))


# Levels of Faster R-CNN on 1280x800, and with the 64-padded size 1280x832 that guided rows have; SegFormer-B1 on 512^2.
FPN = (260 + 1000 + 4000 + 16000, 4)
PADDED = (13 * 20 * 85, 4)
SEGFORMER = (3 * 64**2 + 2 * 32**2 + 16**2, 6)

# Increments in G, each under the convention that is named.
INCREMENTS = [
    ("deconv", {}, FPN, "F0", "12.54"),
    ("pixelshuffle", {}, FPN, "F0", "50.16"),
    ("carafe", {}, FPN, "F0", "1.57"),
    ("ldaaqu", {}, FPN, "F0", "1.63"),
    ("ldaaqu", {}, FPN, "F3", "2.85"),
    ("ldaaqu", {"reduction": 16}, FPN, "F0", "0.41"),
    ("ldaaqu", {"reduction": 16}, FPN, "F3", "1.45"),
    ("dysample+", {}, FPN, "F0", "0.35"),
    ("indexnet", {}, PADDED, "F0", "46.39"),
    ("fade", {"gate": False}, PADDED, "F0", "3.40"),
    ("carafe", {}, SEGFORMER, "F3", "1.453"),
    ("indexnet", {}, SEGFORMER, "F3", "30.65"),
    ("a2u", {}, SEGFORMER, "F3", "0.408"),
    ("fade", {}, SEGFORMER, "F4", "2.653"),
    ("fade-lite", {}, SEGFORMER, "F4", "0.89"),
    ("sapa-i", {}, SEGFORMER, "F3", "0.75"),
    ("sapa-b", {}, SEGFORMER, "F3", "1.02"),
    ("sapa-b", {"embedding": 64}, SEGFORMER, "F3", "1.66"),
]

# LDA-AQU Table 1 as printed. F1 gives every row; F0 misses deconv (12.5) and LDA-AQU (1.6).
PRINTED_BY_LDA_AQU = [
    ("deconv", {}, FPN, "12.6"),
    ("pixelshuffle", {}, FPN, "50.2"),
    ("carafe", {}, FPN, "1.6"),
    ("ldaaqu", {}, FPN, "1.7"),
    ("ldaaqu", {"reduction": 16}, FPN, "0.4"),
    ("dysample+", {}, FPN, "0.3"),
    ("indexnet", {}, PADDED, "46.4"),
    ("fade", {"gate": False}, PADDED, "3.4"),
]


def printed(flops: int, like: str) -> str:
    """G, with as many decimals as `like`."""
    return f"{flops / 1e9:.{len(like.partition('.')[2])}f}"


@pytest.mark.parametrize(("name", "params", "size", "convention", "expected"), INCREMENTS)
def test_published_increments(
    name: str, params: dict[str, object], size: tuple[int, int], convention: str, expected: str
) -> None:
    assert printed(conventions.flops(at_size(name, *size, **params), convention), expected) == expected


@pytest.mark.parametrize(("name", "params", "size", "expected"), PRINTED_BY_LDA_AQU)
def test_what_hooks_see_is_what_lda_aqu_prints(
    name: str, params: dict[str, object], size: tuple[int, int], expected: str
) -> None:
    found = at_size(name, *size, **params)
    assert printed(conventions.flops(found, "F1"), expected) == expected
    only_f1 = name == "deconv" or (name == "ldaaqu" and not params)
    assert (printed(conventions.flops(found, "F0"), expected) != expected) == only_f1


@pytest.mark.parametrize(
    ("name", "params", "convention", "modules", "expected"),
    [
        ("dysample", {}, "P0", 4, 32_768),
        ("dysample+", {}, "P0", 4, 65_536),
        ("a2u", {}, "P0", 1, 9_728),
        ("a2u", {}, "P2", 1, 10_790),
        ("indexnet", {}, "P0", 1, 32 * 256**2 + 8 * 256),
        ("ldaaqu", {"reduction": 16}, "P2", 4, 41_000),
        ("sapa-b", {}, "P1", 1, 16_448),
        ("sapa-d", {"dof": 1}, "P0", 6, 503_808),
        ("pixelshuffle", {}, "P0", 6, 14_155_776),
    ],
)
def test_published_parameters(
    name: str, params: dict[str, object], convention: str, modules: int, expected: int
) -> None:
    """+32.7K, +65.5K (DySample), 9,728 (A2U), 41.0K (LDA-AQU*), 0.50M (SAPA-D), 14.2M (pixel shuffle) and others."""
    assert modules * conventions.params(at_size(name, 4, 1, **params), convention) == expected
