"""Which implementation of an op runs: the plain one ("eager"), or the fused one that stands beside it.

Every op with a fused form asks `choose` once per call. "auto" takes the fused form where it can run and the plain one
where it cannot; "fused" refuses with the reason; what was chosen is written down for whoever records it. A program that
is exported or traced holds the plain form whatever the backend, because it must run where upbench is not installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from upbench.errors import BackendError
from upbench.ops.registration import exporting

BACKENDS = ("auto", "eager", "fused")

_records: list[dict[str, str]] = []


def choose(op: str, backend: str, reason: str | None) -> str:
    """Either "eager" or "fused", for one call of `op`. reason: why the fused form cannot run here, None where it can.

    Raises BackendError for "fused" with a reason, and for an unknown backend.
    """
    if backend not in BACKENDS:
        raise BackendError(f"backend {backend!r} was asked for, but must be one of {', '.join(BACKENDS)}")
    if backend == "fused" and reason is not None and not exporting():
        raise BackendError(f"backend fused was asked for, but {op} cannot run fused: {reason}; use auto or eager")
    chosen = "eager" if backend == "eager" or reason is not None or exporting() else "fused"
    for record in _records:
        record[op] = chosen
    return chosen


@contextmanager
def recorded() -> Iterator[dict[str, str]]:
    """Collects op -> backend for every op with a choice that is called inside."""
    found: dict[str, str] = {}
    _records.append(found)
    try:
        yield found
    finally:
        _records.pop()
