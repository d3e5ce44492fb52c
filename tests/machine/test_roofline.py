"""The least time of a call: by hand, and against the bytes of real records."""

from __future__ import annotations

import pytest

from tests.machine.test_calibration import example
from upbench.benchmark import run
from upbench.machine import roofline
from upbench.specs import run_spec as spec

MACHINE = example(bandwidths=((2**20, 100e9), (2**30, 10e9)), macs_per_s={"float32": 1e12, "bfloat16": 4e12})


def test_the_slower_of_bytes_and_macs_sets_the_floor() -> None:
    assert roofline.roofline_s(10 * 2**30, 0, MACHINE, "float32") == pytest.approx(10 * 2**30 / 10e9)
    assert roofline.roofline_s(2**30, 10**12, MACHINE, "float32") == 1.0
    assert roofline.roofline_s(2**30, 10**12, MACHINE, "bfloat16") == 0.25


def test_what_fits_a_cache_is_held_to_the_cache() -> None:
    assert roofline.roofline_s(2**20, 0, MACHINE, "float32") == pytest.approx(2**20 / 100e9)


def test_a_dtype_without_a_ceiling_has_no_floor() -> None:
    least = roofline.roofline_s(2**30, 1, MACHINE, "float64")
    assert least is None
    assert roofline.efficiency(least, 1.0) is None
    assert roofline.efficiency(1.0, None) is None


def test_efficiency_is_floor_over_measured() -> None:
    assert roofline.efficiency(0.5, 2.0) == 0.25


@pytest.mark.parametrize("name", ["bilinear", "carafe", "fade"])
def test_compulsory_bytes_are_x_guide_weights_and_y(name: str) -> None:
    plan = spec.load({"upsampler": name, "input": {"shape": "32x6x5"}, "measure": {"budget": 0.01, "device": "cpu"}})
    record = run.run(plan)
    memory, card = record.memory, plan.card
    assert memory is not None
    x, y = 4 * 32 * 6 * 5, 4 * 32 * 12 * 10
    weights = 4 * card.count_params(plan.setting) if card.count_params else 0
    moved = roofline.compulsory_bytes(memory.input_bytes, memory.weight_bytes, memory.output_bytes)
    assert moved == x + (y if card.guided else 0) + weights + y
