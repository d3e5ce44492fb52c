"""The C kernel for deformed points against the same ops made of torch's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import upbench
from upbench import ops
from upbench.machine import environment
from upbench.ops.cpu import (
    attention,
    boxes,
    guided_attention,
    native,
    point_slopes,
)
from upbench.ops.cpu import points as cpu_points
from upbench.ops.cpu.rows import point_rows
from upbench.ops.memory_layout import SMALLEST, on_huge_pages

built = pytest.mark.skipif(native._kernels is None, reason="upbench was installed without a C compiler")
sizes = st.integers(1, 9)


@contextmanager
def without_c() -> Iterator[None]:
    kept, native._kernels = native._kernels, None
    try:
        yield
    finally:
        native._kernels = kept


def close(found: Tensor, expected: Tensor, terms: int = 1) -> None:
    """Hold two forms to the rounding of one dtype; sums of many terms that cancel are rounded as the terms are large."""
    tolerance = 1e-12 if found.dtype == torch.float64 else 2e-6
    assert found.shape == expected.shape
    assert found.stride() == expected.stride()
    # A sum is rounded as often as it has terms, each time to what it has come to by then.
    largest = max(1.0, float(expected.abs().max()), terms**0.5 / 8)
    assert (found - expected).abs().max() <= tolerance * largest * max(1.0, terms**0.5 / 8)


@built
@settings(max_examples=60, deadline=None)
@given(
    sizes,
    sizes,
    st.integers(1, 19),
    st.integers(1, 19),
    st.sampled_from([(1, 1), (2, 1), (1, 2), (2, 3), (4, 2)]),
    st.integers(1, 10),
    st.sampled_from([1, 5, 16, 21, 64, 90]),
    st.sampled_from([1, 7, 32]),
    st.sampled_from(["zeros", "border"]),
    st.booleans(),
    st.sampled_from([torch.float32, torch.float64]),
    st.integers(0, 2**16),
)
def test_both_forms_agree(
    h: int,
    w: int,
    out_h: int,
    out_w: int,
    parts: tuple[int, int],
    taps: int,
    values: int,
    depth: int,
    padding: str,
    embeds: bool,
    dtype: torch.dtype,
    seed: int,
) -> None:
    """Blocks of channels that fill vectors and that do not, tiles cut off by the border, points on and far off the map."""
    torch.manual_seed(seed)
    groups, heads = parts
    blocks = 6 if parts == (2, 3) else max(parts)
    x, keys = torch.randn(2, blocks * values, h, w, dtype=dtype), torch.randn(2, blocks * depth, h, w, dtype=dtype)
    query = torch.randn(2, blocks * depth, out_h, out_w, dtype=dtype)
    embedding = torch.randn(heads, taps, blocks * depth // heads, dtype=dtype) if embeds else None
    weight = torch.randn(2, heads, taps, out_h, out_w, dtype=dtype)
    points = (torch.rand(2, groups, taps, out_h, out_w, 2, dtype=dtype) * 2 - 0.5) * max(h, w)
    points[:, :, 0] = points[:, :, 0].round()
    attended = (x, keys, query, embedding, points, padding, heads, 0.3)
    found = (
        attention.attend(*attended),
        cpu_points.deform_assemble(x, weight, points, padding),
        cpu_points.deform_assemble(x, None, points[:, :, :1], padding),
        cpu_points.deform_similarity(query, keys, points, padding, heads),
    )
    with without_c():
        close(found[0], attention.attend(*attended))
        close(found[1], cpu_points.deform_assemble(x, weight, points, padding))
        close(found[2], cpu_points.deform_assemble(x, None, points[:, :, :1], padding))
        close(found[3], cpu_points.deform_similarity(query, keys, points, padding, heads))


@built
@settings(max_examples=40, deadline=None)
@given(
    st.tuples(sizes, sizes),
    st.tuples(st.integers(1, 19), st.integers(1, 19)),
    st.sampled_from([(1, 1), (2, 1), (1, 2), (2, 3), (4, 2)]),
    st.integers(1, 10),
    st.sampled_from([1, 5, 16, 32, 64, 90]),
    st.sampled_from(["zeros", "border"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([torch.float32, torch.float64]),
    st.integers(0, 2**16),
)
def test_both_forms_of_gradients_agree(
    size: tuple[int, int],
    out_size: tuple[int, int],
    parts: tuple[int, int],
    taps: int,
    values: int,
    padding: str,
    weighs: bool,
    last: bool,
    dtype: torch.dtype,
    seed: int,
) -> None:
    """Slices of channels of every kind, either memory order of the gradient, points on the border between two cells."""
    torch.manual_seed(seed)
    groups, heads = parts if weighs else (parts[0], 1)
    channels = math.lcm(groups, heads) * values
    x, source = torch.randn(2, channels, *size, dtype=dtype), torch.randn(2, channels, *out_size, dtype=dtype)
    if last:
        source = source.contiguous(memory_format=torch.channels_last)
    weight = torch.randn(2, heads, taps, *out_size, dtype=dtype) if weighs else None
    points = (torch.rand(2, groups, taps, *out_size, 2, dtype=dtype) * 2 - 0.5) * max(size)
    points[:, :, 0] = points[:, :, 0].round()

    def gradients() -> tuple[Tensor, ...]:
        return (
            cpu_points.deform_scatter(source, weight, points, padding, *size),
            *cpu_points.deform_slope(source, x, weight, points, padding),
        )

    found = gradients()
    with without_c():
        for n, (one, other) in enumerate(zip(found, gradients(), strict=True)):
            # At a pixel of a small map points of the whole result meet.
            close(one, other, terms=taps * math.prod(out_size) if n == 0 else 1)


@built
@settings(max_examples=20, deadline=None)
@given(
    st.tuples(sizes, sizes),
    st.tuples(st.integers(1, 19), st.integers(1, 19)),
    st.sampled_from([(1, 1), (2, 1), (1, 2), (2, 3)]),
    st.integers(1, 9),
    st.sampled_from([1, 5, 16, 64, 90, 96]),
    st.sampled_from(["zeros", "border"]),
    st.sampled_from([torch.float16, torch.bfloat16]),
    st.integers(0, 2**16),
)
def test_half_precision_against_double(
    size: tuple[int, int],
    out_size: tuple[int, int],
    parts: tuple[int, int],
    taps: int,
    values: int,
    padding: str,
    dtype: torch.dtype,
    seed: int,
) -> None:
    """Of the same rounded inputs the result is the right one, rounded once, and so are its gradients."""
    torch.manual_seed(seed)
    groups, heads = parts
    channels = math.lcm(groups, heads) * values
    x, keys = torch.randn(2, 2, channels, *size).to(dtype)
    query, source = torch.randn(2, 2, channels, *out_size).to(dtype)
    weight = torch.randn(2, heads, taps, *out_size).to(dtype)
    points = (torch.rand(2, groups, taps, *out_size, 2) * 2 - 0.5) * max(size)

    def results(to: torch.dtype) -> tuple[Tensor, ...]:
        a, b, c, d, e = (t.to(to) for t in (x, keys, query, source, weight))
        where = points.double() if to == torch.float64 else points
        return (
            attention.attend(a, b, c, None, where, padding, heads, 0.3),
            cpu_points.deform_assemble(a, e, where, padding),
            cpu_points.deform_similarity(c, b, where, padding, heads),
            cpu_points.deform_scatter(d, e, where, padding, *size),
            *cpu_points.deform_slope(d, a, e, where, padding),
        )

    for found, expected in zip(results(dtype), results(torch.float64), strict=True):
        assert found.dtype in (dtype, torch.float32)
        assert (found - expected).abs().max() <= 1e-2 * max(1.0, float(expected.abs().max()))


@built
@pytest.mark.parametrize("place", [float("nan"), float("inf"), -float("inf")])
def test_positions_that_are_no_numbers_spoil_what_reads_them_and_nothing_else(place: float) -> None:
    x, points = torch.randn(1, 64, 4, 4), torch.rand(1, 1, 3, 8, 8, 2) * 3
    points[0, 0, 1, 2, 3, 0] = place
    weight = torch.rand(1, 1, 3, 8, 8)
    out = ops.deform_assemble(x, weight, points, "zeros", backend="fused")
    expected = ops.deform_assemble(x, weight, points, "zeros")
    assert bool(expected[0, :, 2, 3].isnan().all())
    torch.testing.assert_close(out, expected, equal_nan=True, rtol=1e-5, atol=1e-5)


@built
def test_what_lies_outside_a_window_of_zeros_is_never_read() -> None:
    """A pixel that no point weighs may hold anything: zero times what is not a number is none."""
    x = torch.zeros(1, 1, 2, 2)
    x[0, 0, 0, 0] = float("nan")
    points = torch.tensor([-5.0, -5.0]).expand(1, 1, 1, 4, 4, 2)
    assert bool((ops.deform_assemble(x, torch.ones(1, 1, 1, 4, 4), points, "zeros", backend="fused") == 0).all())


@built
@pytest.mark.parametrize("entry", ["given", "predicted", "moved", "slopes"])
def test_an_entry_takes_its_own_struct_alone(entry: str) -> None:
    """Before anything is read from its address."""
    with pytest.raises(TypeError, match="another struct than this entry takes"):
        getattr(native._kernels, entry)(0, 8, 0, 1, 1)
    for struct in (native.Maps, native._Given, native._Predicted, native._Moved, point_slopes.Slopes):
        assert all(getattr(struct, name).size % 8 == 0 for name, _ in struct._fields_)


def test_what_the_ops_are_made_of_is_part_of_the_place() -> None:
    cpu = torch.device("cpu")
    with without_c():
        assert environment.identity(cpu)["kernels"] == "torch"
        plain = upbench.build("sapa-d", channels=32, backend="fused", seed=0).eval()
        with torch.no_grad(), ops.recorded() as ran:
            plain(torch.randn(1, 32, 4, 4), torch.randn(1, 32, 8, 8))
    assert set(ran.values()) == {"fused"}
    assert environment.capture(cpu)["kernels"] == ops.kernels()


def test_it_takes_what_it_can_compute() -> None:
    x = torch.zeros(1)
    assert not native.can_run_native(x.half())
    assert native.can_run_native(x.half(), half=True) == (native._kernels is not None)
    assert not native.can_run_native(x, x.double())
    assert native.can_run_native(x, x) == native.can_run_native(x.double()) == (native._kernels is not None)


def test_rows_of_points_that_lie_so_already_are_not_copied() -> None:
    rows = torch.randn(2, 1, 3, 5, 2, 4)
    points = rows.permute(1, 4, 5, 2, 3, 0)
    assert point_rows(points).data_ptr() == rows.data_ptr()


def test_huge_pages_are_advice_and_change_no_value() -> None:
    large = torch.arange(SMALLEST // 4 + 1000, dtype=torch.float32)[3:]
    before = large.sum(dtype=torch.float64)
    assert on_huge_pages(large) is large
    assert large.sum(dtype=torch.float64) == before
    for other in (torch.empty(0), torch.empty(SMALLEST, device="meta")):
        assert on_huge_pages(other) is other


def test_fused_ops_take_dynamic_sizes() -> None:
    """Nothing in them compares a symbol with a number, so that one traced form serves every size."""
    module = upbench.build("carafe", channels=32, backend="fused").eval()
    x, height = torch.randn(1, 32, 8, 12), torch.export.Dim("height", min=2, max=4096)
    exported = torch.export.export(module, (x,), dynamic_shapes=({2: height},))
    other = torch.randn(1, 32, 5, 12)
    torch.testing.assert_close(exported.module()(other), module(other))


@built
def test_maps_of_one_column_may_have_any_step_there() -> None:
    # torch calls them contiguous.
    odd = torch.randn(2, 32, 1, 12).transpose(2, 3)
    even = odd.clone(memory_format=torch.contiguous_format)
    assert odd.is_contiguous()
    assert odd.stride(3) != even.stride(3)
    x, points, weight = torch.randn(2, 32, 6, 1), torch.rand(2, 1, 4, 12, 1, 2) * 5, torch.rand(2, 1, 4, 12, 1)
    offsets, layer, bias = torch.randn(2, 6, 1, 1, 2, 1, 4), torch.randn(32, 32, 1, 1), torch.randn(32)

    def results(source: Tensor) -> list[Tensor]:
        guide = source[:, :, ::2]
        return [
            point_slopes.scatter(source, weight, points, "zeros", 6, 1),
            *point_slopes.slopes(source, x, weight, points, "zeros"),
            boxes.attend(source, x, x, 2, 1, 0.4, 0),
            guided_attention.attend(x, x, guide, layer, bias, offsets, 1, 1),
        ]

    for found, expected in zip(results(odd), results(even), strict=True):
        assert torch.equal(found, expected)


@built
@pytest.mark.parametrize("compiled", [True, False])
def test_of_no_images_there_are_none(compiled: bool) -> None:
    x, weight, points = torch.rand(0, 8, 4, 4), torch.rand(0, 2, 3, 6, 5), torch.rand(0, 1, 3, 6, 5, 2)
    grad = torch.rand(0, 8, 6, 5)
    with nullcontext() if compiled else without_c():
        assert cpu_points.deform_assemble(x, weight, points, "zeros").shape == (0, 8, 6, 5)
        assert cpu_points.deform_scatter(grad, weight, points, "zeros", 4, 4).shape == x.shape
        dots, slopes = cpu_points.deform_slope(grad, x, weight, points, "zeros")
    assert (dots.shape, slopes.shape) == (weight.shape, points.shape)
