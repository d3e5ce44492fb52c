"""Gradients of maps that are summed cell after cell (`csrc/sorted.h`), against those made of torch's operators."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ops.test_native import built, without_c
from upbench.machine import environment
from upbench.ops.cpu import points as cpu_points


@built
@settings(max_examples=30, deadline=None)
@given(
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.tuples(st.integers(20, 40), st.integers(20, 40)),
    st.sampled_from([(1, 1), (2, 1), (1, 2)]),
    st.sampled_from([64, 80, 96, 128, 160]),
    st.sampled_from([0.2, 1.0, 9.0]),
    st.sampled_from(["zeros", "border"]),
    st.booleans(),
    st.sampled_from([torch.float32, torch.float64]),
    st.integers(0, 2**16),
)
def test_points_that_are_sorted_by_their_cells_sum_to_the_same(
    size: tuple[int, int],
    out_size: tuple[int, int],
    parts: tuple[int, int],
    values: int,
    reach: float,
    padding: str,
    weighs: bool,
    dtype: torch.dtype,
    seed: int,
) -> None:
    """Many points in each cell: tiles that are joined and those that remain, cells without points, points far outside.

    Thousands of numbers may go into one pixel, so what rounding may do is measured by the sum of their sizes.
    """
    torch.manual_seed(seed)
    groups, heads = parts if weighs else (parts[0], 1)
    source = torch.randn(1, math.lcm(groups, heads) * values, *out_size, dtype=dtype)
    weight = torch.randn(1, heads, 9, *out_size, dtype=dtype) if weighs else None
    points = (torch.rand(1, groups, 9, *out_size, 2, dtype=dtype) - 0.5) * reach * max(size) + max(size) / 2
    points[..., 0, 0] = points[..., 0, 0].round()
    found = []
    for threads in (1, 2):
        with environment.with_threads(threads):
            found.append(cpu_points.deform_scatter(source, weight, points, padding, *size))
    assert torch.equal(*found)
    wide = None if weight is None else weight.double()
    sizes = None if wide is None else wide.abs()
    with without_c():
        expected = cpu_points.deform_scatter(source.double(), wide, points.double(), padding, *size)
        summed = cpu_points.deform_scatter(source.double().abs(), sizes, points.double(), padding, *size)
    tolerance = 1e-12 if dtype == torch.float64 else 3e-6
    assert ((found[0] - expected).abs() <= tolerance * summed.clamp_min(1.0)).all()
