"""ExecuTorch: by its portable kernels, and by XNNPACK where that takes an operator (https://docs.pytorch.org/executorch)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from upbench.deploy.targets import Loaded
from upbench.errors import first_line
from upbench.exchange.capture import Captured, ExportError, quiet

PACKAGES = ("executorch",)
EXTRA = "executorch"
VARIANTS = ("portable", "xnnpack")
SAMPLING = "gridsample"
OPEN = True
MOST: int | None = 2
"""Memory is planned when a program is written, so that every size has a bound."""
RUNS = True
DOMAINS = ("aten", "executorch_prim", "dim_order_ops")
"""Domains whose operators every build of ExecuTorch has."""


def convert(captured: Captured, path: Path, variant: str, tensors: Sequence[Tensor]) -> None:
    """Lower a program to ExecuTorch's operators, or to XNNPACK where it takes them, and write it."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

    partitioner = [XnnpackPartitioner()] if variant == "xnnpack" else None
    try:
        with quiet(), torch.no_grad():
            # What the check refuses beyond ExecuTorch's own operators is read from the file.
            edge = to_edge_transform_and_lower(
                captured.program, partitioner=partitioner, compile_config=EdgeCompileConfig(_check_ir_validity=False)
            )
            path.write_bytes(edge.to_executorch().buffer)
    except Exception as error:
        raise ExportError(f"ExecuTorch cannot lower it: {first_line(error, located=False)}", "conversion") from error


def facts(path: Path) -> dict[str, Any]:
    """Return instructions, operators of no standard domain, and sizes; a size that is open is "<=" its bound."""
    from executorch.exir._serialize._program import deserialize_pte_binary

    plan = deserialize_pte_binary(path.read_bytes()).program.execution_plan[0]
    names = [op.name for op in plan.operators]
    left = {name: names.count(name) for name in names if name.partition("::")[0] not in DOMAINS}
    given = [plan.values[n].val for n in plan.inputs]
    sizes = [_sizes(tensor) for tensor in given]
    return {"nodes": sum(len(chain.instructions) for chain in plan.chains), "opset": None, "left": left, "sizes": sizes}


def _sizes(tensor: Any) -> list[int | str]:
    """Sizes of an input. Channels are never open; the file says of the tensor as a whole alone whether it is."""
    bound = [int(n) for n in tensor.sizes]
    if tensor.shape_dynamism == 0 or len(bound) != 4:
        return list(bound)
    return [f"<={n}" if axis != 1 else n for axis, n in enumerate(bound)]


def load(path: Path, variant: str, threads: int) -> Loaded:
    """Load a program; it computes in the dtype of its inputs."""
    from executorch.runtime import Runtime

    try:
        content = path.read_bytes()
        program = Runtime.get().load_program(content)
        method: Any = program.load_method("forward")
    except Exception as error:
        raise ExportError(f"ExecuTorch refuses the program: {first_line(error, located=False)}", "load") from error
    if method is None:
        raise ExportError("ExecuTorch refuses the program: it has no method forward", "load")
    return Loaded(_caller(method, (program, content)), "float32", "float32")


def _caller(method: Any, alive: Any) -> Callable[..., tuple[Tensor, ...]]:
    """A function that runs a method. A method points into its program, and that into the bytes: both stay alive with it."""

    def call(*tensors: Tensor) -> tuple[Tensor, ...]:
        assert alive
        # The outputs lie in memory that the next call writes to.
        return tuple(out.clone() for out in method.execute([t.contiguous() for t in tensors]))

    return call
