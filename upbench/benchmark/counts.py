"""Counts one module: parameters, operators and multiply-accumulates by every counter, and describes its output."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from upbench import cards, units
from upbench.benchmark.workload import Workload
from upbench.measure import breakdown, counting, cross_check, output, params
from upbench.records.record import CrossCheck, Macs
from upbench.user_code import isolation


def counts_of(work: Workload) -> dict[str, Any]:
    """Count a workload: everything that is exact and needs no timing.

    MACs are those of one call. Where counters disagree, a warning is added to the workload.

    Args:
        work: The workload.

    Returns:
        Name -> value of the fields of a `Record` from `params` to `output`; None, with a warning, for what cannot be counted.
    """
    size = work.attempt("parameters could not be counted", lambda: params.count(work.plain))
    with work.autocast():
        operators = work.attempt("operators could not be counted", lambda: output.ran(work.plain, work.inputs))
        counted = work.attempt(
            "MACs could not be counted", lambda: counting.count(work.plain, work.inputs, work.inputs_again)
        )
        _warn_of_draws(work)
        with _cheapest(work) as (module, tensors):
            seen = work.attempt(
                "MACs could not be counted by torch", lambda: cross_check.torch_count(module, tensors or work.inputs)
            )
            parts = counted and work.attempt(
                "MACs could not be told apart by layer",
                lambda: breakdown.count(module, tensors or work.inputs, counted),
            )
    if operators and operators.denormal > 0:
        work.warnings.append(denormals_said(operators.denormal))
    declared = work.spec.card.count_macs
    closed = declared and work.attempt("the closed form failed", lambda: declared(work.spec.setting))
    if counted and seen:
        work.warnings += cross_check.disagreements(closed, counted, seen)
    work.warnings += counted.notes if counted else ()
    if counted and closed is None and work.spec.card.origin == "built in":
        work.warnings.append("no closed form is declared for this upsampler; its MACs rest on the counter alone")
    if counted and counted.uncounted:
        listed = ", ".join(f"{name} ({n}x)" for name, n in counted.uncounted.items())
        work.warnings.append(f"not counted in the MACs: {listed}")
    return {
        "params": size and size.total,
        "params_trainable": size and size.trainable,
        "buffers": size and size.buffers,
        "macs": Macs(**counted.by_kind, total=counted.total) if counted and counted.known else None,
        "macs_by_op": counted and counted.by_op,
        "uncounted": counted and counted.uncounted,
        "missing": counted and counted.missing,
        "cross_check": seen
        and CrossCheck(closed=vars(closed) if closed else None, torch=seen.by_kind, torch_uncounted=seen.uncounted),
        "breakdown": parts,
        "op_count": operators and operators.operators,
        "output": work.repeated_output(),
    }


def denormals_said(part: float) -> str:
    """Return the warning of activations that hold denormal numbers, as a part of all."""
    return (
        f"{units.percent(part)} of the activations are denormal numbers, which a CPU computes slowly; `flush_denormals: true` in "
        "measure takes them as 0"
    )


def _warn_of_draws(work: Workload) -> None:
    """Warn where random draws of a user's module decide what it computes, as those of stochastic depth do."""
    if work.spec.upsampler in cards.builtin():
        return

    def seeded(n: int) -> tuple[Tensor, ...]:
        isolation.seed_generators(work.spec.input.seed + n)
        work.prepare()
        return work.inputs

    found = work.attempt(
        "whether draws decide what runs could not be judged", lambda: output.draws_of(work.plain, seeded)
    )
    if found:
        one, other = found
        how = f"{one} and {other} of them" if one != other else "as many, but others"
        work.warnings.append(
            f"random draws decide which operators run ({how} with two seeds): counts are of one draw, that of the seed "
            f"{work.spec.input.seed}, and latency is over many"
        )


@contextmanager
def _cheapest(work: Workload) -> Iterator[tuple[nn.Module, tuple[Tensor, ...] | None]]:
    """Yield the module on its plain ops, and inputs where these differ from the workload's.

    What is counted is the method, the same whatever backend runs. An upsampler of upbench is counted on the meta device,
    where a call costs nothing. A user's module is called as it is: its behaviour may depend on the device and on values, and
    it need not support copying.
    """
    if work.spec.upsampler in cards.builtin():
        module = copy.deepcopy(work.plain).to("meta")
        if work.spec.card.fused:
            module.backend = "eager"  # type: ignore[assignment]
        yield module, tuple(tensor.detach().to("meta") for tensor in work.inputs)
        return
    module = work.plain
    backend = getattr(module, "backend", None)
    if work.spec.card.fused:
        module.backend = "eager"  # type: ignore[assignment]
    try:
        yield module, None
    finally:
        if work.spec.card.fused:
            module.backend = backend  # type: ignore[assignment]
