"""Faults that are put into the fused forms: the check catches each, and finds nothing where there is none."""

from __future__ import annotations

import pytest

from tests.slow.seeded_faults import FAULTS, OTHER_WAYS, Fault
from upbench.benchmark import check
from upbench.specs import run_spec as spec

pytestmark = pytest.mark.slow


def _failed(run: spec.RunSpec) -> list[str]:
    return [f"{one.name}: {one.detail}" for one in check.check([run], None, cache=False).checks if not one.passed]


@pytest.mark.parametrize("fault", [*FAULTS, *OTHER_WAYS], ids=str)
def test_a_fault_is_caught(fault: Fault) -> None:
    with fault.put_in():
        failed = _failed(spec.load(fault.spec()))
    print(f"\n{fault}: {failed}")
    assert failed


@pytest.mark.parametrize("fault", {str(fault.spec()): fault for fault in [*FAULTS, *OTHER_WAYS]}.values(), ids=str)
def test_without_a_fault_nothing_is_found(fault: Fault) -> None:
    assert _failed(spec.load(fault.spec())) == []
