"""What a counter's file holds, and what several of them share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from upbench.measure.counters._call import Call, Calls, OperatorCall

RECURRENT = (nn.RNNBase, nn.RNNCellBase)
"""Layers that several counters have rules of their own for, which are not repeated here."""


class Unpredicted(Exception):
    """There is no figure: the counter fails on this call, or counts something in it by a rule that is not known here."""


@dataclass(frozen=True)
class Rule:
    """How one counter counts.

    Args:
        counter: Its name.
        release: The release whose rules these are.
        per_mac: What it counts for one multiply-accumulate.
        words: What it adds up, in words.
        predict: Returns its figure for a call, and the multiply-accumulates of what it counts as nothing, by operator; raises
            `Unpredicted`.
        order: Its place in the table.
    """

    counter: str
    release: str
    per_mac: int
    words: str
    predict: Callable[[Calls], tuple[int, Mapping[str, int]]]
    order: int


def unseen(call: Call, seen: Callable[[OperatorCall], bool]) -> dict[str, int]:
    """Return the multiply-accumulates of the operators of a call that a counter counts as nothing, by name.

    Args:
        call: The call.
        seen: Whether the counter counts an operator.
    """
    left_out: Counter[str] = Counter()
    for operator in call.operators:
        if not seen(operator):
            left_out[operator.name] += operator.macs
    return dict(left_out)


def refuse_recurrent(call: Call, counter: str) -> None:
    """Raise Unpredicted where a recurrent layer was called.

    Args:
        call: The call.
        counter: Name of the counter.
    """
    for made in call.layers:
        if isinstance(made.layer, RECURRENT):
            raise Unpredicted(
                f"{counter} has rules of its own for {type(made.layer).__name__}, which are not repeated here"
            )


def applied(counter: str, rule: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return what a rule gives; where the counter's own would fail on these arguments, raise Unpredicted.

    Args:
        counter: Name of the counter.
        rule: The rule, which makes the same assumptions about its arguments as the counter's.
        args: What it is called with.
        kwargs: What it is called with by keyword.
    """
    try:
        return rule(*args, **kwargs)
    except (AttributeError, TypeError, IndexError, AssertionError, ValueError) as error:
        raise Unpredicted(f"{counter} fails on this module with {type(error).__name__}") from error


def over_children(module: nn.Module, own: Mapping[nn.Module, float], whole: Callable[[nn.Module], bool]) -> float:
    """Add up the figures of a tree of layers as counters do that ask each layer for its children.

    A layer below two parents counts twice.

    Args:
        module: The root.
        own: The figure of each layer.
        whole: Whether a layer's own figure stands for all inside of it.
    """
    if whole(module):
        return own.get(module, 0)
    return own.get(module, 0) + sum(over_children(child, own, whole) for child in module.children())


def names(functions: Iterable[str]) -> frozenset[str]:
    """Return the names of functions of torch.nn.functional as calls have them."""
    return frozenset(f"functional.{name}" for name in functions)
