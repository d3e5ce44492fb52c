"""Names of models of common libraries, and how each is built. Needs neither torch nor the libraries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from upbench.errors import unknown

FILE = Path(__file__).with_name("catalogue.yaml")


@cache
def entries() -> dict[str, dict[str, Any]]:
    """Return the named models: name, in which a part in braces stands for any -> how it is built."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())
    return found


def names() -> list[str]:
    """Return a name for each entry."""
    return [entry.get("example", name) for name, entry in entries().items()]


def entry(name: str) -> tuple[Mapping[str, Any], dict[str, str]]:
    """Return how a model is built, and the parts of its name that stand in braces.

    Args:
        name: The name, as "smp/unet-resnet50".

    Raises:
        UnknownName: If there is no such model.
    """
    for known, found in entries().items():
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(known))
        if match := re.fullmatch(pattern, name):
            return found, match.groupdict()
    raise unknown("model", name, names())
