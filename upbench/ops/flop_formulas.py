"""What torch's own counter (torch.utils.flop_counter) is told of the fused ops: twice the MACs that they declare.

Without it a counter that ran around a model saw nothing of them, and said nothing. The plain ops need none: a counter
sees the operators that they are made of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry, register_flop_formula

from upbench.ops.registration import Op


def register_formulas(ops: Mapping[str, Op]) -> None:
    """Tell torch's counter the cost of every op that is no composition of torch's own operators.

    Args:
        ops: The registered ops by their full name.
    """
    for name, op in ops.items():
        packet = getattr(torch.ops.upbench, name.removeprefix("upbench::"))
        overload = packet.default
        if not overload.has_kernel_for_dispatch_key(torch.DispatchKey.CompositeImplicitAutograd) and (
            packet not in flop_registry
        ):
            register_flop_formula(packet, get_raw=True)(_formula(op))


def _formula(op: Op) -> Callable[..., int]:
    def flops(*args: Any, out_val: Any = None, **kwargs: Any) -> int:
        given = (*args, *kwargs.values())
        shapes = [list(v.shape) for v in (*given, out_val) if isinstance(v, Tensor)]
        return 2 * sum(op.charge(shapes, [v for v in given if not isinstance(v, Tensor)]).values())

    return flops
