"""Finding the state dict in a checkpoint: wrappers, averaged weights beside plain ones, prefixes of wrapped models."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeGuard

import numpy
from torch import Tensor, nn

from upbench.errors import WeightsError, suggestion
from upbench.weights.read import Unknown

StateDict = dict[str, Any]
"""Keys to tensors or arrays, not yet validated."""

Fits = Callable[[Mapping[str, Any]], bool]
"""Returns whether a state dict has the keys of a module."""

PLAIN = ("state_dict", "model_state_dict", "model", "net", "network", "module", "params", "weights", "generator")
"""Names under which the weights of training stand, most usual first."""
NOT_WEIGHTS = re.compile(
    r"(?i)(optim|sched|scaler|rng|message_hub|hyper_?param|loss|metric|history|(^|_)args$|(^|_)cfg$)"
)
"""Names under which training keeps other tensors."""
AVERAGED = re.compile(r"(?i)(^|[._])(ema|swa|averaged?|average_model|polyak|shadow)([._]|$|\d)")
WRAPPERS = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and training frameworks put before every key."""
INSIDE = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""What torch.compile, fully sharded training and activation checkpointing put anywhere in a key."""
COUNTERS = ("n_averaged", "steps", "num_updates", "decay")
"""Scalars that averaging keeps beside the weights."""
DEPTH = 4
"""Number of nested mappings in which state dicts are looked for."""


def find_state_dict(held: Any, name: str, key: str | None, fits: Fits) -> StateDict:
    """Find the state dict in the content of a checkpoint.

    Args:
        held: The content of the file, or a mapping in memory.
        name: Name of the file for messages; "" for a mapping in memory.
        key: Which of several state dicts to take, as "state_dict_ema" or "ema.params". None takes the only one, or the one
            of training where averaged weights are in the same checkpoint, and warns of that choice.
        fits: Returns whether a state dict has the keys of the module.

    Raises:
        WeightsError: If there is none, or several and no way to choose, or none under that key.
    """
    where = f"{name}: " if name else "the weights given: "
    # The weights of a module without any are an empty mapping.
    if key is None and (_is_state_dict(held) or (isinstance(held, Mapping) and not held and fits({}))):
        return _texts(held, where)
    candidates = dict(_candidates(held))
    if key is not None:
        if key in candidates:
            return _texts(candidates[key], where)
        listed = f"it has {', '.join(candidates)}" if candidates else "it has none"
        raise WeightsError(f"{where}there is no state dict at key={key!r}; {listed}{suggestion(key, candidates)}")
    if not candidates:
        raise WeightsError(where + _nothing(held, name))
    taken = _choice(candidates, fits)
    if taken is None:
        raise WeightsError(
            f"{where}holds several state dicts: {', '.join(candidates)}; choose one with key={_any(candidates)!r}"
        )
    others = [other for other in candidates if other != taken and not _are_scalars(candidates[other])]
    if others:
        fitting = next((other for other in others if fits(candidates[other])), None)
        warnings.warn(
            f"{where}took the weights under {taken!r}; there are others under {', '.join(map(repr, others))}"
            + (f", which key={fitting!r} takes" if fitting else ", which do not fit"),
            stacklevel=3,
        )
    return _texts(candidates[taken], where)


def _are_scalars(state: Mapping[str, Any]) -> bool:
    """Return whether a mapping holds statistics, such as the best score so far, and no weights."""
    return all(not getattr(value, "ndim", 0) for value in state.values())


def _any(candidates: Mapping[str, object]) -> str:
    """Return the first key."""
    return next(iter(candidates))


def _choice(candidates: Mapping[str, Mapping[str, Any]], fits: Fits) -> str | None:
    """Return the only candidate, the only one that fits, or the most usual name of those that do; None where it is unclear."""
    if len(candidates) == 1:
        return _any(candidates)
    fitting = [path for path, state in candidates.items() if fits(state)] or list(candidates)
    if len(fitting) == 1:
        return fitting[0]
    plain = [path for path in fitting if not AVERAGED.search(path)]
    if len(plain) == 1:
        return plain[0]
    ranked = [path for usual in PLAIN for path in plain if path == usual]
    return ranked[0] if ranked else None


def _candidates(held: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the state dicts inside nested mappings with their dotted paths; optimisers and the like are left out."""
    if not isinstance(held, Mapping) or len(path) > DEPTH:
        return
    for key, value in held.items():
        if not isinstance(key, str) or NOT_WEIGHTS.search(key):
            continue
        if _is_state_dict(value):
            yield ".".join((*path, key)), value
        else:
            yield from _candidates(value, (*path, key))


def _is_array(value: object) -> bool:
    return isinstance(value, Tensor | numpy.ndarray | numpy.generic)


def _is_state_dict(held: object) -> TypeGuard[Mapping[str, Any]]:
    """Return whether most values of a mapping are tensors or arrays."""
    if not isinstance(held, Mapping) or any(isinstance(value, Mapping) for value in held.values()):
        return False
    return 2 * sum(_is_array(value) for value in held.values()) > len(held)


def _texts(state: Mapping[Any, Any], where: str) -> StateDict:
    """Return a state dict as it is. Raises WeightsError where a key is not text."""
    for key in state:
        if not isinstance(key, str):
            raise WeightsError(f"{where}the key {key!r} is {type(key).__name__}, but the keys of a state dict are text")
    return dict(state)


def _nothing(held: Any, name: str) -> str:
    """Return a sentence on why the content of a file has no state dict."""
    if isinstance(held, nn.Module):
        return f"is a module ({type(held).__name__}), not a state dict; give its state_dict()"
    if isinstance(held, Unknown):
        return (
            f"holds a whole object of the class {held.origin}, not a state dict; if you trust the file, give "
            f"upbench.load_weights(module, torch.load(path, weights_only=False).state_dict())"
        )
    if not isinstance(held, Mapping):
        return f"holds a {type(held).__name__}, not a state dict of tensors"
    for key, value in held.items():
        if isinstance(value, Unknown) and not NOT_WEIGHTS.search(str(key)) and len(held) < 50:
            return (
                f"holds no state dict; under {key!r} is a whole object of the class {value.origin}; if it is a model and "
                f"you trust the file, give upbench.load_weights(module, "
                f"torch.load(path, weights_only=False)[{key!r}].state_dict())"
            )
    listed = ", ".join(map(str, list(held)[:8]))
    return f"holds no state dict of tensors; its keys are {listed}" if held else "is an empty dict, without any weights"


def unwrapped(state: StateDict, own: Mapping[str, object]) -> StateDict:
    """Remove the prefixes that wrappers put before the keys of a state dict, where the module itself has no such keys.

    Args:
        state: State dict of a checkpoint.
        own: State dict of the module, of which only the keys are read.
    """
    for mark in INSIDE:
        if not any(mark in key for key in own):
            state = {key.replace(mark, ""): value for key, value in state.items()}
    while state:
        counters = {key for key in state if key in COUNTERS and key not in own}
        rest = {key: value for key, value in state.items() if key not in counters}
        front = next((w for w in WRAPPERS if rest and all(key.startswith(w) for key in rest)), None)
        if front is None or any(key.startswith(front) for key in own):
            break
        state = {key.removeprefix(front): value for key, value in rest.items()}
    return state
