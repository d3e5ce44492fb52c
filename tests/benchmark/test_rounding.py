"""A difference of two forms that rounding explains is no fault, and a fault of the same size is one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.slow.seeded_faults import Fault
from upbench.benchmark import check
from upbench.benchmark.checked import Check
from upbench.specs import run_spec

FAR = run_spec.load(
    {
        "upsampler": "ldaaqu",
        "input": {"shape": "32x50x50", "offsets": "max"},
        "measure": {"device": "cpu", "threads": 1},
    }
)
"""Offsets of eleven pixels: the last bit of a position moves a sample by more than the tolerance."""


def _forward() -> Check:
    (found,) = (one for one in check.check([FAR], None, cache=False).checks if one.name == "backend forward")
    return found


def test_where_both_forms_round_by_more_than_the_tolerance_float64_decides() -> None:
    found = _forward()
    assert found.passed, found.detail
    assert "in float64 the two forms agree" in found.detail
    assert not found.detail.startswith(("0;", "1e-05"))


def _in(dtype: torch.dtype, part: float) -> Callable[[Tensor], None]:
    """A spoiler of the last tile, by a part of the largest value, in one dtype alone."""

    def spoil(out: Tensor) -> None:
        if out.dtype == dtype:
            out[..., -8:, -8:] += part * out.abs().max()

    return spoil


@pytest.mark.parametrize(
    ("dtype", "part"),
    [(torch.float32, 1e-3), (torch.float32, 3e-3), (torch.float32, 1e-2), (torch.float64, 1e-9)],
    ids=str,
)
def test_a_fault_no_larger_than_rounding_is_not_put_down_to_it(dtype: torch.dtype, part: float) -> None:
    with Fault("the last tile is off", "offset_attend_fused", _in(dtype, part), "ldaaqu").put_in():
        found = _forward()
    assert not found.passed, found.detail
