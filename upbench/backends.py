"""The backends that can compute an op, by name: the one list, without torch, so that everything can name them.

A backend is a module that defines `BACKEND`, an `upbench.ops.dispatch.Backend`: which ops it computes, and the predicate
that says why it cannot. One more is one such module and one entry here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

MODULES: dict[str, str] = {"fused": "upbench.ops.backend_fused"}
"""Name of a backend -> its module; "auto" takes the first that can compute an op."""


def names() -> tuple[str, ...]:
    """Return the values of `backend` in a spec: "auto", "eager" (each op's own form), and every backend."""
    return ("auto", "eager", *MODULES)


def mistake(backend: str, upsampler: str, fused_ops: tuple[str, ...]) -> str | None:
    """Return why an upsampler cannot have a backend, as a clause that begins with "is"; None where it can.

    Args:
        backend: Name of the backend.
        upsampler: Name of the upsampler, for the clause.
        fused_ops: The ops of the upsampler that backends may compute.
    """
    if backend not in names():
        return f"is {backend!r}, but must be {', '.join(names()[:-1])} or {names()[-1]}"
    if backend in MODULES and not fused_ops:
        return f"is {backend}, but {upsampler} has no {backend} backend; use auto or eager"
    return None


if TYPE_CHECKING:
    Name = str
else:
    Name = Literal[names()]
    """The names as a type that pydantic checks."""
