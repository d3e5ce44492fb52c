"""What is measured in a real model, as values that another process can be sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from upbench.records.record import Record, from_dict

AS_IT_IS = "as it is"
"""Label of the model with its own upsampling."""
NOTICE = -1.0
"""What is told with this in place of the part that is done is no step: it stays on the screen."""


@dataclass(frozen=True)
class ModelJob:
    """A model, and the upsamplers that take the place of its own.

    Args:
        model: Name, or package.module:callable.
        arguments: Keyword arguments of what builds it.
        weights: File of its weights; None for random ones.
        image: Height and width of the image in pixels; None where `inputs` makes the inputs.
        inputs: FILE:FUNCTION that makes the inputs; None where `image` says their size.
        batch: Number of images.
        where: Names or patterns of the sites; None for all feature maps.
        rows: Of each upsampler its label, name, params and backend.
        timed: False counts alone.
        spec: A spec whose `input.seed` and `measure` hold for all.
    """

    model: str
    rows: Sequence[Mapping[str, Any]]
    spec: Mapping[str, Any]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None
    image: Sequence[int] | None = None
    inputs: str | None = None
    batch: int = 1
    where: Sequence[str] | None = None
    timed: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return the job as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class InModel:
    """What was measured of one upsampler in a model.

    Args:
        record: Record of the whole model; its spec has the key `model`.
        sites: Names of the calls that are answered.
        share: Part of the time of a forward that these calls take, 0 to 1; None where it was not measured.
        notes: What else a reader should know.
    """

    record: Record
    sites: Sequence[str]
    share: float | None
    notes: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "record": self.record.to_dict(),
            "sites": list(self.sites),
            "share": self.share,
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> InModel:
        """Return what `to_dict` wrote."""
        record = from_dict(data["record"], "the record of a worker")
        return cls(record, data["sites"], data["share"], data["notes"])
