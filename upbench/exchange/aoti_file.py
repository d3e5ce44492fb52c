"""Packages of AOTInductor: a program compiled to a shared library, which libtorch runs without Python's modules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from upbench.errors import first_line
from upbench.exchange.capture import Captured, ExportError, quiet
from upbench.exchange.torch_archive import add_metadata, metadata
from upbench.measure.output import maps

__all__ = ["EXTRA", "PACKAGES", "SAMPLING", "SUFFIX", "add_metadata", "facts", "load", "metadata", "sizes", "write"]

SUFFIX = ".aoti.pt2"
SAMPLING = "gridsample"
PACKAGES: tuple[str, ...] = ()
EXTRA = ""


def write(captured: Captured, path: Path, opset: int | None = None) -> None:
    """Compile a program into a package.

    Args:
        captured: The program.
        path: The file.
        opset: Not used; only ONNX has one.

    Raises:
        ExportError: If AOTInductor cannot, as without a C++ compiler.
    """
    from torch._inductor import aoti_compile_and_package

    # The compiler wants a name that ends in .pt2, which a temporary file may not have.
    beside = path.with_name(f"{path.name}.compiled.pt2")
    try:
        with quiet(), torch.no_grad():
            aoti_compile_and_package(captured.program, package_path=str(beside))
        beside.replace(path)
    except Exception as error:
        beside.unlink(missing_ok=True)
        raise ExportError(f"AOTInductor cannot compile it: {first_line(error, located=False)}", "conversion") from error


def sizes(path: Path) -> list[list[int | str]] | None:
    """Return None: a package does not say which sizes it takes; running it shows."""
    return None


def facts(path: Path) -> dict[str, Any]:
    """Return what is known of a package: it has neither nodes nor an opset."""
    return {"nodes": None, "opset": None, "left": {}}


def load(path: Path, threads: int | None = None) -> Callable[..., Any]:
    """Load a package.

    Args:
        path: The file.
        threads: Unused: torch's own number of threads holds.

    Returns:
        A function of tensors that returns a tuple of tensors.

    Raises:
        ExportError: If torch refuses the package.
    """
    from torch._inductor import aoti_load_package

    try:
        with quiet():
            module = aoti_load_package(str(path))
    except Exception as error:
        raise ExportError(f"torch refuses the package: {first_line(error)}", "load") from error

    def call(*tensors: Any) -> tuple[Any, ...]:
        with torch.no_grad():
            return maps(module(*tensors))

    return call
