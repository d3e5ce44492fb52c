"""What came of one upsampler in one runtime. Needs no torch."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

STEPS = ("capture", "conversion", "load", "run")
"""What is done with an upsampler, in this order."""
VERDICTS = {
    "right": "its values are within the limit at every size that it was run at",
    "wrong": "it runs, and its values are off by more than the limit, or its map has another size",
    "unjudged": "it runs in a precision that eager has no form of, so that its error has no limit",
    "converted": "the file is written; nothing on this machine runs it",
    "failed": "a step was refused, or it ran into an error",
    "timed out": "it took longer than --limit",
    "crashed": "the process died",
    "not installed": "a package is missing",
}
"""Verdict of a cell -> what it means."""


@dataclass
class Cell:
    """One upsampler in one runtime.

    Attributes:
        upsampler: The upsampler as it was named, with its settings.
        runtime: Name of the target.
        variant: How the runtime was asked to run it, as "float32" or "int8".
        input: Sizes of the inputs that it was traced with.
        verdict: One of `VERDICTS`.
        step: The step at which it ended; None where it came to the end.
        reason: Why it ended there, in one line.
        version: Version of the runtime's package.
        left: Operators in the file that no standard domain has, with how often they occur; None where nobody can say.
        sizes: Sizes of the inputs as the file has them; an open one is a name. None where a file does not say.
        error: Largest error at the traced size, as a part of the largest value; inf for another shape.
        other_size: Sizes of the inputs at another size.
        other_error: Error at that size; None for a file of one size.
        limit: Largest accepted error, the larger one of both sizes.
        own_error: Error that eager has by itself in the precision in effect.
        precision_asked: What was asked of the runtime.
        precision: What the runtime says is in effect.
        eager_s: Processor seconds of a call of the plain form, one a round.
        fused_s: The same of the fused form; none where there is none.
        runtime_s: The same of the runtime.
        nodes: Number of operators in the file.
        opset: Opset of ONNX.
        bytes: Size of the file.
        wall_s: Seconds that the cell took.
    """

    upsampler: str
    runtime: str
    variant: str
    input: str = ""
    verdict: str = "failed"
    step: str | None = None
    reason: str | None = None
    version: str | None = None
    left: dict[str, int] | None = None
    sizes: list[list[int | str]] | None = None
    error: float | None = None
    other_size: str | None = None
    other_error: float | None = None
    limit: float | None = None
    own_error: float | None = None
    precision_asked: str | None = None
    precision: str | None = None
    eager_s: list[float] = field(default_factory=list)
    fused_s: list[float] = field(default_factory=list)
    runtime_s: list[float] = field(default_factory=list)
    nodes: int | None = None
    opset: int | None = None
    bytes: int | None = None
    wall_s: float | None = None

    @property
    def to_eager(self) -> float | None:
        """Median of the ratios to the plain form, taken round by round; None where nothing was timed."""
        return _ratio(self.runtime_s, self.eager_s)

    @property
    def to_fused(self) -> float | None:
        """Median of the ratios to the fused form, taken round by round; None where there is none."""
        return _ratio(self.runtime_s, self.fused_s)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Cell:
        """Read what `to_dict` wrote; unknown keys are left out."""
        known = {f.name for f in fields(cls)}
        return cls(**{key: value for key, value in data.items() if key in known})


def _ratio(ours: list[float], theirs: list[float]) -> float | None:
    if not ours or not theirs:
        return None
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
