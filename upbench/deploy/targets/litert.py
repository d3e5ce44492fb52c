"""LiteRT by litert-torch: one size, in float32 (https://github.com/google-ai-edge/litert-torch)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from upbench.deploy.targets import Loaded
from upbench.errors import first_line
from upbench.exchange.capture import Captured, ExportError, quiet

PACKAGES = ("litert_torch", "ai_edge_litert")
EXTRA = "litert"
INSTALLED_ALONE = " in an environment of its own, without constraints.txt: it needs typing-extensions below 4.13, other versions there newer ones"
"""What the sentence that says how to install it ends with: litert-torch 0.10 takes xdsl 0.28.0."""
VARIANTS = ("float32",)
SAMPLING = "gridsample"
OPEN = False
MOST: int | None = None
RUNS = True


def convert(captured: Captured, path: Path, variant: str, tensors: Sequence[Tensor]) -> None:
    """Convert a program to a .tflite file."""
    with quiet():
        import litert_torch

        try:
            with torch.no_grad():
                litert_torch.convert(captured.program.module(), tuple(tensors)).export(str(path))
        except Exception as error:
            raise ExportError(
                f"litert-torch cannot convert it: {first_line(error, located=False)}", "conversion"
            ) from error


def facts(path: Path) -> dict[str, Any]:
    """Return operators, those that are not LiteRT's own, and sizes of a file; a size of -1 is open."""
    reader = _interpreter(path, 1)
    kinds = [one["op_name"] for one in reader._get_ops_details()]
    left = {kind: kinds.count(kind) for kind in kinds if kind.startswith(("Flex", "CUSTOM"))}
    sizes = [["open" if n < 0 else int(n) for n in one["shape_signature"]] for one in reader.get_input_details()]
    return {"nodes": len(kinds), "opset": None, "left": left, "sizes": sizes}


def load(path: Path, variant: str, threads: int) -> Loaded:
    """Load a file; the precision in effect is the dtype of its first input."""
    try:
        reader = _interpreter(path, threads)
        reader.allocate_tensors()
    except Exception as error:
        raise ExportError(f"LiteRT refuses the file: {first_line(error, located=False)}", "load") from error
    return Loaded(_caller(reader), variant, reader.get_input_details()[0]["dtype"].__name__)


def _interpreter(path: Path, threads: int) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(str(path), num_threads=threads)


def _caller(reader: Any) -> Callable[..., tuple[Tensor, ...]]:
    def call(*tensors: Tensor) -> tuple[Tensor, ...]:
        for one, tensor in zip(reader.get_input_details(), tensors, strict=True):
            reader.set_tensor(one["index"], tensor.numpy())
        reader.invoke()
        return tuple(torch.from_numpy(reader.get_tensor(one["index"]).copy()) for one in reader.get_output_details())

    return call
