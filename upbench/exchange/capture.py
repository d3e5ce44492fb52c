"""Captures a module as a program of torch's own operators, whose sizes stay open where they can."""

from __future__ import annotations

import copy
import logging
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from upbench.errors import UpbenchError, first_line
from upbench.ops.portable import portable

OWN_DOMAINS = ("aten", "prims", "_operator", "builtins", "math", "higher_order", "torch")
"""Namespaces of operators that every importer of torch's programs is made for."""


class ExportError(UpbenchError):
    """A module could not be captured, converted, or written for another runtime.

    Args:
        message: The sentence for the user.
        step: capture, conversion, load, run or comparison.
    """

    def __init__(self, message: str, step: str) -> None:
        self.step = step
        super().__init__(message)


@dataclass(frozen=True)
class Captured:
    """A program and what it was captured from.

    Attributes:
        program: The program.
        inputs: Name of every input, in the order of the call.
        outputs: How many maps it returns.
    """

    program: torch.export.ExportedProgram
    inputs: tuple[str, ...]
    outputs: int


class _Positional(nn.Module):
    """A module that is called with tensors alone, and returns one map or a tuple of them."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *tensors: Tensor) -> Any:
        out = self.module(*tensors)
        return out if isinstance(out, Tensor) else returned(out)


def returned(out: Any) -> tuple[Tensor, ...]:
    """Return the maps that a module returned, alone, in a sequence or by names, as models of torchvision do.

    Args:
        out: What it returned.

    Raises:
        UpbenchError: If something else is among them, which no file can hold.
    """
    several = out.values() if isinstance(out, Mapping) else out
    found = (out,) if isinstance(out, Tensor) or not isinstance(several, Iterable) else tuple(several)
    if other := [type(one).__name__ for one in found if not isinstance(one, Tensor)]:
        raise UpbenchError(
            f"the module returns {' and '.join(dict.fromkeys(other))} beside or instead of tensors, but a file returns tensors "
            "alone; export a module whose forward returns the tensors of it"
        )
    return found


def eager_copy(module: nn.Module, dtype: torch.dtype | None = None) -> nn.Module:
    """Copy a module so that each of its ops computes its own plain form, in evaluation mode.

    Args:
        module: The module, which stays as it is.
        dtype: Dtype of the copy; None keeps that of the module.
    """
    other = copy.deepcopy(module).eval()
    for layer in other.modules():
        if getattr(layer, "fused_ops", ()):
            layer.backend = "eager"  # type: ignore[assignment]
    return other if dtype is None else other.to(dtype)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the warnings and log lines of exporters to themselves."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def capture(
    module: nn.Module,
    tensors: Sequence[Tensor],
    dynamic: bool,
    sampling: str | None,
    most: int | None = None,
    open_batch: bool = True,
) -> Captured:
    """Capture a module in evaluation mode.

    Args:
        module: The module, which stays as it is.
        tensors: What it is called with; where the batch is open it is traced with two samples, since torch makes a
            constant of a size of one.
        dynamic: Whether batch, rows and columns of every map stay open.
        sampling: How points are read, see `ops.portable`; None keeps the plain form of every op.
        most: The largest size that stays open, in multiples of the traced one; None for no such bound.
        open_batch: Whether the batch stays open as well where `dynamic` is given.

    Raises:
        ExportError: If torch.export refuses the module, or operators remain that no other runtime knows.
    """
    given = tuple(_two_samples(t) if dynamic and open_batch else t for t in tensors)
    other = _Positional(eager_copy(module))
    sizes = tuple(_open(t, most, open_batch) for t in given) if dynamic else None
    with quiet(), torch.no_grad(), _forms(sampling), _for_all_sizes() if dynamic and most is None else nullcontext():
        try:
            shapes = (sizes,) if sizes is not None else None  # one entry for *tensors
            program = torch.export.export(other, given, dynamic_shapes=shapes)
        except Exception as error:
            raise ExportError(
                f"{type(module).__name__} cannot be captured by torch.export: {_reason(error)}", "capture"
            ) from error
    if left := operators_left(program):
        listed = ", ".join(f"{name} ({n}x)" for name, n in left.items())
        raise ExportError(f"{type(module).__name__}: operators remain that no other runtime knows: {listed}", "capture")
    signature = program.graph_signature
    return Captured(program, tuple(str(name) for name in signature.user_inputs), len(signature.user_outputs))


def _reason(error: BaseException) -> str:
    """Say why torch.export refused, where its own first line names symbols of its own."""
    if type(error).__name__ != "GuardOnDataDependentSymNode":
        return first_line(error)
    at = re.search(r"Caused by: \((.+?)\)", str(error))
    return (
        f"torch {torch.__version__} follows no forward that goes on by a number of values which only a run tells, as the boxes "
        f"of a detector{f' (in {at[1]})' if at else ''}; export a part of it that comes before, as its backbone"
    )


def holds_for_one(captured: Captured) -> bool:
    """Return whether a program that was captured with two samples holds for one, as far as torch.export says."""
    program = captured.program
    nodes = (node for node in program.graph.nodes if node.op == "placeholder" and node.name == captured.inputs[0])
    batch = next(nodes).meta["val"].shape[0]
    if isinstance(batch, int):
        return batch == 1
    found = program.range_constraints.get(batch.node.expr)
    return found is None or int(found.lower) <= 1


@contextmanager
def _forms(sampling: str | None) -> Iterator[None]:
    if sampling is None:
        yield
        return
    with portable(sampling):
        yield


@contextmanager
def _for_all_sizes() -> Iterator[None]:
    """Keep what torch asks of a size while it traces, such as whether a cropped map is contiguous, from being answered for
    the traced size alone, as which the program would then refuse others."""
    from torch.fx.experimental import _config

    if not hasattr(_config, "backed_size_oblivious"):  # before torch 2.8
        yield
        return
    with _config.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
        yield


def _open(tensor: Tensor, most: int | None, batch: bool) -> dict[int, Any]:
    """Which sizes of a tensor stay open, as torch.export is told it: all but its channels, and the batch where it is not."""
    auto: Any = torch.export.Dim.AUTO
    axes = (*((0,) if batch else ()), *range(2, tensor.dim()))
    return {axis: auto if most is None else auto(max=most * tensor.shape[axis]) for axis in axes}


def _two_samples(tensor: Tensor) -> Tensor:
    return torch.cat((tensor, tensor)) if tensor.dim() and tensor.shape[0] == 1 else tensor


def operators_left(program: torch.export.ExportedProgram) -> dict[str, int]:
    """Count the operators of a program that are of no domain of torch's own."""
    names = [
        node.target.namespace
        if isinstance(node.target, torch._ops.OpOverload)
        else str(getattr(node.target, "__module__", "builtins")).partition(".")[0]
        for node in program.graph.nodes
        if node.op == "call_function"
    ]
    targets = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    found = Counter(t for t, name in zip(targets, names, strict=True) if name not in OWN_DOMAINS)
    return dict(found)
