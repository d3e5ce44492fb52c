"""Core ML: converted alone, since predictions need macOS (https://apple.github.io/coremltools)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from upbench.deploy.targets import Loaded
from upbench.errors import first_line
from upbench.exchange.capture import Captured, ExportError, quiet

PACKAGES = ("coremltools",)
EXTRA = "coreml"
VARIANTS = ("float32",)
SAMPLING = "gridsample"
OPEN = True
MOST: int | None = None
RUNS = False


def convert(captured: Captured, path: Path, variant: str, tensors: Sequence[Tensor]) -> None:
    """Convert a program to an ML program of iOS 17, and write its specification."""
    with quiet():
        import coremltools

        try:
            with torch.no_grad():
                model = coremltools.convert(
                    captured.program.run_decompositions({}),
                    convert_to="mlprogram",
                    compute_precision=coremltools.precision.FLOAT32,
                    minimum_deployment_target=coremltools.target.iOS17,
                    skip_model_load=True,
                )
                model.save(str(path.with_suffix(".mlpackage")))
            path.with_suffix(".mlpackage").rename(path)
        except Exception as error:
            raise ExportError(
                f"coremltools cannot convert it: {first_line(error, located=False)}", "conversion"
            ) from error


def facts(path: Path) -> dict[str, Any]:
    """Return operators and sizes of a package; it has operators of Core ML alone."""
    from coremltools.proto import Model_pb2

    model = Model_pb2.Model()
    model.ParseFromString(next(path.rglob("*.mlmodel")).read_bytes())
    (block,) = model.mlProgram.functions["main"].block_specializations.values()
    nodes = sum(op.type != "const" for op in block.operations)
    return {"nodes": nodes, "opset": None, "left": {}, "sizes": [_sizes(one) for one in model.description.input]}


def _sizes(given: Any) -> list[int | str]:
    array = given.type.multiArrayType
    ranges = [(r.lowerBound, r.upperBound) for r in array.shapeRange.sizeRanges]
    if not ranges:
        return [int(n) for n in array.shape]
    return [int(low) if low == high else f"{low}.." + ("" if high < 0 else str(high)) for low, high in ranges]


def load(path: Path, variant: str, threads: int) -> Loaded:
    """Refuse: there is nothing that runs it here."""
    raise ExportError("Core ML runs on macOS alone", "load")
