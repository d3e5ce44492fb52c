"""Where the cells of a sweep run: one engine a file, each with a function `crew`; `local` is the default and the reference."""

from __future__ import annotations

from importlib import import_module

from upbench.sweeping.engines.choice import ENGINES
from upbench.sweeping.engines.crew import Opened


def find(name: str) -> Opened:
    """Return the function of an engine that opens its crew.

    Args:
        name: One of ENGINES.
    """
    found: Opened = import_module(f"{__name__}.{ENGINES[name]}").crew
    return found
