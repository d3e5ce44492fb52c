"""From what a caller gives to a spec as it is written, not yet validated."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from upbench.specs import yaml_file
from upbench.sweeping import axes

SOURCE = "upbench.spec"


def draft(
    upsampler: str | Path | Mapping[str, Any],
    shape: object,
    params: Mapping[str, Any] | None,
    options: Mapping[str, Any],
) -> tuple[dict[str, Any], str]:
    """Return a spec as written, not yet validated, and its source for messages."""
    source = SOURCE
    if isinstance(upsampler, Mapping):
        data = copy.deepcopy(dict(upsampler))
    elif isinstance(upsampler, Path) or str(upsampler).endswith((".yaml", ".yml")):
        data, source = yaml_file.read(Path(upsampler))
    else:
        data = {"upsampler": upsampler}
    given = {**options, **({} if shape is None else {"shape": list(shape) if isinstance(shape, tuple) else shape})}
    for key, value in given.items():
        if value is not None or key == "threads":
            axes.set_value(data, key, value)
    if given.get("shape") is not None:
        axes.give_way(data, given)
    for key, value in (params or {}).items():
        data.setdefault("params", {})[key] = value
    return data, source
