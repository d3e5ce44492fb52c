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
Shares = Mapping[str, int] | Callable[[Sequence[Sequence[int]], Sequence[Any]], dict[str, int]]


@dataclass(frozen=True)
class Op:
    """A registered op. kind: the class of its MACs, "conv", "gather" or "elementwise".

    macs(shapes, args): MACs from the shapes of its tensor arguments and output (last), and its other arguments
    (None where the value is not known). shares: of a fused op, the plain ops that it stands for and how its MACs are
    shared among them, or a function like `macs` that gives the MACs of each by its full name; so that counts are the
    same whatever backend runs.
    """

    name: str
    kind: str
    macs: Callable[[Sequence[Sequence[int]], Sequence[Any]], int]
    shares: Shares | None = None

    def charge(self, shapes: Sequence[Sequence[int]], args: Sequence[Any]) -> dict[str, int]:
        """The MACs, under the op's own name or under those of the plain ops that it stands for."""
        if callable(self.shares):
            return self.shares(shapes, args)
        total = self.macs(shapes, args)
        if self.shares is None:
            return {self.name: total}
        # A sum over points without weights only samples.
        shares = {name: n for name, n in self.shares.items() if name != WEIGHING or len(shapes) == 4}
        return {f"upbench::{name}": total * n // sum(shares.values()) for name, n in shares.items()}


WEIGHING = "point_assemble"
OPS: dict[str, Op] = {}


def register(
    signature: str,
    kind: str,
    macs: Callable[[Sequence[Sequence[int]], Sequence[Any]], int],
    shares: Shares | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: define `upbench::<signature>` with the decorated function as its plain implementation.

    Returns what calls the op: through torch, or where `exporting` the function itself.
    """
    name = signature.split("(")[0]

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        LIBRARY.define(signature)
        LIBRARY.impl(name, function, "CompositeImplicitAutograd")
        OPS[f"upbench::{name}"] = Op(f"upbench::{name}", kind, macs, shares)
        handle = getattr(torch.ops.upbench, name).default

        @wraps(function)
        def call(*args: Any) -> Any:
            return function(*args) if exporting() else handle(*args)

        return call

    return wrap


_whole = 0


@contextmanager
def whole_ops() -> Iterator[None]:
    """Traces taken inside keep every op as one node, and take the backend that runs outside of a trace as well."""
    global _whole
    _whole += 1
    try:
        yield
    finally:
        _whole -= 1


def exporting() -> bool:
    """Whether a program is being written down that may run without upbench: torch.export, torch.onnx, torch.jit.trace.

    torch.compile is no export, nor is a trace inside `whole_ops`.
    """
    return torch.compiler.is_exporting() or (tracing() and not _whole)


def tracing() -> bool:
    """Whether torch.jit.trace or a counter of its kind is at work: every comparison of sizes is then written down."""
    return torch.jit.is_tracing()  # type: ignore[attr-defined] # torch documents it, and forgot to export it


def numel(shape: Sequence[int]) -> int:
    return math.prod(shape)


def coordinate_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of sampling positions for features of `dtype`: float32, or float64 for float64.

    Half precision cannot name the pixels of a wide map: bfloat16 has 8 bits, so beyond 256 it skips pixels.
    """
    return torch.promote_types(dtype, torch.float32)
