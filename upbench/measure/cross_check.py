"""Three counts of the MACs of one call, and where they disagree.

1. The closed form that the card declares.
2. fvcore with our handles (`macs`): a trace, in which every op of `upbench.ops` is one node with declared MACs.
3. torch's FlopCounterMode: the aten operators that ran, whatever they were called through.

Torch charges matrix products and convolutions and nothing else. It cannot see a multiplication followed by a sum,
grid_sample, interpolation or pooling, so of an op that is made of those it sees nothing; the comparison leaves that
op out on both sides, by name, and is exact over the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from upbench import cards
from upbench.measure import macs
from upbench.measure.operators import work_of
from upbench.ops import OPS

ATTENTION = "aten::scaled_dot_product_attention"
"""Name of an attention call in every count."""
_LINEAR = "aten::linear"
_WEIGHED = {"aten::convolution", "aten::_convolution", "aten::addmm"}
_FOREIGN = {
    ATTENTION,
    macs.SUMMED,
    macs.UNSUMMED,
    "aten::mv",
    "aten::dot",
    "aten::addmv",
    "aten::affine_grid_generator",
    "aten::grid_sampler",
    "aten::grid_sampler_2d",
    "aten::grid_sampler_3d",
    "aten::upsample_linear1d",
    "aten::upsample_bilinear2d",
    "aten::upsample_trilinear3d",
    "aten::upsample_bicubic2d",
}
"""Products and gathers of modules from elsewhere that fvcore charges, and of which torch may see nothing."""


@dataclass(frozen=True)
class TorchCount:
    """The MACs (half of torch's FLOPs) of one call.

    Args:
        by_op: aten operator -> MACs.
        by_kind: Class -> MACs: conv (convolutions, linear layers, and declared ops of that kind) and gather (other
            matrix products).
        by_site: Declared op, linear layer or attention call -> MACs of what ran in it.
        uncounted: Operators that ran and were charged nothing, data movement left out, with how often they ran.
    """

    by_op: dict[str, int]
    by_kind: dict[str, int]
    by_site: dict[str, int]
    uncounted: dict[str, int]


class _Uncharged(TorchDispatchMode):
    """Counts how often each operator ran without being charged, as it was called: before the counter takes it apart."""

    def __init__(self, counter: FlopCounterMode) -> None:
        super().__init__()
        self.counter = counter
        self.times: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = self.counter.get_total_flops()
        out = func(*args, **(kwargs or {}))
        # A size or a dtype that an operator returns is no arithmetic.
        if isinstance(out, Tensor | tuple | list) and self.counter.get_total_flops() == before:
            self.times[func._schema.name] += 1
        return out


class _Sites(TorchFunctionMode):
    """Collects what the counter charged while a declared op, a linear layer or an attention call ran.

    The dispatcher alone shows a linear layer without bias and a product of two features as the same mm. Only the
    outermost of torch's own functions is seen: a linear layer without bias inside nn.MultiheadAttention is a gather.
    """

    def __init__(self, counter: FlopCounterMode) -> None:
        super().__init__()
        self.counter = counter
        self.charged: dict[str, Counter[str]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        site = _site(func)
        if site is None:
            return func(*args, **(kwargs or {}))
        before = _charged(self.counter)
        out = func(*args, **(kwargs or {}))
        self.charged.setdefault(site, Counter()).update(_charged(self.counter) - before)
        return out


class _NoTracker(AbstractContextManager[None]):
    """Replaces the part of torch's counter that assigns FLOPs to modules, which is not needed here.

    Its hooks fail without autograd on a module that is given a view of a leaf, and warn in compiled modules.
    """

    parents = frozenset({"Global"})

    def __exit__(self, *error: object) -> None:
        return None


def _counter() -> FlopCounterMode:
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _NoTracker()  # type: ignore[assignment]
    return counter


def torch_count(module: nn.Module, inputs: tuple[Tensor, ...]) -> TorchCount:
    """Run a module once, without autograd, and count with torch's own counter. Its mode is left as it is.

    Args:
        module: The module.
        inputs: The tensors of the call.

    Raises:
        Exception: Whatever the module raises.
    """
    with (
        torch.no_grad(),
        torch.compiler.set_stance("force_eager"),
        _counter() as counter,
        _Uncharged(counter) as uncharged,
        _Sites(counter) as sites,
    ):
        module(*inputs)
    by_op = _charged(counter)
    kinds = Counter({"conv": 0, "gather": 0})
    elsewhere = by_op - sum(sites.charged.values(), Counter())
    for name, n in elsewhere.items():
        kinds["conv" if name in _WEIGHED else "gather"] += n
    by_site = {name: charged.total() for name, charged in sites.charged.items()}
    for name, n in by_site.items():
        kinds["conv" if name == _LINEAR else "gather" if name == ATTENTION else OPS[name].kind] += n
    return TorchCount(
        by_op=dict(by_op.most_common()),
        by_kind={kind: kinds[kind] for kind in ("conv", "gather")},
        by_site=by_site,
        uncounted={name: n for name, n in sorted(uncharged.times.items()) if work_of(name) != "movement"},
    )


def disagreements(closed: cards.Macs | None, fvcore: macs.Macs, seen: TorchCount) -> list[str]:
    """Return a sentence for each class of MACs in which two counts differ; none when all agree.

    Every comparison is exact. Between fvcore and torch it covers what both can see: ops of which torch sees nothing are
    left out, and named. Torch does not distinguish weights from features, so that nothing is said where both count the
    same products in other classes; nor where the count is not of a trace, but of the operators that torch's counter sees
    as well.

    Args:
        closed: The closed form of the card; None where none is declared.
        fvcore: The count of `counting.count`.
        seen: The count of `torch_count`, of the same call.
    """
    found = []
    unseen = {kind: _unseen(kind, fvcore, seen) for kind in ("conv", "gather")}
    shared = {kind: fvcore.by_kind[kind] - sum(unseen[kind].values()) for kind in unseen}
    apart = fvcore.traced and sum(shared.values()) != sum(seen.by_kind.values())
    for kind, left_out in unseen.items():
        counted = fvcore.by_kind[kind]
        if closed is not None and (declared := getattr(closed, kind)) != counted:
            found.append(
                f"{kind} MACs disagree: the closed form gives {declared}, fvcore {counted}; "
                f"{_blind('fvcore', fvcore.uncounted)}"
            )
        if apart and shared[kind] != seen.by_kind[kind]:
            listed = ", ".join(f"{name} {n}" for name, n in left_out.items())
            without = f" (without {listed})" if listed else ""
            found.append(
                f"{kind} MACs disagree: fvcore counts {shared[kind]}{without}, torch {seen.by_kind[kind]}; "
                f"{_blind('fvcore', fvcore.uncounted)}, {_blind('torch', seen.uncounted)}"
            )
    return found


def _unseen(kind: str, fvcore: macs.Macs, seen: TorchCount) -> dict[str, int]:
    """Return the MACs of a class by operator, for operators of which torch saw nothing."""
    return {
        name: n
        for (of, name), n in fvcore.by_class_and_op.items()
        if of == kind and (name in OPS or name in _FOREIGN) and not seen.by_site.get(name)
    }


def _site(func: Callable[..., Any]) -> str | None:
    if isinstance(func, torch._ops.OpOverload):
        name = func._schema.name
        return name if name in OPS else None
    return {torch.nn.functional.linear: _LINEAR, torch.nn.functional.scaled_dot_product_attention: ATTENTION}.get(func)


def _charged(counter: FlopCounterMode) -> Counter[str]:
    """Return the MACs that the counter has charged so far, by operator."""
    flops: Mapping[Any, int] = counter.get_flop_counts().get("Global", {})
    return Counter({_name(key): n // 2 for key, n in flops.items() if n})


def _name(key: object) -> str:
    """Return a counter's key under the name that fvcore and schemas use: aten.mm -> aten::mm."""
    return str(key).replace(".", "::", 1)


def _blind(route: str, uncounted: Mapping[str, int]) -> str:
    listed = ", ".join(f"{name} ({n}x)" for name, n in uncounted.items())
    return f"{route} does not see {listed}" if listed else f"{route} sees every operator"
