"""`--runtime torch,onnxruntime`: each upsampler once for each runtime."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from upbench import runtimes
from upbench.errors import SpecError


def parse(text: str | None) -> list[str]:
    """Return the runtimes in "torch,onnxruntime", each once; none when the option was not given.

    Raises:
        SpecError: If one of them is unknown.
    """
    names = list(dict.fromkeys(part.strip() for part in text.split(","))) if text is not None else []
    if mistakes := [sentence for name in names if (sentence := runtimes.mistake(name))]:
        raise SpecError([f"--runtime {text}: a runtime {sentence}" for sentence in mistakes])
    return names


def spread(data: dict[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return a draft once for each runtime.

    Args:
        data: A spec as written.
        names: The runtimes; none leaves the draft as it is.
    """
    if not names:
        return [data]
    found = []
    for name in names:
        found.append(copy.deepcopy(data))
        found[-1].setdefault("measure", {})["runtime"] = name
    return found
