"""The settings that published tables name, translated to the params of our upsamplers; in this one place."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from upbench.cards import Card

NAMES = {
    "gating": "gate",
    "embedding_dim": "embedding",
    "kernel": "k_up",
    "points": "k_up",
    "offset_dof": "dof",
    "groupnorm": "norm",
    "variant": "kind",
}
"""The param of each name in tables that is neither a param nor its name in the released constructor."""

VALUES: dict[str, dict[str, Any]] = {
    "dof": {"s^2": "s2", "1": 1},
    "kind": {"HIN": "hin", "O2O": "o2o", "M2O": "m2o", "O2O-DIN": "o2o", "M2O-DIN": "m2o"},
}
"""For each param its printed values and ours, where they differ."""

IMPLIED: dict[str, dict[str, Any]] = {
    "dysample": {"style": "lp", "dynamic_scope": False, "init": "bilinear", "scope_factor": 0.25},
    "dysample+": {"style": "lp", "dynamic_scope": True, "init": "bilinear"},
    "dysample-s": {"style": "pl", "dynamic_scope": False, "init": "bilinear", "scope_factor": 0.25},
    "dysample-s+": {"style": "pl", "dynamic_scope": True, "init": "bilinear"},
    "sapa-b": {"groups": 1, "norm_function": "e^x"},
    "a2u": {"variant": "dynamic-cs-d+"},
}
"""Settings that the upsampler's name already says; a row with another value of them is of something else."""

NO_SETTING = ("replaced", "task", "dataset", "leaderboard_rank")
"""Keys among the settings that say where in the host model, or on what data; not how the upsampler is built."""


def param(name: str, card: Card) -> str | None:
    """Return the param that a setting's name stands for; None where the upsampler has no such param."""
    param_names = {p.name for p in card.params}
    if name in param_names:
        return name
    released = {part: p.name for p in card.params if p.released for part in p.released.split(", ")}
    param_name = released.get(name) or NAMES.get(name)
    return param_name if param_name in param_names else None


def value(name: str, printed: Any, param: str) -> Any:
    """Return a printed value as the parameter has it.

    Args:
        name: Name of the setting in print.
        printed: Its value in print.
        param: Name of our parameter.

    Returns:
        The value; None where the parameter has no such value.
    """
    if name == "points" and param == "k_up":
        root = math.isqrt(printed)
        return root if root * root == printed else None
    if name != param and param in VALUES:
        return VALUES[param].get(str(printed))
    return printed


def translated(settings: Mapping[str, Any], card: Card) -> dict[str, Any] | None:
    """Return the params that all settings of a row stand for; None where the upsampler has no such thing."""
    params: dict[str, Any] = {}
    for name, printed in _of_this_row(settings):
        if name in (implied := IMPLIED.get(card.name, {})):
            if implied[name] != printed:
                return None
            continue
        param_name = param(name, card)
        param_value = value(name, printed, param_name) if param_name else None
        if param_name is None or param_value is None:
            return None
        params[param_name] = param_value
    return params


def known(settings: Mapping[str, Any], card: Card) -> dict[str, Any]:
    """Return the params that are among the settings of a row.

    What is none of them says something else, a training detail or what the upsampler's name says already, and is left
    out.
    """
    defaults, params = card.defaults(), dict[str, Any]()
    for name, printed in settings.items():
        param_name = param(name, card)
        if param_name is not None:
            param_value = value(name, printed, param_name)
            param_value = printed if param_value is None else param_value
            params[param_name] = float(param_value) if isinstance(defaults[param_name], float) else param_value
    return params


def _of_this_row(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The settings where the row's upsampler is placed: `theta_mask_head` is theta there, and `theta` is theta elsewhere."""
    suffix = "_mask_head"
    inside = {name.removesuffix(suffix) for name in settings if name.endswith(suffix)}
    for name, printed in settings.items():
        if name not in NO_SETTING and name not in inside:
            yield name.removesuffix(suffix), printed
