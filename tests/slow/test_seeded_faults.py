"""Faults that are put into the fused forms: each is caught by the whole check, and by the quick one."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.slow.seeded_faults import FAULTS, Fault
from upbench.benchmark import check, gradient_check
from upbench.benchmark.check import _apart, _case, _with
from upbench.specs import run_spec as spec

pytestmark = pytest.mark.slow


def _quick(run: spec.RunSpec) -> list[str]:
    """What the quick check finds: forward at full size, gradients on small maps, directions at full size."""
    found = []
    forward_limit, backward_limit = check.TOLERANCES[run.input.dtype]
    fused, plain = _case(run), _case(_with(run, backend="eager"))
    if check._distance(fused.forward(), plain.forward()) > forward_limit:
        found.append("forward")
    worst, where = gradient_check.worst_on_small_maps(_with(run, dtype="float64"), _apart)
    if worst > backward_limit / 100:
        found.append(f"small map: {where}")
    names, gradients = zip(*check._backward(fused), strict=True)
    count = sum(name in check.INPUTS for name in names)
    for _, one in gradient_check.directions(fused.plain, fused.inputs, fused.output_gradient, gradients[:count]):
        if not one.agrees:
            found.append(f"direction: {one.name}")
    return found


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_caught(fault: Fault) -> None:
    run = spec.load(fault.spec())
    with fault.put_in():
        quick = _quick(run)
        whole = [one.name for one in check.check([run], None).checks if not one.passed]
    print(f"\n{fault.name}: quick {quick}, whole {whole}")
    assert whole
    assert quick


@pytest.mark.parametrize("name", sorted(Counter(fault.upsampler for fault in FAULTS)))
def test_without_a_fault_nothing_is_found(name: str) -> None:
    for fault in FAULTS:
        if fault.upsampler == name:
            assert _quick(spec.load(fault.spec())) == []
