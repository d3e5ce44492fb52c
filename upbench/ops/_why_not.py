"""What stands in the way of a fused op: one sentence, or nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from upbench.errors import InputError
from upbench.ops.dispatch import choose

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
AUTOCAST = ("cpu", "cuda", "mps", "xpu")
"""Devices that have an autocast."""


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def why_not(op: str, *tensors: Tensor) -> str | None:
    """Why the fused form of `op` cannot run on these maps and weights, or None where it can.

    op: the plain op's name; tensors: whatever it takes but positions, which are always float32 or float64.
    """
    first = tensors[0]
    if first.dtype not in DTYPES:
        allowed = ", ".join(_name(dtype) for dtype in DTYPES)
        return f"it computes in {allowed}, not in {_name(first.dtype)}"
    for other in tensors[1:]:
        if other.dtype != first.dtype:
            return f"its inputs must have one dtype, but are {_name(first.dtype)} and {_name(other.dtype)}"
        if other.device != first.device:
            return f"its inputs must be on one device, but are on {first.device} and {other.device}"
    if first.device.type == "cpu":
        return None
    if first.device.type != "cuda":
        return f"there are no fused kernels for {first.device.type}, only for cpu and cuda"
    try:
        from upbench.ops.triton import register  # only where a GPU asks: Triton takes seconds to import
    except ImportError as error:
        return f"its kernels for cuda need Triton, which cannot be imported ({error})"
    return register.why_not(op, first)


def same_dtype(op: str, first: str, left: Tensor, second: str, right: Tensor) -> None:
    """Raise InputError unless two operands have one dtype; first, second: what to call them."""
    if left.dtype != right.dtype:
        raise InputError(
            f"{op} compares {first} with {second}, which must have one dtype, but are {_name(left.dtype)} and "
            f"{_name(right.dtype)}; convert one of them, or use torch.autocast"
        )


def resolve(op: str, backend: str, *tensors: Tensor) -> str:
    """Either "eager" or "fused": `choose` with the reason that these tensors give."""
    return choose(op, backend, why_not(op, *tensors) if backend != "eager" else None)


def autocasts(x: Tensor) -> bool:
    """Whether torch.autocast is on for the device of x. torch 2.11 cannot trace its own question."""
    device = x.device.type
    return device in AUTOCAST and torch.is_autocast_enabled(device)


def autocasted(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in the dtype that torch.autocast gives to matrix products here; as they are where it is off.

    The plain ops are made of such products; a fused op is not known to autocast.
    """
    if autocasts(tensors[0]):
        lowered = torch.get_autocast_dtype(tensors[0].device.type)
        return tuple(t if t.dtype == torch.float64 else t.to(lowered) for t in tensors)
    return tensors
