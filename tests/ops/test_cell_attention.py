"""Fused attention to low-resolution cells against the eager forms, forward and backward, over sizes, windows and dtypes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.ops.test_fused import agree
from upbench import ops
from upbench.errors import BackendError
from upbench.ops import cell_attention, cell_windows, thresholds
from upbench.ops.attention import window_mask
from upbench.ops.cpu import cell_attention as cpu
from upbench.ops.cpu import native
from upbench.ops.rope import ends, plane, plane_rope

few = settings(max_examples=20, deadline=None)
sides = st.tuples(*[st.integers(1, 7)] * 2)
outputs = st.tuples(*[st.integers(1, 20)] * 2)
seeds = st.integers(0, 2**16)
windows = st.sampled_from([0.0, 0.02, 0.1, 0.35, 2.0])
ratios = st.sampled_from([1.0, 30.0, 3000.0])
"""How many times fewer pixels than the map that it stands for a map has: how finely it is cut."""
DOUBLE = torch.float64


made_of = pytest.mark.parametrize("made_of", ["c", "torch"])
"""Both forms on the CPU: that of the C kernel, and that of where it was not built."""


def form(made_of: str) -> AbstractContextManager[object]:
    if made_of == "torch":
        return patch.object(native, "_kernels", None)
    if ops.kernels() != "c":
        pytest.skip("the C kernel was not built here")
    return nullcontext()


def draw(seed: int, *shapes: tuple[int, ...], dtype: torch.dtype = DOUBLE) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=DOUBLE).to(dtype) for shape in shapes]


def averaged(query: Tensor, keys: Tensor, x: Tensor, heads: int, window: float, backend: str) -> Tensor:
    dim = query.shape[1]
    dead = (keys.detach(), torch.eye(dim, dtype=x.dtype), torch.zeros(dim, dtype=x.dtype))
    return ops.averaged_attention(query, keys, x, *dead, heads, window, backend=backend)


@made_of
@few
@given(sides, outputs, st.sampled_from([(1, 2), (2, 3), (4, 1)]), windows, ratios, st.booleans(), seeds)
def test_averaged_attention(
    made_of: str,
    size: tuple[int, int],
    out: tuple[int, int],
    parts: tuple[int, int],
    window: float,
    ratio: float,
    last: bool,
    seed: int,
) -> None:
    """Whatever the ratio of the sizes: larger and smaller outputs, either memory order, few and many tiles."""
    heads, each = parts
    q, k, x = draw(seed, (2, heads * each, *out), (2, heads * each, *size), (2, 5, *size))
    if last:
        q, k, x = (t.contiguous(memory_format=torch.channels_last) for t in (q, k, x))
    with form(made_of), thresholds.for_smaller_maps(ratio):
        agree(
            lambda q, k, x: averaged(q, k, x, heads, window, "eager"),
            lambda q, k, x: averaged(q, k, x, heads, window, "fused"),
            (q, k, x),
        )


@made_of
@few
@given(
    st.tuples(*[st.integers(3, 6)] * 2),
    st.tuples(*[st.integers(1, 5)] * 2),
    st.sampled_from([1, 3]),
    st.sampled_from([1, 2]),
    ratios,
    seeds,
)
def test_dilated_attention(
    made_of: str, size: tuple[int, int], scales: tuple[int, int], kernel: int, heads: int, ratio: float, seed: int
) -> None:
    """Each side with a whole ratio of its own."""
    out = (size[0] * scales[0], size[1] * scales[1])
    q, k, x = draw(seed, (2, 4 * heads, *out), (2, 4 * heads, *size), (2, 3 * heads, *size))
    with form(made_of), thresholds.for_smaller_maps(ratio):
        agree(
            lambda q, k, x: ops.dilated_attention(q, k, x, kernel, heads, backend="eager"),
            lambda q, k, x: ops.dilated_attention(q, k, x, kernel, heads, backend="fused"),
            (q, k, x),
        )


@few
@given(st.integers(1, 40), st.integers(1, 20), windows, st.integers(1, 40))
def test_blocks_show_every_pixel_the_cells_of_its_window(outputs: int, cells: int, window: float, longest: int) -> None:
    """As the dense mask of the eager form does, which is made otherwise."""
    cut = cell_windows.blocks(outputs, cells, window, 0, longest)
    found = torch.zeros(len(cut.first) * cut.size, cells, dtype=torch.bool)
    for n, first in enumerate(cut.first.tolist()):
        seen = torch.ones(1, cut.size, cut.width, dtype=torch.bool) if cut.seen is None else cut.seen[n : n + 1]
        found[n * cut.size : (n + 1) * cut.size, first : first + cut.width] = seen[0]
    like = torch.empty(0)
    mask = window_mask(outputs, 1, cells, 1, window, like) if window else torch.ones(outputs, cells, dtype=torch.bool)
    assert torch.equal(found[:outputs], mask)


@made_of
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE], ids=str)
def test_many_cells_and_channels(made_of: str, dtype: torch.dtype) -> None:
    """More than a kernel takes at once, and remainders of all that it takes at once; more pixels than a tile has."""
    q, k, x = draw(5, (1, 24, 37, 70), (1, 24, 9, 11), (1, 75, 9, 11), dtype=dtype)
    with form(made_of):
        agree(
            lambda q, k, x: averaged(q, k, x, 3, 0.0, "eager"),
            lambda q, k, x: averaged(q, k, x, 3, 0.0, "fused"),
            (q, k, x),
            1e-4 if dtype == torch.float32 else 1e-9,
        )


@made_of
def test_what_is_not_a_number_stays_none(made_of: str) -> None:
    """At the output pixels that see it, and nowhere else."""
    q, k, x = draw(6, (1, 4, 12, 12), (1, 4, 6, 6), (1, 3, 6, 6))
    k[0, 0, 2, 3] = torch.nan
    q[0, 1, 0, 0] = torch.inf
    with form(made_of):
        found, expected = (averaged(q, k, x, 2, 0.2, backend) for backend in ("fused", "eager"))
    assert 0 < int(expected.isnan().sum()) < expected.numel()
    torch.testing.assert_close(found, expected, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    """The result is that of float32 on the same values, rounded once."""
    q, k, x = draw(0, (1, 8, 12, 10), (1, 8, 4, 5), (1, 6, 4, 5), dtype=dtype)
    exact = averaged(q.float(), k.float(), x.float(), 2, 0.2, "eager")
    found = averaged(q, k, x, 2, 0.2, "fused")
    assert found.dtype == dtype
    torch.testing.assert_close(found, exact.to(dtype), rtol=2 * torch.finfo(dtype).eps, atol=1e-6)
    leaves = [t.requires_grad_() for t in (q, k, x)]
    grads = torch.autograd.grad(averaged(*leaves, 2, 0.2, "fused").float().sum(), leaves)
    assert [g.dtype for g in grads] == [dtype] * 3


def test_autocast_lowers_what_it_lowers_in_the_eager_form() -> None:
    q, k, x = draw(1, (1, 8, 12, 10), (1, 8, 4, 5), (1, 6, 4, 5), dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = (averaged(q, k, x, 2, 0.2, backend) for backend in ("fused", "eager"))
    assert found.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected, rtol=5e-2, atol=5e-2)


@pytest.mark.parametrize(("heads", "groups", "window", "kernel"), [(2, 1, 0.2, 0), (2, 2, 0.0, 3), (4, 2, 0.0, 0)])
def test_gradients_against_differences(heads: int, groups: int, window: float, kernel: int) -> None:
    """And the gradients of gradients."""
    q, k, x = draw(2, (1, 4, 3, 6), (1, 4, 3, 3), (1, 4, 3, 3))
    leaves = [t.requires_grad_() for t in (q, k, x)]

    def call(q: Tensor, k: Tensor, x: Tensor) -> Tensor:
        return cell_attention.cell_attention_fused(q, k, x, heads, groups, window, kernel)

    assert torch.autograd.gradcheck(call, leaves)
    assert torch.autograd.gradgradcheck(call, leaves)


@pytest.mark.parametrize("name", ["cell_attention_fused", "cell_attention_slopes_fused"])
def test_torch_accepts_the_registration(name: str) -> None:
    q, k, x = draw(3, (2, 4, 6, 8), (2, 4, 3, 4), (2, 4, 3, 4), dtype=torch.float32)
    others = (2, 1, 0.2, 0)
    if name == "cell_attention_fused":
        arguments = (*(t.requires_grad_() for t in (q, k, x)), *others)
    else:
        arguments = (torch.ones(2, 4, 6, 8), q, k, x, *others)
    results = torch.library.opcheck(getattr(torch.ops.upbench, name).default, arguments)
    assert set(results.values()) == {"SUCCESS"}


def test_what_is_held_does_not_grow_with_the_output() -> None:
    """No tile has more weights than its budget, or than one row of a pixel's cells where these are more."""
    for size, cells, window, kernel in (
        ((64, 2048), (16, 128), 0.1, 0),
        ((300, 200), (30, 20), 0.0, 0),
        ((90, 900), (9, 90), 0.0, 9),
    ):
        most = 0
        for tile in cpu.tiles(size, cells, 4, window, kernel):
            n, m = tile.cell_columns.shape
            pixels = n * tile.width * (tile.rows.stop - tile.rows.start)
            most = max(most, 4 * pixels * (tile.cell_rows.stop - tile.cell_rows.start) * m)
        assert most <= 2 * cpu.ENTRIES


@pytest.mark.parametrize("dtype", [DOUBLE, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("ratio", [1.0, 3000.0])
def test_positions_of_rows_and_columns_are_those_of_pixels(dtype: torch.dtype, ratio: float) -> None:
    x, freqs = draw(7, (2, 12, 9, 14), (2, 12), dtype=dtype)
    position = plane(ends(9, 0.0, x), ends(14, 0.0, x))
    with torch.no_grad(), thresholds.for_smaller_maps(ratio):
        found, expected = (plane_rope(x, position, 9 * freqs, backend=backend) for backend in ("fused", "eager"))
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected)


def test_reasons() -> None:
    q, k, x = draw(4, (1, 4, 7, 8), (1, 4, 3, 4), (1, 4, 3, 4))
    with pytest.raises(BackendError, match="the output's sides are no multiples of the map's"):
        ops.dilated_attention(q, k, x, 3, 2, backend="fused")
    with ops.recorded() as ran:
        ops.dilated_attention(q, k, x, 3, 2, backend="auto")
    assert ran == {"dilated_attention": "eager"}
    with pytest.raises(BackendError, match="its inputs must have one dtype"):
        averaged(q.float(), k, x, 2, 0.0, "fused")


def test_a_window_larger_than_the_map_is_refused() -> None:
    q, k, x = torch.randn(1, 8, 8, 2), torch.randn(1, 8, 4, 1), torch.randn(1, 8, 4, 1)
    with pytest.raises(BackendError, match="window is larger than the map"):
        ops.dilated_attention(q, k, x, 3, 2, backend="fused")
