"""`upbench.layers`: a module as a tree of its layers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upbench.api import verbs
from upbench.api.results import ResultTable
from upbench.errors import SpecError
from upbench.report.tables import layers as report
from upbench.report.tables import notes
from upbench.specs.run_spec import RunSpec

if TYPE_CHECKING:
    from torch import Tensor, nn


def layers(
    upsampler: RunSpec | str | Path | Mapping[str, Any] | nn.Module, *inputs: Tensor, **options: Any
) -> ResultTable:
    """Count parameters and MACs layer by layer: `layers("ldaaqu", shape="256x60x60")` or `layers(module, x)`.

    Args:
        upsampler: A spec, anything that `spec` accepts, or a module instance.
        inputs: The tensors that a module instance is called with; none for a spec.
        options: Options of `spec`; none for a module instance.

    Returns:
        A table with a row for each layer: path, type, params, macs (None where they cannot be traced), output_shapes.

    Raises:
        UpbenchError: If a value is wrong, or the module cannot be built or called.
    """
    from torch import nn

    from upbench.benchmark import layers as counted
    from upbench.benchmark import run

    if isinstance(upsampler, nn.Module):
        if options:
            raise SpecError([f"{name}: a module instance is counted as it is; leave it out" for name in options])
        shapes = ", ".join("x".join(map(str, tensor.shape)) for tensor in inputs)
        title = f"{type(upsampler).__name__}: {shapes}"
        return ResultTable(report.table(counted.of_module(upsampler, inputs), title))
    if inputs:
        raise SpecError(["inputs are given to a module instance only; a spec says which are made: shape, dtype, seed"])
    spec = verbs.spec(upsampler, **options) if not isinstance(upsampler, RunSpec) else upsampler
    spec = counted.in_parts(spec)
    run.validate([spec])
    return ResultTable(report.table(counted.of_spec(spec), f"{spec.label}: {notes.condition_of(spec.to_dict())}"))
