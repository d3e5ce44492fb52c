"""Proxy scores of a sweep's cells, as `upbench quality` measured them: kept beside the results, joined to records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from upbench.errors import SpecError
from upbench.records.accuracy import Accuracy
from upbench.records.record import Record


@dataclass(frozen=True)
class Proxy:
    """The scores of one upsampler with its params.

    Args:
        upsampler: Its name, as a cell has it.
        params: All of its params, as a cell has them.
        scores: Name of a column -> the score, of the origin "proxy".
    """

    upsampler: str
    params: Mapping[str, Any]
    scores: Mapping[str, Accuracy] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return it as YAML has it; `of_document` reads it."""
        scores = {name: one.model_dump(mode="json", exclude_defaults=True) for name, one in self.scores.items()}
        return {"upsampler": self.upsampler, "params": dict(self.params), "scores": scores}


def of_document(data: Any, source: str) -> Proxy:
    """Read one of `Proxy.document`. Raises SpecError that names the source where it is none."""
    try:
        scores = {name: Accuracy.model_validate(one) for name, one in data["scores"].items()}
        return Proxy(str(data["upsampler"]), dict(data["params"]), scores)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SpecError([f"{source}: holds a proxy that cannot be read ({error}); run the sweep again"]) from None


def of_records(proxies: Sequence[Proxy], records: Sequence[Record]) -> dict[int, Mapping[str, Accuracy]]:
    """Return the scores of each record that has some, by its index."""
    found: dict[int, Mapping[str, Accuracy]] = {}
    for n, record in enumerate(records):
        for one in proxies:
            if record.settings.upsampler == one.upsampler and record.settings.params == dict(one.params):
                found[n] = one.scores
    return found
