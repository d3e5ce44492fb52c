"""The layers of what a spec describes, or of a module that was handed in."""

from __future__ import annotations

from torch import Tensor, nn

from upbench.benchmark.case import Case
from upbench.benchmark.workload import RunError, reason
from upbench.machine import environment
from upbench.measure import clock, layers
from upbench.measure.layers import Layer
from upbench.specs.run_spec import RunSpec
from upbench.user_code import isolation


def in_parts(spec: RunSpec) -> RunSpec:
    """Return a spec whose module calls its layers one by one: with backend auto a fused op may take their place."""
    if spec.measure.backend != "auto":
        return spec
    return spec.model_copy(update={"measure": spec.measure.model_copy(update={"backend": "eager"})})


@isolation.isolated()
def of_spec(spec: RunSpec) -> list[Layer]:
    """Build what a spec describes and return its layers.

    Args:
        spec: The spec.

    Raises:
        UpbenchError: If it cannot be built or called.
    """
    with environment.with_threads(spec.measure.threads):
        device = environment.resolve_device(spec.measure.device)
        case = Case(spec, device, clock.clock_for(device))
        with case.autocast():
            return layers.of_module(case.plain, case.inputs)


@isolation.isolated()
def of_module(module: nn.Module, tensors: tuple[Tensor, ...]) -> list[Layer]:
    """Return the layers of a module, whose mode is left as it is.

    Args:
        module: Called as module(*tensors).
        tensors: The inputs of one call.

    Raises:
        RunError: If it cannot be called with these tensors.
    """
    try:
        return layers.of_module(module, tensors)
    except Exception as error:
        raise RunError(f"{type(module).__name__} cannot be called: {reason(error)}") from error
