"""torch.utils.flop_counter.FlopCounterMode: operators that are dispatched and have a formula, those of upbench too."""

from __future__ import annotations

from collections.abc import Mapping

from upbench.measure.counters._call import Calls
from upbench.measure.counters._rule import Rule, unseen


def _predict(calls: Calls) -> tuple[int, Mapping[str, int]]:
    call = calls.without_hooks
    return sum(o.flops or 0 for o in call.operators), unseen(call, lambda operator: operator.flops is not None)


RULES = (
    Rule(
        "FlopCounterMode",
        "torch 2.13",
        2,
        "convolutions, matrix products (einsum too) and attention, and what the fused ops of upbench declare; no bias, "
        "no grid_sample, no interpolation, no product that is multiplied and summed",
        _predict,
        10,
    ),
)
