"""Cases that checks have built and called, kept until they are measured: no upsampler is built and called twice for that."""

from __future__ import annotations

import torch

from upbench import cards
from upbench.benchmark.case import Case
from upbench.specs.run_spec import RunSpec

_ready: list[Case] = []


def put(case: Case) -> None:
    """Keep a case, unless it is of a user's module, which is built anew: what checks did to it must not be measured.

    Args:
        case: The case, in the form in which it is measured.
    """
    if case.spec.upsampler in cards.builtin():
        _ready.append(case)


def find(spec: RunSpec, device: torch.device) -> Case | None:
    """Return a case that is kept, and keep it; None where there is none.

    Args:
        spec: Its spec.
        device: Its device.
    """
    return next((case for case in _ready if case.spec == spec and case.device == device), None)


def take(spec: RunSpec, device: torch.device) -> Case | None:
    """Return a case that is kept, and keep it no longer; None where there is none.

    Args:
        spec: Its spec.
        device: Its device.
    """
    case = find(spec, device)
    if case is not None:
        _ready[:] = [one for one in _ready if one is not case]
    return case


def clear() -> None:
    """Keep no case any longer."""
    _ready.clear()
