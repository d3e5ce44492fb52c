"""Small maps that show what large ones would, gradients against forwards, and results that are kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import upbench
from upbench.benchmark import check_cache, directional, gradient_check, reduced_map
from upbench.benchmark.check_cache import KeptCheck, KeptResult
from upbench.ops import thresholds


@given(st.integers(1, 400), st.integers(1, 400), st.sampled_from([1, 2, 4]))
def test_reduced_maps_keep_the_remainders_of_tiles(height: int, width: int, scale: int) -> None:
    first, *rest = reduced_map.maps(height, width)
    for full, small in zip((height, width), first, strict=True):
        assert (full * scale) % 8 == (small * scale) % 8
        assert small <= full or full < 24
        assert small >= min(full, 24)
        assert small <= 48
    if max(height, width) <= 48:
        assert (first, rest) == ((height, width), [])
    else:
        assert first[0] * first[1] < height * width
        assert (27, 25) in (first, *rest)


def test_thresholds_shrink_with_the_map() -> None:
    ratio = reduced_map.pixel_ratio((120, 120), (24, 24))
    assert ratio == 25
    with thresholds.for_smaller_maps(ratio):
        assert [thresholds.scaled(n) for n in (2**25, 2**20, 3)] == [1342177, 41943, 1]
    assert thresholds.scaled(2**25) == 2**25


def _gradient(module: torch.nn.Module, x: Tensor, weight: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(module(leaf), leaf, weight)
    return found


@pytest.mark.parametrize("name", ["carafe", "dysample", "deconv", "bilinear"])
def test_a_right_gradient_agrees_with_two_forwards(name: str) -> None:
    module = upbench.build(name, channels=16, scale=2)
    x, weight = torch.randn(1, 16, 26, 24), torch.randn(1, 16, 52, 48)
    found = gradient_check.directions(module, [x], weight, [_gradient(module, x, weight)])
    assert [n for n, _ in found] == [0] * 5
    assert all(direction.agrees for _, direction in found), found
    assert gradient_check.directions(module, [x], weight, [None]) == []


def test_where_steps_cross_pixels_float64_decides() -> None:
    torch.manual_seed(0)
    module = upbench.build("ldaaqu", channels=16, scale=2, groups=1)
    x, weight = torch.randn(1, 16, 26, 24), torch.randn(1, 16, 52, 48)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    gradient = _gradient(module, x, weight)
    assert not all(one.agrees for one in directional.compare(module, x, weight, gradient))
    assert all(one.agrees for _, one in gradient_check.directions(module, [x], weight, [gradient]))
    gradient[..., 8:16, 8:16] = 0
    assert not all(one.agrees for _, one in gradient_check.directions(module, [x], weight, [gradient]))


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        (slice(8, 16), slice(8, 16)),
        (slice(0, 1), slice(0, 24)),
        (slice(0, 26), slice(23, 24)),
        (slice(15, 17), slice(0, 24)),
    ],
)
def test_a_gradient_that_misses_a_tile_an_edge_or_a_seam_does_not(rows: slice, columns: slice) -> None:
    module = upbench.build("carafe", channels=16, scale=2)
    x, weight = torch.randn(1, 16, 26, 24), torch.randn(1, 16, 52, 48)
    gradient = _gradient(module, x, weight)
    gradient[..., rows, columns] = 0
    assert not all(direction.agrees for direction in directional.compare(module, x, weight, gradient))


def test_a_gradient_that_is_not_finite_is_far_off() -> None:
    x = torch.randn(1, 2, 24, 24)
    gradient = torch.full_like(x, float("nan"))
    assert directional.compare(lambda t: t * 2, x, x, gradient)[0].apart == float("inf")
    assert directional.compare(lambda t: t * 0, x, x, torch.zeros_like(x))[0].apart == 0


SPEC = {"upsampler": "carafe", "input": {"shape": "64x8x8", "seed": 0}, "measure": {"device": "cpu", "budget": 2.0}}
HERE = {"device": "cpu", "threads": 1, "torch": "2", "upbench": "1", "kernels": "c", "load": 3.0}
PASSED = KeptResult(output="a", gradients="b", checks=[KeptCheck(name="finite", passed=True, detail="yes")])


def test_a_result_is_kept_under_what_it_depends_on() -> None:
    base = check_cache.key(SPEC, HERE, {"a.py": "1"}, "f")
    longer = {**SPEC, "measure": {"device": "cpu", "budget": 9.0, "mode": "training"}}
    assert check_cache.key(longer, {**HERE, "load": 0.1}, {"a.py": "1"}, "f") == base
    others = [
        ({**SPEC, "input": {"shape": "64x8x8", "seed": 1}}, HERE, {"a.py": "1"}, "f"),
        ({**SPEC, "measure": {"device": "cpu", "backend": "eager"}}, HERE, {"a.py": "1"}, "f"),
        (SPEC, {**HERE, "threads": 2}, {"a.py": "1"}, "f"),
        (SPEC, {**HERE, "kernels": "torch"}, {"a.py": "1"}, "f"),
        (SPEC, HERE, {"a.py": "2"}, "f"),
        (SPEC, HERE, {"a.py": "1"}, "g"),
    ]
    assert len({base, *(check_cache.key(*one) for one in others)}) == 7


def test_results_come_back_and_damaged_or_failed_ones_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPBENCH_CACHE", str(tmp_path))
    assert check_cache.load("x") is None
    assert check_cache.save("x", PASSED)
    assert check_cache.load("x") == PASSED
    failed = PASSED.model_copy(update={"checks": [KeptCheck(name="finite", passed=False, detail="no")]})
    assert not check_cache.save("y", failed)
    assert check_cache.load("y") is None
    for n in range(check_cache.MOST):
        check_cache.save(f"{n}", PASSED)
    assert check_cache.load("x") is None
    check_cache.path().write_text('{"schema": 1, "results": {"z": 3}}')
    assert check_cache.load("z") is None
    check_cache.path().write_text("{")
    assert check_cache.load("z") is None
    monkeypatch.setenv("UPBENCH_CACHE", "/proc/nowhere")
    assert not check_cache.save("x", PASSED)


def test_flags_of_the_processor_in_any_order(tmp_path: Path) -> None:
    one, other = tmp_path / "a", tmp_path / "b"
    one.write_text("processor : 0\nflags : sse avx2\n")
    other.write_text("flags : avx2 sse\n")
    assert check_cache.cpu_flags(one) == check_cache.cpu_flags(other) is not None
    assert check_cache.cpu_flags(tmp_path / "none") is None
