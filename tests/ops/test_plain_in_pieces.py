"""Eager forms that hold many copies of a map, computed some rows at a time: the same values and gradients in less memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from upbench import ops
from upbench.measure import memory
from upbench.ops import dispatch, thresholds

CPU = torch.device("cpu")


def _inputs(*sizes: tuple[int, ...], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(size, generator=generator, dtype=dtype).requires_grad_() for size in sizes]


def _attended(maps: list[Tensor]) -> tuple[Tensor, ...]:
    out = ops.dilated_attention(*maps, 3, 2, backend="eager")
    return (out.detach(), *torch.autograd.grad(out.cos().sum(), maps))


@pytest.mark.parametrize("ratio", [1.0, 3e4, 1e9])
@pytest.mark.parametrize("size", [(10, 14), (11, 15)])
def test_values_and_gradients_are_those_of_the_whole(size: tuple[int, int], ratio: float) -> None:
    """In one piece, in a few, and row by row; at a whole ratio, and at another one."""
    maps = _inputs((2, 8, *size), (2, 8, 5, 7), (2, 6, 5, 7))
    whole = _attended(maps)
    with ops.plain_in_pieces(), thresholds.for_smaller_maps(ratio):
        pieces = _attended(maps)
        with torch.no_grad():
            assert torch.equal(ops.dilated_attention(*maps, 3, 2, backend="eager"), pieces[0])
    for one, other in zip(pieces, whole, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_gradients_take_a_part_of_the_memory() -> None:
    maps = _inputs((1, 16, 60, 60), (1, 16, 15, 15), (1, 16, 15, 15), dtype=torch.float32)
    whole = memory.peak_bytes(lambda: _attended(maps), CPU)
    with ops.plain_in_pieces(), thresholds.for_smaller_maps(1000):
        assert memory.peak_bytes(lambda: _attended(maps), CPU) < whole / 4


def test_what_is_measured_or_exported_is_whole() -> None:
    assert not dispatch.in_pieces()
    with ops.plain_in_pieces():
        assert dispatch.in_pieces()
    assert not dispatch.in_pieces()
