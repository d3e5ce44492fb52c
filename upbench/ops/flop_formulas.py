"""What torch's own counter (torch.utils.flop_counter) is told of the fused ops: twice the products that they declare.

Without it a counter that ran around a model saw nothing of them, and said nothing. The plain ops need none: a counter
sees the operators that they are made of. Of a fused op it is told what it counts of other code, convolutions and products
of features; norms, softmax and other arithmetic by value are nothing to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry, register_flop_formula

from upbench.ops.registration import Charges, Op

_PRODUCTS = ("aten::_convolution", "aten::linear", "aten::matmul")
"""torch's own operators among those that a fused op stands for, of which torch's counter counts the products."""


def register_formulas(ops: Mapping[str, Op], kernels: Mapping[str, Charges]) -> None:
    """Tell torch's counter the cost of every op that is no composition of torch's own operators.

    Args:
        ops: The registered ops by their full name.
        kernels: The ops below them, which only they call, by their full name, with what gives the MACs of the plain ops
            that each stands for.
    """
    charges = {name: op.charge for name, op in ops.items()} | dict(kernels)
    for name, charge in charges.items():
        packet = getattr(torch.ops.upbench, name.removeprefix("upbench::"))
        overload = packet.default
        if not overload.has_kernel_for_dispatch_key(torch.DispatchKey.CompositeImplicitAutograd) and (
            packet not in flop_registry
        ):
            register_flop_formula(packet, get_raw=True)(_formula(charge, ops))


def _formula(charge: Charges, ops: Mapping[str, Op]) -> Callable[..., int]:
    def flops(*args: Any, out_val: Any = None, **kwargs: Any) -> int:
        given = (*args, *kwargs.values())
        shapes = [list(v.shape) for v in (*given, out_val) if isinstance(v, Tensor)]
        charged = charge(shapes, [v for v in given if not isinstance(v, Tensor)])
        return 2 * sum(macs for plain, macs in charged.items() if _is_product(plain, ops))

    return flops


def _is_product(plain: str, ops: Mapping[str, Op]) -> bool:
    return ops[plain].kind in ("conv", "gather") if plain in ops else plain in _PRODUCTS
