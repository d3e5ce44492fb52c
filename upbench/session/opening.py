"""Opens sessions: in a worker wherever that can import what is to be measured."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from upbench import registry
from upbench.errors import SpecError
from upbench.session.calls import Session
from upbench.session.local import Local
from upbench.specs.run_spec import RunSpec
from upbench.sweeping.worker import IN_PROCESS


@contextmanager
def opened(specs: Sequence[RunSpec], modules: Sequence[str] = ()) -> Iterator[Session]:
    """Open a session for some specs, and end its process afterwards.

    Args:
        specs: All specs that will be checked or measured; one process has one allocator.
        modules: Names of further modules that they need.

    Raises:
        SpecError: If the specs ask for different allocators.
        WorkerError: If no process can be started.
    """
    if in_model := [spec.label for spec in specs if spec.model is not None]:
        raise SpecError(
            [
                f"{in_model[0]}: has a model, which `upbench sweep` measures, and `upbench compare UPSAMPLER --model NAME`; "
                "leave it out"
            ]
        )
    asked = {spec.measure.allocator for spec in specs}
    if len(asked) > 1:
        raise SpecError(["a process has one allocator, so give --allocator for all, or compare them in a sweep"])
    if not works_elsewhere([spec.upsampler for spec in specs]) or any(map(_only_here, modules)):
        yield Local()
        return
    from upbench.session.remote import Remote

    with Remote(specs[0].measure.allocator) as session:
        yield session


def works_elsewhere(upsamplers: Sequence[str]) -> bool:
    """Return whether a process of its own can run some upsamplers: it must be able to import their modules.

    Args:
        upsamplers: Their names.
    """
    if os.environ.get(IN_PROCESS) or sys.platform == "win32":
        return False
    return not any(_only_here(name) for upsampler in upsamplers for name in _modules(upsampler))


def _modules(upsampler: str) -> list[str]:
    """Return the modules that an upsampler's class is imported from; none for a built-in one."""
    if upsampler in registry.plugins():
        return [registry.plugins()[upsampler].module]
    return [upsampler.partition(":")[0]] if ":" in upsampler else []


def _only_here(module: str) -> bool:
    """Return whether a module is in this process alone: the program itself, a notebook, or one that was made, not imported."""
    known = sys.modules.get(module)
    return module == "__main__" or (known is not None and getattr(known, "__spec__", None) is None)
