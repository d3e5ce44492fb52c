"""Which implementation of an op runs: its own eager form, or that of a backend.

Every op that a backend may compute goes through `compute`, once per call. "auto" takes the first backend that can compute
it, and the eager form where none can; a backend that is named refuses with the reason. What ran is written down for
whoever records it. A program that is exported or traced holds the eager forms whatever the backend, because it must run
where upbench is not installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from upbench import backends
from upbench.errors import BackendError, InputError
from upbench.ops.registration import exporting

AUTOCAST = ("cpu", "cuda", "mps", "xpu")
"""Devices that have an autocast."""


def _never(op: str, *args: Any) -> None:
    return None


@dataclass(frozen=True)
class Backend:
    """A way to compute ops, faster than their eager forms.

    Args:
        ops: op -> its implementation, which takes the arguments of the op, without `backend`.
        unsupported_reason: why it cannot compute an op on these arguments, as a sentence, or None where it can. Takes
            the op's name and its arguments; is never asked about an op that is not in `ops`.
        slower: where it was measured to be slower than the eager form on arguments that it can compute, as half a
            sentence; else None. Takes the same; the automatic choice asks, and who names the backend gets it.
    """

    ops: Mapping[str, Callable[..., Any]]
    unsupported_reason: Callable[..., str | None]
    slower: Callable[..., str | None] = _never


_loaded: dict[str, Backend] = {}
_records: list[dict[str, str]] = []
_reasons: list[dict[str, str]] = []
_pieces = 0


def load(name: str) -> Backend:
    """Give a backend by its name in `upbench.backends.MODULES`; import it at its first use."""
    if name not in _loaded:
        _loaded[name] = import_module(backends.MODULES[name]).BACKEND
    return _loaded[name]


def compute(op: str, backend: str, eager: Callable[..., Any], *args: Any, optional: bool = False) -> Any:
    """Compute one call of an op.

    Args:
        op: the name by which backends know it.
        backend: "auto", "eager" or the name of a backend.
        eager: the op's own form.
        args: the arguments of the op, for whichever form runs.
        optional: for a step or a whole method made of ops that are asked themselves: where a named backend cannot
            compute it the eager form runs, and it is left to those to refuse. What ran is not written down.

    Returns:
        What the form that runs returns.

    Raises:
        BackendError: for a backend that cannot compute the op, with its reason, and for an unknown one.
    """
    name, why = _selected(op, backend, args, optional)
    if not optional:
        record(op, name, why)
    return eager(*args) if name == "eager" else load(name).ops[op](*args)


def select_backend(op: str, backend: str, *args: Any, optional: bool = False) -> str:
    """Choose the backend that computes one call of an op.

    Args:
        op: the name by which backends know it.
        backend: "auto", "eager" or the name of a backend.
        args: the arguments of the op.
        optional: as in `compute`.

    Returns:
        The name of the backend, "eager" for the op's own form.

    Raises:
        BackendError: for a backend that cannot compute the op, with its reason, and for an unknown one.
    """
    return _selected(op, backend, args, optional)[0]


def _selected(op: str, backend: str, args: tuple[Any, ...], optional: bool) -> tuple[str, str | None]:
    """What `select_backend` returns, and why it is the eager form although a backend can compute the op."""
    if backend not in ("auto", "eager") and backend not in backends.MODULES:
        known = ", ".join(backends.names())
        raise BackendError(f"backend {backend!r} was asked for, but must be one of {known}")
    if backend == "eager" or exporting() or (optional and _hooked(args)):
        return "eager", None
    why = None
    for name in backends.MODULES if backend == "auto" else (backend,):
        candidate = load(name)
        if op not in candidate.ops:
            continue
        reason = candidate.unsupported_reason(op, *args)
        slower = candidate.slower(op, *args) if backend == "auto" and reason is None else None
        if reason is None and slower is None:
            return name, None
        why = why or slower
        if name == backend and not optional:
            raise BackendError(f"backend {name} was asked for, but {op} cannot run {name}: {reason}; use auto or eager")
    return "eager", why


def _hooked(args: tuple[Any, ...]) -> bool:
    """Whether a layer among the arguments has hooks, as counters and extractors of features give it: it must be called."""
    if torch.compiler.is_compiling():
        return False
    layers = (layer for arg in args if isinstance(arg, nn.Module) for layer in arg.modules())
    return any(layer._forward_hooks or layer._forward_pre_hooks for layer in layers)


def record(op: str, name: str, why: str | None = None) -> None:
    """Write down which backend computed an op, for every `recorded` that is open.

    Args:
        op: the op.
        name: the backend, or "eager".
        why: why it is not a backend that can compute it.
    """
    for ran in _records:
        ran[op] = name
    if why is not None:
        for reasons in _reasons:
            reasons[op] = why


@contextmanager
def recorded(reasons: dict[str, str] | None = None) -> Iterator[dict[str, str]]:
    """Collect op -> backend for every op with a choice that is called inside.

    Args:
        reasons: Is given, for each op that "auto" left to its eager form although a backend can compute it, why.
    """
    ran: dict[str, str] = {}
    _records.append(ran)
    _reasons.append({} if reasons is None else reasons)
    try:
        yield ran
    finally:
        _records.pop()
        _reasons.pop()


@contextmanager
def plain_in_pieces() -> Iterator[None]:
    """Let eager forms that hold many copies of a map compute some rows at a time, where they are compared and not measured.

    What they return is the same; their gradients take the time of one more forward.
    """
    global _pieces
    _pieces += 1
    try:
        yield
    finally:
        _pieces -= 1


def in_pieces() -> bool:
    """Say whether eager forms are to compute in pieces: inside `plain_in_pieces`, where no program is exported."""
    return _pieces > 0 and not exporting()


def dtype_name(dtype: torch.dtype) -> str:
    """Write a dtype as users do: "float16"."""
    return str(dtype).removeprefix("torch.")


def same_dtype(op: str, first: str, left: Tensor, second: str, right: Tensor) -> None:
    """Check that two operands have one dtype.

    Args:
        op: the name of the op, for the message.
        first: what to call the left operand.
        left: one operand.
        second: what to call the right operand.
        right: the other operand.

    Raises:
        InputError: where they have two.
    """
    if left.dtype != right.dtype:
        raise InputError(
            f"{op} compares {first} with {second}, which must have one dtype, but are {dtype_name(left.dtype)} and "
            f"{dtype_name(right.dtype)}; convert one of them, or use torch.autocast"
        )


def autocasts(x: Tensor) -> bool:
    """Say whether torch.autocast is on for the device of x."""
    # Devices are listed, because torch 2.11 cannot trace its own question whether one has an autocast.
    device = x.device.type
    return device in AUTOCAST and torch.is_autocast_enabled(device)


def no_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Open a context in which torch.autocast does not lower the precision of what is computed from x."""
    return torch.autocast(x.device.type, enabled=False) if autocasts(x) else nullcontext()


def autocasted(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Convert tensors to the dtype that torch.autocast gives to matrix products here; leave them where it is off.

    Eager forms are made of such products; an op of a backend is not known to autocast.
    """
    if autocasts(tensors[0]):
        lowered = torch.get_autocast_dtype(tensors[0].device.type)
        return tuple(t if t.dtype == torch.float64 else t.to(lowered) for t in tensors)
    return tensors
