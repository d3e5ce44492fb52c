"""Names of models of common libraries, and how each is built. Needs neither torch nor the libraries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from upbench.errors import UnknownName, unknown
from upbench.user_code import modules

FILE = Path(__file__).with_name("catalogue.yaml")


@cache
def entries() -> dict[str, dict[str, Any]]:
    """Return the named models: name, in which a part in braces stands for any -> how it is built."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())
    return found


def names() -> list[str]:
    """Return a name for each entry."""
    return [entry.get("example", name) for name, entry in entries().items()]


def _fits(name: str, known: str) -> dict[str, str] | None:
    """Return what stands in a name for the braces of a known one; None where the name is another."""
    match = re.fullmatch(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(known)), name)
    return None if match is None else match.groupdict()


def entry(name: str) -> tuple[Mapping[str, Any], dict[str, str]]:
    """Return how a model is built, and the parts of its name that stand in braces.

    Args:
        name: The name, as "smp/unet-resnet50".

    Raises:
        UnknownName: If there is no such model.
    """
    for known, found in entries().items():
        if (parts := _fits(name, known)) is not None:
            return found, parts
    if sentence := modules.spelling(name):
        raise UnknownName(f"unknown model {name!r}; {sentence}")
    if written := _with_library(name):
        raise UnknownName(
            f"unknown model {name!r}; a model's name begins with its library: write {' or '.join(written)}; one of your own "
            "is written package.module:callable"
        )
    raise unknown("model", name, names())


def _with_library(name: str) -> list[str]:
    """Return the names that a name may stand for that lacks its library: those of a known form, else of any library."""
    fitting = {
        f"{library}/{name}": rest
        for known in entries()
        for library, _, rest in [known.partition("/")]
        if name and _fits(f"{library}/{name}", known) is not None
    }
    return [whole for whole, rest in fitting.items() if rest != "{name}"] or list(fitting)
