"""The backends that can compute an op, by name: the one list, without torch, so that everything can name them.

A backend is a module that defines `BACKEND`, an `upbench.ops.dispatch.Backend`: which ops it computes, and the predicate
that says why it cannot. One more is one such module and one entry here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

MODULES: dict[str, str] = {"fused": "upbench.ops.backend_fused"}
"""Backend -> its module; "auto" takes the first that can compute."""


def names() -> tuple[str, ...]:
    """What may be asked for: "auto", "eager" (each op's own form), and every backend."""
    return ("auto", "eager", *MODULES)


def mistake(backend: str, upsampler: str, fused_ops: tuple[str, ...]) -> str | None:
    """Why an upsampler cannot have a backend, as a sentence that begins "is"; None where it can.

    Args:
        backend: the name that was given.
        upsampler: the name to say.
        fused_ops: the ops of the upsampler that backends may compute.
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
