"""Programs of torch.export in a file, which torch alone runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from upbench.errors import first_line
from upbench.exchange.capture import Captured, ExportError, operators_left, quiet
from upbench.exchange.torch_archive import add_metadata, metadata
from upbench.measure.output import maps

__all__ = ["EXTRA", "PACKAGES", "SAMPLING", "SUFFIX", "add_metadata", "facts", "load", "metadata", "sizes", "write"]

SUFFIX = ".pt2"
SAMPLING = "gridsample"
PACKAGES: tuple[str, ...] = ()
EXTRA = ""
NAMES = ("batch", "height", "width")
"""What the open sizes of the first input are called."""


def write(captured: Captured, path: Path, opset: int | None = None) -> None:
    """Write a program.

    Args:
        captured: The program.
        path: The file.
        opset: Not used; only ONNX has one.

    Raises:
        ExportError: If torch.export cannot.
    """
    try:
        with quiet():
            torch.export.save(captured.program, path)
    except Exception as error:
        raise ExportError(f"torch.export.save cannot write it: {first_line(error)}", "conversion") from error


def _program(path: Path) -> torch.export.ExportedProgram:
    try:
        with quiet():
            return torch.export.load(path)
    except Exception as error:
        raise ExportError(f"torch.export.load refuses the file: {first_line(error)}", "load") from error


def sizes(path: Path) -> list[list[int | str]]:
    """Read the size of every input from a file; a size that is open is the symbol that it has there."""
    return input_sizes(_program(path))


def input_sizes(program: torch.export.ExportedProgram) -> list[list[int | str]]:
    """Return the size of every input of a program; a size that is open is its symbol."""
    given = set(program.graph_signature.user_inputs)
    values = [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name in given]
    found = [[n if isinstance(n, int) else str(n) for n in value.shape] for value in values]
    names = _names(found[0]) if found else {}
    return [[n if isinstance(n, int) else _renamed(n, names) for n in size] for size in found]


def _names(size: list[int | str]) -> dict[str, str]:
    """Return what the open sizes of the first input are called: batch, height and width."""
    if len(size) != 4:
        return {}
    return {n: name for n, name in zip((size[0], *size[2:]), NAMES, strict=True) if isinstance(n, str)}


def _renamed(text: str, names: Mapping[str, str]) -> str:
    return re.sub(r"\w+", lambda match: names.get(match[0], match[0]), text)


def facts(path: Path) -> dict[str, Any]:
    """Read from a file its nodes and the operators that are not torch's own."""
    program = _program(path)
    nodes = sum(node.op == "call_function" for node in program.graph.nodes)
    return {"nodes": nodes, "opset": None, "left": operators_left(program)}


def load(path: Path, threads: int | None = None) -> Callable[..., Any]:
    """Load a file.

    Args:
        path: The file.
        threads: Unused: torch's own number of threads holds.

    Returns:
        A function of tensors that returns a tuple of tensors.

    Raises:
        ExportError: Of the function, for sizes that the program does not hold for.
    """
    program = _program(path)
    module = program.module()

    def call(*tensors: Any) -> tuple[Any, ...]:
        try:
            with torch.no_grad():
                return maps(module(*tensors))
        except AssertionError as error:
            if (condition := _condition(program, error)) is None:
                raise
            sizes = ", ".join("x".join(map(str, tensor.shape)) for tensor in tensors)
            raise ExportError(
                f"the file does not take {sizes}: its forward asks something of a size that was answered for the traced one, "
                f"so that the program holds only where {condition}; export it with --fixed (dynamic=False), or mend it",
                "run",
            ) from error

    return call


def _condition(program: torch.export.ExportedProgram, error: AssertionError) -> str | None:
    """Return the condition on its sizes that a program failed on, in words of its first input; None for another error."""
    found = re.match(r"Guard failed: (.*)", str(error))
    if found is None:
        return None
    text = found[1]
    for n, name in enumerate(program.graph_signature.user_inputs):
        for axis, size in zip((0, 2, 3), NAMES, strict=True):
            text = text.replace(f"{name}.size()[{axis}]", f"{size} of input {n + 1}" if n else size)
    return text
