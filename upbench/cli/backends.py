"""`--backend eager,fused`: each upsampler once for each backend that it has."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import typer

from upbench.errors import SpecError, UpbenchError

KNOWN = ("auto", "eager", "fused")


def parse(text: str | None) -> list[str]:
    """The backends in 'eager,fused', each once; none when nothing was given. Raises SpecError for unknown ones."""
    names = list(dict.fromkeys(part.strip() for part in text.split(","))) if text is not None else []
    if wrong := [name for name in names if name not in KNOWN]:
        listed = ", ".join(repr(name) for name in wrong)
        raise SpecError(
            [f"--backend {text}: {listed} is unknown; known: {', '.join(KNOWN)}, or several as eager,fused"]
        )
    return names


def spread(data: dict[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """A draft once for each backend. Of several, those that an upsampler does not have are left out, which is said."""
    from upbench import registry

    if not names:
        return [data]
    kept = list(names)
    if "fused" in names and len(names) > 1:
        try:
            if not registry.get(str(data.get("upsampler"))).fused:
                kept.remove("fused")
                listed = " and ".join(kept)
                typer.echo(
                    f"upbench: {data['upsampler']} has no fused backend; it is measured {listed} alone", err=True
                )
        except UpbenchError:  # said where the spec is judged
            pass
    found = []
    for name in kept:
        found.append(copy.deepcopy(data))
        found[-1].setdefault("measure", {})["backend"] = name
    return found
