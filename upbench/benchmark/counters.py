"""What the FLOPs counters of others would print for what a spec describes."""

from __future__ import annotations

from upbench.benchmark.case import Case
from upbench.machine import environment
from upbench.measure import clock, counters, counting
from upbench.measure.counters import Prediction
from upbench.specs.run_spec import RunSpec
from upbench.user_code import isolation


@isolation.isolated()
def of_spec(spec: RunSpec) -> tuple[list[Prediction], int]:
    """Build what a spec describes and predict what each counter would print for one call of it.

    Args:
        spec: The spec.

    Returns:
        The predictions, and the multiply-accumulates of the call as upbench counts them.

    Raises:
        UpbenchError: If it cannot be built or called.
    """
    with environment.with_threads(spec.measure.threads):
        device = environment.resolve_device(spec.measure.device)
        case = Case(spec, device, clock.clock_for(device))
        with case.autocast():
            counted = counting.count(case.plain, case.inputs, case.inputs_again)
            return counters.predict(case.plain, case.inputs), counted.total
