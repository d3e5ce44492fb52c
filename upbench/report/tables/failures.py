"""How a cell that was not measured is shown, and what is said about it."""

from __future__ import annotations

from upbench import units
from upbench.records.record import Record

SHOWN = {"oom": "OOM", "timeout": "timeout", "crashed": "crash", "error": "error", "impossible": "n/a"}
"""The text of a cell of each status in a table."""
WORDS = {
    "oom": "out of memory",
    "timeout": "not done in the time it was given",
    "crashed": "its process died",
    "error": "it raised an error",
    "impossible": "impossible: it breaks a rule of the upsampler",
}
"""The meaning of each status, in words."""


def text(record: Record) -> str:
    """Return what is shown for a cell: 'OOM', 'timeout', 'crash', 'error', 'n/a', or a dash where it was measured."""
    return SHOWN.get(record.status, units.DASH)


def reason(record: Record) -> str:
    """Return the footnote of a failed cell: what its status means, and the error message on one line."""
    message = " ".join((record.error or "").split())
    return f"{WORDS[record.status]}{': ' if message else ''}{message.removesuffix('.')}"
