"""How a cell that was not measured is shown, and what is said about it."""

from __future__ import annotations

from upbench import units
from upbench.record import Record

SHOWN = {"oom": "OOM", "timeout": "timeout", "crashed": "crash", "error": "error", "impossible": "n/a"}
WORDS = {
    "oom": "out of memory",
    "timeout": "not done in the time it was given",
    "crashed": "its process died",
    "error": "it raised an error",
    "impossible": "impossible: it breaks a rule of the upsampler",
}


def text(record: Record) -> str:
    """'OOM', 'timeout', 'crash', 'error', 'n/a'; a dash for a measured cell."""
    return SHOWN.get(record.status, units.DASH)


def reason(record: Record) -> str:
    """The footnote: what it means, and what was said when it happened, on one line."""
    said = " ".join((record.error or "").split())
    return f"{WORDS[record.status]}{': ' if said else ''}{said.removesuffix('.')}"
