"""The quality of a sweep's cells: `quality:` in its file, the study that it asks for, and its scores beside the costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from upbench.accuracy.proxies import Proxy
from upbench.analysis.paired import Difference
from upbench.errors import SpecError, UnknownName, UpbenchError
from upbench.quality import candidates, kinds
from upbench.quality.judging import Judged, Judgement, judge
from upbench.quality.protocol import Candidate, Protocol
from upbench.quality.rows import Row
from upbench.quality.study import Study
from upbench.records.accuracy import Accuracy
from upbench.specs import strict
from upbench.specs.run_spec import RunSpec

DECIMALS = 2


class _Asked(Protocol):
    """The section `quality` of a sweep: a protocol, and what the cells are compared with."""

    reference: str = Field("bilinear", description="the name of an upsampler")


@dataclass(frozen=True)
class OfSweep:
    """The study of a sweep.

    Args:
        study: The study, the reference first.
        cells: Upsampler and params of cells, each with its candidate.
        left_out: A sentence for each upsampler that the host has no place for.
    """

    study: Study
    cells: tuple[tuple[str, Mapping[str, Any], Candidate], ...]
    left_out: tuple[str, ...]


def read(section: object, specs: Sequence[RunSpec], source: str) -> OfSweep:
    """Return the study that the section `quality` of a sweep asks for.

    Args:
        section: The section as YAML gives it; null or an empty one has every default.
        specs: The specs of the cells; those of one upsampler with the same params are one candidate.
        source: The file, named in every message.

    Raises:
        SpecError: If the section has mistakes, or none of the cells can take part.
    """
    data = dict(section) if isinstance(section, Mapping) else section if section is not None else {}
    if isinstance(data, dict):
        if data.get("folder") is not None:
            raise SpecError([f"{source}: quality.folder: write data: {data['folder']}, which names the folder"])
        if isinstance(where := data.get("data"), str) and where not in kinds.names("data"):
            data |= {"data": "folder", "folder": str(Path(str(source)).parent / where)}
    asked = strict.load(_Asked, data, f"{source}: quality")
    protocol = Protocol.model_validate(asked.model_dump(exclude={"reference"}))
    try:
        protocol.check()
    except UnknownName as error:
        raise SpecError([f"{source}: quality: {error}"]) from None
    base = candidates.candidate({"upsampler": asked.reference}, protocol, f"{source}: quality.reference")
    cells: list[tuple[str, Mapping[str, Any], Candidate]] = []
    left_out: list[str] = []
    for spec in specs:
        if any(name == spec.upsampler and params == spec.params for name, params, _ in cells):
            continue
        try:
            one = candidates.candidate(_own(spec), protocol, "quality")
        except UpbenchError as error:
            left_out.append(f"{spec.label} has no proxy: {str(error).removeprefix('quality: ')}")
            continue
        cells.append((spec.upsampler, spec.params, one))
    found = tuple(dict.fromkeys(one.key for *_, one in cells))
    by_key = {one.key: one for *_, one in cells}
    others = tuple(by_key[key] for key in found if key != base.key)
    if not others:
        raise SpecError([f"{source}: quality compares no cell with {base.label}", *left_out])
    return OfSweep(Study(protocol, (base, *others)), tuple(cells), tuple(dict.fromkeys(left_out)))


def _own(spec: RunSpec) -> dict[str, Any]:
    """A cell's upsampler with the params that are not the defaults, so that a gate stays off unless it is set."""
    defaults = spec.card.defaults()
    return {"upsampler": spec.upsampler, "params": {k: v for k, v in spec.params.items() if defaults.get(k) != v}}


def proxies(asked: OfSweep, rows: Sequence[Row], about: str) -> tuple[Proxy, ...]:
    """Return the scores of the cells, each with what it was judged.

    Args:
        asked: The study.
        rows: Its rows.
        about: What the pictures are.
    """
    protocol = asked.study.protocol
    heads = kinds.load("task", protocol.task).METRICS
    judgements = {head: judge(asked.study, rows, score) for score, head in heads.items()}
    where = f"{protocol.task} in {protocol.host}, {about}, {protocol.steps} steps"
    found = []
    for upsampler, params, one in asked.cells:
        scores = {
            head: score
            for head, judgement in judgements.items()
            if (score := _score(judgement.of(one.label), judgement, asked.study, where)) is not None
        }
        if scores:
            found.append(Proxy(upsampler, params, scores))
    return tuple(found)


def _score(row: Judged, judgement: Judgement, study: Study, where: str) -> Accuracy | None:
    if row.mean is None or not row.scores:
        return None
    values = list(row.scores.values())
    sd = (sum((v - row.mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5 if len(values) > 1 else None
    early = "EARLY LEARNING, " if study.protocol.early else ""
    said = "the base" if row.against is None else _against(row, row.against, judgement, study.base.label)
    return Accuracy(
        value=row.mean,
        sd=sd,
        runs=len(values),
        unit="percent",
        decimals=DECIMALS,
        origin="proxy",
        source=f"{early}{where}; {row.label}: {said}",
    )


def _against(row: Judged, found: Difference, judgement: Judgement, base: str) -> str:
    interval = "" if found.low is None else f" ({found.low:+.2f} to {found.high:+.2f})"
    resolution = "" if judgement.resolution is None else f", resolution {judgement.resolution:.2f}"
    return f"{found.mean:+.2f}{interval} to {base}{resolution}: {row.verdict}"
