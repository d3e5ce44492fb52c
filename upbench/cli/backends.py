"""`--backend eager,fused`: each upsampler once for each backend that it has."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import typer

from upbench import backends
from upbench.errors import SpecError, UpbenchError

KNOWN = backends.names()


def parse(text: str | None) -> list[str]:
    """Return the backends in "eager,fused", each once; none when the option was not given.

    Raises:
        SpecError: If one of them is unknown.
    """
    names = list(dict.fromkeys(part.strip() for part in text.split(","))) if text is not None else []
    if wrong := [name for name in names if name not in KNOWN]:
        listed = ", ".join(repr(name) for name in wrong)
        raise SpecError(
            [f"--backend {text}: {listed} is unknown; known: {', '.join(KNOWN)}, or several as eager,fused"]
        )
    return names


def spread(data: dict[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return a draft once for each backend.

    Of several backends, those that an upsampler does not have are left out, with a sentence on stderr.

    Args:
        data: A spec as written.
        names: The backends; none leaves the draft as it is.
    """
    from upbench import registry

    if not names:
        return [data]
    kept = list(names)
    if len(names) > 1 and (named := [name for name in names if name in backends.MODULES]):
        try:
            if not registry.get(str(data.get("upsampler"))).fused_ops:
                kept = [name for name in names if name not in named]
                listed = " and ".join(kept)
                typer.echo(
                    f"upbench: {data['upsampler']} has no {' or '.join(named)} backend; it is measured {listed} alone",
                    err=True,
                )
        except UpbenchError:  # reported where the spec is judged
            pass
    found = []
    for name in kept:
        found.append(copy.deepcopy(data))
        found[-1].setdefault("measure", {})["backend"] = name
    return found
