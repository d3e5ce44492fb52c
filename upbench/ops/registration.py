"""Registers every op with torch under `upbench::`, together with its multiply-accumulates.

In a trace that upbench takes itself (inside `whole_ops`) a registered op is one node, so that a counter charges its
declared MACs and cannot miss it, whatever the op is made of. Its implementation is composite: autograd and
torch.compile see through it. Whoever else traces or exports gets torch's own operators, and so a program that runs
where upbench is not installed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch

LIBRARY = torch.library.Library("upbench", "FRAGMENT")
"""The namespace `torch.ops.upbench`."""
Charges = Callable[[Sequence[Sequence[int]], Sequence[Any]], dict[str, int]]
"""Gives the MACs of each plain op that a call stands for, from the shapes of its tensors and its other arguments."""
Shares = Mapping[str, int] | Charges
"""How the MACs of an op are shared among others, see `Op`."""


@dataclass(frozen=True)
class Op:
    """A registered op and what it costs.

    Args:
        name: its full name, "upbench::...".
        kind: the class of its MACs, "conv", "gather" or "elementwise".
        macs: gives its MACs from the shapes of its tensor arguments and (last) its output, and from its other arguments
            (None where the value is not known).
        shares: of a fused op, the plain ops that it stands for and how its MACs are shared among them, or a function like
            `macs` that gives the MACs of each by its full name; so that counts are the same whatever backend runs.
    """

    name: str
    kind: str
    macs: Callable[[Sequence[Sequence[int]], Sequence[Any]], int]
    shares: Shares | None = None

    def charge(self, shapes: Sequence[Sequence[int]], args: Sequence[Any]) -> dict[str, int]:
        """Count the MACs of one call, under the op's own name or under those of the plain ops that it stands for."""
        if callable(self.shares):
            return self.shares(shapes, args)
        total = self.macs(shapes, args)
        if self.shares is None:
            return {self.name: total}
        # A sum over points without weights only samples.
        shares = {name: n for name, n in self.shares.items() if name != WEIGHING or len(shapes) == 4}
        return {f"upbench::{name}": total * n // sum(shares.values()) for name, n in shares.items()}


WEIGHING = "point_assemble"
"""The plain op that a sum over points without weights does not do."""
OPS: dict[str, Op] = {}
"""Every registered op by its full name."""


def declare(name: str, kind: str, charge: Charges) -> None:
    """Declare what a fused op costs: the MACs of the plain ops that it stands for.

    Args:
        name: its name, without "upbench::".
        kind: see `Op`.
        charge: gives the MACs of each plain op by its full name, see `Op.shares`.
    """
    full = f"upbench::{name}"
    OPS[full] = Op(full, kind, lambda shapes, args: sum(charge(shapes, args).values()), charge)


def register(
    signature: str,
    kind: str,
    macs: Callable[[Sequence[Sequence[int]], Sequence[Any]], int],
    shares: Shares | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function as the plain implementation of `upbench::<signature>`.

    Args:
        signature: name, arguments and result in torch's schema language.
        kind: see `Op`.
        macs: see `Op`.
        shares: see `Op`.

    Returns:
        A decorator; what it returns calls the op through torch, or where `exporting` the function itself.
    """
    name = signature.split("(")[0]

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        LIBRARY.define(signature)
        LIBRARY.impl(name, function, "CompositeImplicitAutograd")
        OPS[f"upbench::{name}"] = Op(f"upbench::{name}", kind, macs, shares)
        handle = getattr(torch.ops.upbench, name).default

        @wraps(function)
        def call(*args: Any) -> Any:
            return _forms.get(name, function)(*args) if exporting() else handle(*args)

        return call

    return wrap


_whole = 0
_forms: Mapping[str, Callable[..., Any]] = {}


@contextmanager
def replaced_forms(forms: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    """Let programs that are exported inside hold other forms of ops.

    Args:
        forms: name of an op -> a function that takes its arguments and returns what it returns.
    """
    global _forms
    before, _forms = _forms, forms
    try:
        yield
    finally:
        _forms = before


@contextmanager
def whole_ops() -> Iterator[None]:
    """Let traces keep every op as one node, and take the backend that runs outside of a trace as well."""
    global _whole
    _whole += 1
    try:
        yield
    finally:
        _whole -= 1


def exporting() -> bool:
    """Say whether a program is being saved that may run without upbench: by torch.export, torch.onnx or torch.jit.trace.

    torch.compile is no export, nor is a trace inside `whole_ops`.
    """
    return torch.compiler.is_exporting() or (tracing() and not _whole)


def tracing() -> bool:
    """Say whether torch.jit.trace or a counter of its kind is at work, to which comparisons of sizes are constants."""
    return torch.jit.is_tracing()  # type: ignore[attr-defined] # torch documents it, and forgot to export it


def numel(shape: Sequence[int]) -> int:
    """Count the values of a tensor of a shape."""
    return math.prod(shape)


def coordinate_dtype(dtype: torch.dtype) -> torch.dtype:
    """Give the dtype of sampling positions for features of `dtype`: float32, or float64 for float64.

    Half precision cannot name the pixels of a wide map: bfloat16 has 8 bits, so beyond 256 it skips pixels.
    """
    return torch.promote_types(dtype, torch.float32)
