"""What is said to who measures in a model: how a parameter is set that does not fit there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from upbench.errors import SpecError

_NO_DIVISOR = re.compile(r"params\.(\w+) is (\d+), which does not divide .*; possible here: ([\d, ]+)")


@contextmanager
def on_parameters(upsampler: str, alone: bool) -> Iterator[None]:
    """Add to a parameter that does not divide the channels of a site how another value is given.

    Args:
        upsampler: Name of the upsampler that is built inside the block.
        alone: Whether it is the only one, so that `--set` is of it alone.
    """
    try:
        yield
    except SpecError as error:
        raise SpecError([mistake + _way(mistake, upsampler, alone) for mistake in error.mistakes]) from error


def _way(mistake: str, upsampler: str, alone: bool) -> str:
    """Return how the possible value is given that is the next below what does not fit; empty for other mistakes."""
    found = _NO_DIVISOR.match(mistake)
    if found is None:
        return ""
    fits = [int(text) for text in found[3].split(",") if int(text) < int(found[2])]
    given = f"{found[1]}={max(fits)}"
    return f"; give --set {given}" if alone else f"; write {upsampler}:{given}"
