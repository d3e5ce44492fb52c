"""The output of a call: a digest of its bytes, statistics that explain another digest, and how many operators ran."""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from upbench.records.record import Output
from upbench.user_code import isolation

SEEDS = 16
"""Seeds with which a module that draws is called: a branch that is dropped one time in ten shows in four of five."""
SAMPLE = 4096
"""Values of each activation that are looked at for denormals, at most twice as many."""
_WITH_DENORMALS = (torch.float32, torch.float64)
DRAWS_S = 2.0
"""Seconds after which no further seed is tried."""


def maps(out: Any) -> tuple[Tensor, ...]:
    """Return what a module returned, one map or several, as a tuple."""
    return (out,) if isinstance(out, Tensor) else tuple(out)


def size_bytes(out: Any) -> int:
    """Return the bytes of all maps that a module returned."""
    return sum(each.numel() * each.element_size() for each in maps(out))


def joined(out: Any) -> Tensor:
    """Return what a module returned as one tensor: its only map, or the values of all in their order."""
    found = maps(out)
    return found[0] if len(found) == 1 else torch.cat([each.flatten() for each in found])


def describe(out: Any) -> Output:
    """Return the SHA-256 of the values in row-major order whatever their strides, and their statistics in float64.

    Statistics are None where a value is not finite, since JSON has no name for it, for complex values, which have
    no order, and where there are no values, as of a detector that finds nothing.

    Args:
        out: The output, of any shape; of several maps, the values of all in their order.
    """
    with torch.no_grad():
        out = joined(out)
        values = out.detach().resolve_conj().resolve_neg().contiguous().cpu()
        digest = hashlib.sha256(values.view(torch.uint8).numpy().data).hexdigest()
        if out.is_complex() or not values.numel() or not_finite(values):
            return Output(digest=digest, mean=None, std=None, lowest=None, highest=None)
        std, mean = torch.std_mean(values.double(), correction=0)
        low, high = torch.aminmax(comparable(values))
    return Output(digest=digest, mean=mean.item(), std=std.item(), lowest=float(low), highest=float(high))


def comparable(out: Tensor) -> Tensor:
    """Return the values in a dtype that torch can compare and subtract.

    Eight-bit floats, bool and integers become float64; complex values gain a last dimension of 2.

    Args:
        out: Any tensor.
    """
    if out.is_complex():
        return torch.view_as_real(out.resolve_conj())
    return out if out.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64) else out.double()


def not_finite(out: Tensor) -> int:
    """Return how many values are infinite or NaN."""
    with torch.no_grad():
        values = comparable(out.detach())
        # A sum is finite only where every value is; of large values it may overflow, and then each is looked at.
        total = values.sum(dtype=torch.promote_types(values.dtype, torch.float32))
        return 0 if torch.isfinite(total) else int((~torch.isfinite(values)).sum())


def are_close(a: Output, b: Output) -> bool:
    """Return whether two outputs have the same statistics but for rounding; False where one has none."""
    pairs = zip((a.mean, a.std, a.lowest, a.highest), (b.mean, b.std, b.lowest, b.highest), strict=True)
    scale = max(abs(b.lowest or 0.0), abs(b.highest or 0.0))
    return all(x is not None and y is not None and math.isclose(x, y, abs_tol=1e-3 * scale) for x, y in pairs)


def dtype_name(out: Tensor) -> str:
    """Return the name of the dtype, as 'float32'."""
    return str(out.dtype).removeprefix("torch.")


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls = self.looked_at = self.denormal = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            for made in tree_leaves(out):
                if isinstance(made, Tensor) and made.device.type == "cpu" and made.dtype in _WITH_DENORMALS:
                    self._look(made)
        return out

    def _look(self, made: Tensor) -> None:
        """Count denormals in a sample that is the same for the same tensor."""
        sample = made[:1].reshape(-1) if made.dim() else made.reshape(-1)
        sample = sample[:: max(1, sample.numel() // SAMPLE)]
        tiny = torch.finfo(made.dtype).tiny
        self.looked_at += sample.numel()
        self.denormal += int(((sample.abs() < tiny) & (sample != 0)).sum())


class _Shapes(TorchDispatchMode):
    """How often each operator ran, by its name and the shapes that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.ran: Counter[tuple[str, tuple[torch.Size, ...]]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = tuple(value.shape for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor))
        self.ran[str(func), given] += 1
        return func(*args, **(kwargs or {}))


def draws_of(module: nn.Module, seeded: Callable[[int], tuple[Tensor, ...]]) -> tuple[int, int] | None:
    """Return whether random draws decide which operators run: how many ran with seed 0 and with the first that differs.

    A module that draws nothing is called once.

    Args:
        module: called without autograd.
        seeded: seeds every generator with the n-th seed, and returns the inputs of a call.

    Returns:
        The numbers of operators of two seeds that differ in operators or their shapes; None where all are alike.
    """
    first: Counter[tuple[str, tuple[torch.Size, ...]]] = Counter()
    end = time.monotonic() + DRAWS_S
    for n in range(SEEDS):
        inputs = seeded(n)
        before = isolation.generator_states()
        with torch.no_grad(), _Shapes() as shapes:
            module(*inputs)
        if n == 0:
            first = shapes.ran
            if isolation.generator_states() == before:
                return None
        elif shapes.ran != first:
            return first.total(), shapes.ran.total()
        elif time.monotonic() > end:
            break
    return None


@dataclass(frozen=True)
class Ran:
    """What one forward was made of.

    Args:
        operators: How many operators torch dispatched, views included.
        denormal: The part of the activations, of a sample of each, that are denormal numbers; 0 on a GPU.
    """

    operators: int
    denormal: float


def ran(module: nn.Module, inputs: tuple[Tensor, ...]) -> Ran:
    """Return what one forward without autograd is made of.

    Args:
        module: The module.
        inputs: The tensors of the call.
    """
    with torch.no_grad(), _Counter() as counter:
        module(*inputs)
    return Ran(counter.calls, counter.denormal / counter.looked_at if counter.looked_at else 0.0)
