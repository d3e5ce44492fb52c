"""The MACs of one call that records and tables state: from a trace, or from the operators that ran where it misses some."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor, nn

from upbench.measure import dispatched, macs


def count(
    module: nn.Module, inputs: tuple[Tensor, ...], again: Callable[[], tuple[Tensor, ...]] | None = None
) -> macs.Macs:
    """Count one call of a module.

    The module is traced, which runs it once; where it cannot be traced, or the trace holds operators of which nothing
    is known, it is run once more and counted operator by operator. What is known to neither is listed in `missing`:
    then the number is too small. `uncounted` also lists Python functions that a trace does not see into, even where no
    arithmetic ran in them.

    Args:
        module: The module.
        inputs: The tensors of the call.
        again: Called before a second run, whose inputs it returns, so that what the first changed and drew does not
            matter.

    Raises:
        Exception: Whatever the module raises.
    """
    try:
        traced = macs.count(module, inputs)
    except Exception:  # noqa: BLE001 - torch.jit refuses with errors of many kinds; an error of the module comes again
        return _missing(dispatched.count(module, again() if again else inputs))
    if not traced.uncounted:
        return traced
    ran = dispatched.count(module, again() if again else inputs)
    if ran.uncounted or ran.by_kind != traced.by_kind:
        return _missing(ran)
    opaque = {name: n for name, n in traced.uncounted.items() if name.startswith("prim::PythonOp")}
    return replace(traced, uncounted=opaque)


def _missing(counted: macs.Macs) -> macs.Macs:
    return replace(counted, missing=counted.uncounted)
