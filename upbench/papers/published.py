"""Tables that papers and their repositories printed, as data: read when they are asked for, judged when they are read.

One YAML per table, `published/<paper>/<table>.yaml`. A figure is known to half a unit of its last printed place.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from upbench import cards
from upbench.errors import UnknownName, suggestion, unknown
from upbench.specs import yaml_file
from upbench.specs.strict import Many, Strict, load

OUTSIDE = ("sapa-g", "unknown")
"""Upsamplers of the tables that upbench does not build: gated SAPA, and rows without a name."""


_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
_PRINTED = re.compile(r"([+-]?\d+)(?:\.(\d+))?([KMG]?)")


class Source(Strict):
    """Where a table was printed. table: its number, or the file of a repository."""

    paper: str
    venue: str
    table: str
    doi: str | None = None
    arxiv: str | None = None
    arxiv_stated_in_paper_text: bool | None = None
    repository: str | None = None
    commit: str | None = None


class Metric(Strict):
    """A column. decimals: printed places; host, dataset: where the columns of one table differ in them."""

    unit: str
    better: Literal["higher", "lower"] | None = Field(None, description="higher or lower")
    decimals: int | None = None
    printed_as: str | None = None
    host: str | None = None
    dataset: str | None = None
    note: str | None = None


class Figure(Strict):
    """A printed count of parameters or of multiply-accumulates (which papers call FLOPs).

    printed: as in the paper. delta: what it adds to the base row, 0 for the base row itself. total: of the base row.
    step: one unit of the last printed place; the figure is known to step / 2.
    """

    printed: str
    delta: int | None = None
    total: int | None = None
    step: int | None = Field(None, ge=1, description="an integer of at least 1")

    @model_validator(mode="after")
    def _judge(self) -> Figure:
        amount = self.delta if self.total is None else self.total
        if amount is None or self.step is None:
            return self
        found = _PRINTED.fullmatch(self.printed)
        if found is None:
            raise ValueError(f"printed {self.printed!r} is not a number as +41.0K, 208.5G or +2.65")
        whole, places, unit = found[1], found[2] or "", found[3]
        one = self.step * 10 ** len(places)
        value = int(whole.replace("+", "") + places) * self.step
        what = "delta" if self.total is None else "total"
        if amount != value or one not in ([_UNITS[unit]] if unit else _UNITS.values()):
            raise ValueError(f"{what} {amount} and step {self.step} are not those of the printed {self.printed}")
        return self


class Formula(Strict):
    """A printed formula in LaTeX, and as a Python expression in the table's variables."""

    printed: str
    expr: str


class Row(Strict):
    """One row. values: by metric. uncertain: the row's name or value is in doubt, and why says for which reason.

    candidates: what an upsampler "unknown" may be. note: ours, also on what we corrected.
    """

    upsampler: str
    label: str | None = None
    backbone: str | None = None
    host: str | None = None
    subtask: Literal["bbox", "segm"] | None = Field(None, description="bbox or segm")
    section: str | None = None
    settings: dict[str, Any] = Field({})
    values: dict[str, float]
    params: Figure | None = None
    flops: Figure | None = None
    formulas: dict[str, Formula] = Field({})
    candidates: Many[str] = ()
    reference: str | None = None
    uncertain: bool = False
    why: str | None = None
    note: str | None = None

    @model_validator(mode="after")
    def _judge(self) -> Row:
        known = [*cards.builtin(), *OUTSIDE]
        if self.upsampler not in known:
            raise ValueError(f"upsampler {self.upsampler!r} is not known{suggestion(self.upsampler, known)}")
        if self.uncertain != (self.why is not None):
            raise ValueError("an uncertain row says why, and only an uncertain one")
        return self


class Section(Strict):
    """A part of a table with its own task and host."""

    title: str
    task: str
    dataset: str
    host_model: str


class TimedInput(Strict):
    """The feature that a latency was measured on, as the paper states it."""

    channels: int
    height: int
    width: int
    scale: int


class Published(Strict):
    """One table. host_model: as printed; rows name a host of `hosts`. device and input: of latencies.

    variables: values of the letters in formulas, by upsampler where they differ.
    """

    id: str
    paper: str
    title: str
    source: Source
    task: str
    dataset: str
    host_model: str | None
    metrics: dict[str, Metric]
    notes: Many[str] = ()
    sections: dict[str, Section] = Field({})
    variables: dict[str, Any] = Field({})
    device: str | None = None
    input: TimedInput | None = None
    rows: Many[Row]

    @model_validator(mode="after")
    def _judge(self) -> Published:
        for n, row in enumerate(self.rows):
            strange = [m for m in (*row.values, *row.formulas) if m not in self.metrics]
            if strange:
                raise ValueError(f"rows[{n}]: {', '.join(strange)} is not among the metrics: {', '.join(self.metrics)}")
            if row.section is not None and row.section not in self.sections:
                raise ValueError(f"rows[{n}].section: {row.section!r} is not among the sections")
            if self.sections and row.section is None:
                raise ValueError(f"rows[{n}].section: is missing; known: {', '.join(self.sections)}")
        return self


def _folder() -> Any:
    return files("upbench.papers").joinpath("published")


@cache
def _found() -> tuple[str, ...]:
    papers = sorted(_folder().iterdir(), key=lambda p: str(p.name))
    return tuple(
        f"{paper.name}/{entry.name.removesuffix('.yaml')}"
        for paper in papers
        if paper.is_dir()
        for entry in sorted(paper.iterdir(), key=lambda e: _natural(e.name))
        if entry.name.endswith(".yaml")
    )


def _natural(name: str) -> tuple[str, int]:
    """table2 before table10."""
    stem = name.removesuffix(".yaml")
    head = stem.rstrip("0123456789")
    return head, int(stem[len(head) :] or 0)


def names() -> list[str]:
    """The ids of all tables, as 'lda-aqu/table5'."""
    return list(_found())


def table(name: str) -> Published:
    """The table with this id. Raises UnknownName with the nearest, or with the tables of a paper."""
    if name not in _found():
        own = [known for known in _found() if known.startswith(f"{name}/")]
        if own:
            raise UnknownName(f"{name!r} is a paper, not a table; its tables: {', '.join(own)}")
        raise unknown("published table", name, _found())
    return _named(name)


@cache
def _named(name: str) -> Published:
    paper, _, stem = name.partition("/")
    with as_file(_folder().joinpath(paper, f"{stem}.yaml")) as path:
        return load(Published, yaml_file.read(path)[0], f"papers/published/{name}.yaml")


def read_table(path: Path) -> Published:
    """A table in a file of the same form. Raises SpecError with all mistakes together."""
    return load(Published, *yaml_file.read(path, "a published table"))


def siblings(table: Published) -> list[Published]:
    """The other tables of the same paper, which have a say in how it counts."""
    return [other for name in names() if name != table.id and (other := _named(name)).paper == table.paper]
