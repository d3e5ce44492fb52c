"""What came out of a call: a digest of its bytes, statistics that explain another digest, and how many operators ran."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from upbench.record import Output


def describe(out: Tensor) -> Output:
    """SHA-256 of the values in row-major order whatever their strides, and statistics in float64.

    Statistics are None where a value is not finite, since JSON has no name for it.
    """
    with torch.no_grad():
        values = out.detach().contiguous().cpu()
        digest = hashlib.sha256(values.view(torch.uint8).numpy().tobytes()).hexdigest()
        if not bool(torch.isfinite(values).all()):
            return Output(digest=digest, mean=None, std=None, lowest=None, highest=None)
        std, mean = torch.std_mean(values.double(), correction=0)
        low, high = torch.aminmax(values)
    return Output(digest=digest, mean=mean.item(), std=std.item(), lowest=low.item(), highest=high.item())


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        return func(*args, **(kwargs or {}))


def op_count(module: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    """Operators that torch dispatches in one forward without autograd, views included."""
    with torch.no_grad(), _Counter() as counter:
        module(*inputs)
    return counter.calls
