"""`upbench compare 'dysample*' carafe` and `upbench compare all`: patterns of names, as the names that they stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import typer

from upbench import registry
from upbench.errors import SpecError

ALL = "all"
"""The pattern that stands for every upsampler."""


def expand(items: Sequence[str]) -> tuple[list[str], frozenset[str]]:
    """Return arguments with every pattern replaced by the names that it matches, each name once.

    Args:
        items: The arguments. A pattern has *, ? or [ in its name, and may have settings behind it, as 'dysample*:groups=4'.

    Returns:
        The arguments, and those of them that stand for a pattern: where they are impossible they are left out.

    Raises:
        SpecError: With a sentence for each pattern that matches nothing.
    """
    found: list[str] = []
    matched: set[str] = set()
    mistakes = []
    plain = {item for item in items if not _is_pattern(item)}
    for item in items:
        if item in plain:
            found.append(item)
            continue
        name, colon, settings = item.partition(":")
        names = [known for known in registry.names() if name == ALL or fnmatchcase(known, name)]
        if not names:
            mistakes.append(f"{item}: matches no upsampler; known: {', '.join(registry.names())}")
        typed = dict.fromkeys(f"{one}{colon}{settings}" for one in names)
        new = [one for one in typed if one not in plain and one not in matched]
        found += new
        matched.update(new)
    if mistakes:
        raise SpecError(mistakes)
    return found, frozenset(matched)


def say_left_out(reasons: Mapping[str, str]) -> None:
    """Say in one sentence which upsamplers of a pattern are left out, and why: by what was typed the reason."""
    if reasons:
        listed = "; ".join(f"{name} ({reason})" for name, reason in reasons.items())
        typer.echo(f"upbench: left out of the pattern: {listed}", err=True)


def _is_pattern(item: str) -> bool:
    """Whether an argument is a pattern, and no file whose name looks like one."""
    name = item.partition(":")[0]
    return (name == ALL or any(letter in name for letter in "*?[")) and not Path(item).exists()
