"""Kinds of machines: those on which all passes of a cell and of its reference may run. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from upbench.errors import DeviceError
from upbench.records.origin import KEY

Environment = dict[str, Any]
FIELDS = (*KEY, "driver", "cudnn")
"""The parts of an environment in which two machines of one kind are equal."""


def kind(env: Mapping[str, Any]) -> tuple[Hashable, ...]:
    """Return what tells kinds of machines apart: device, threads, driver and versions."""
    return tuple(env.get(name) for name in FIELDS)


def text(env: Mapping[str, Any]) -> str:
    """Return a kind in words, as "NVIDIA H100, torch 2.13.0, driver 570.86"."""
    threads = f"{env.get('threads')} threads" if env.get("device_type") == "cpu" else ""
    driver = f"driver {env['driver']}" if env.get("driver") else ""
    return ", ".join(part for part in (str(env.get("device")), threads, f"torch {env.get('torch')}", driver) if part)


def choose(
    environments: Sequence[Environment],
    on: str | None,
    finished: Callable[[Environment], int],
) -> tuple[list[Environment], list[str]]:
    """Choose the machines of one kind, since ratios are taken within one kind only.

    Args:
        environments: Of all machines; at least one.
        on: Text that the kind must contain; None for any.
        finished: Returns how many cells were measured in an environment already: their kind goes on.

    Returns:
        Those of the kind with most finished cells, then with most machines; and a sentence where others take no part.

    Raises:
        DeviceError: If no machine is of the kind that was asked for.
    """
    groups: dict[tuple[Hashable, ...], list[Environment]] = {}
    for env in environments:
        groups.setdefault(kind(env), []).append(env)
    fitting = [g for g in groups.values() if on is None or on.casefold() in text(g[0]).casefold()]
    if not fitting:
        known = "; ".join(dict.fromkeys(text(group[0]) for group in groups.values()))
        raise DeviceError(f"--on {on!r}: no node is of that kind; the kinds are: {known}")
    best = max(fitting, key=lambda group: (finished(group[0]), len(group)))
    others = [group for group in fitting if group is not best]
    if not others:
        return best, []
    named = "; ".join(f"{', '.join(str(env['device_id']) for env in g)} ({text(g[0])})" for g in others)
    return best, [
        f"all cells are measured on {text(best[0])}, since ratios are taken on one kind of machine only; of another "
        f"kind, and left out: {named}; --on selects the kind"
    ]
