"""A model whose own calls are repeated in place: that replacing changes nothing by itself, and how long the calls take."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from upbench.errors import UpbenchError
from upbench.models import answering, replacing
from upbench.models.recording import tensors
from upbench.models.site import Site
from upbench.user_code import isolation

SHARE_CALLS = 3
"""Most forwards in which the share of the upsampling is timed."""
SHARE_S = 2.0
"""Seconds of forwards after which no further one is made for that."""


def shared_copy(model: nn.Module) -> nn.Module:
    """Return a copy of a model that shares its parameters and buffers in memory."""
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, shared)


def check_repeated(
    name: str,
    model: nn.Module,
    listed: Sequence[Site],
    meant: Sequence[Site],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> float:
    """Raise UpbenchError unless the model with its chosen calls repeated returns the same bits, and makes them all.

    Returns:
        Seconds of the quicker of the two calls.
    """
    with torch.no_grad():
        isolation.seed_generators(0)
        start = time.perf_counter()
        before = list(tensors((model(*args, **kwargs),)))
        seconds = time.perf_counter() - start
        twin = replacing.replace(shared_copy(model), replacing.REPEAT, [s.name for s in meant], sites=listed)
        isolation.seed_generators(0)
        with answering.counted() as answered:
            start = time.perf_counter()
            after = list(tensors((twin(*args, **kwargs),)))
            seconds = min(seconds, time.perf_counter() - start)
    if missing := [site.name for site in meant if not answered[site.name]]:
        raise UpbenchError(f"{name}: {', '.join(missing)} did not run in a second forward; leave it out with --where")
    if len(before) != len(after) or not all(torch.equal(a, b) for a, b in zip(before, after, strict=True)):
        raise UpbenchError(
            f"{name} returns other values when its own upsampling calls are repeated in place: it draws random numbers or keeps "
            "state, so that no comparison of it would stand"
        )
    return seconds


def share(
    model: nn.Module, listed: Sequence[Site], meant: Sequence[Site], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> float | None:
    """Return the part of a forward's time that the chosen calls take, over at most `SHARE_CALLS` forwards; None on a GPU."""
    if any(tensor.is_cuda for tensor in tensors((args, kwargs))):
        return None
    if not replacing.is_replaced(model):
        model = replacing.replace(shared_copy(model), replacing.REPEAT, [s.name for s in meant], sites=listed)
    inside, whole = 0.0, 0.0
    with torch.inference_mode():
        for _ in range(SHARE_CALLS):
            with answering.timed() as seconds:
                start = answering.clock()
                model(*args, **kwargs)
                whole += answering.clock() - start
            inside += sum(seconds.values())
            if whole > SHARE_S:
                break
    return inside / whole
