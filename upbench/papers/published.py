"""Tables that papers and their repositories printed, as data: read when they are needed, judged when they are read.

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


OWN: dict[str, Any] = {
    "paper": "own",
    "title": "",
    "task": "",
    "dataset": "",
    "host_model": None,
}
"""What a user's own table need not say."""
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
_PRINTED = re.compile(r"([+-]?\d+)(?:\.(\d+))?([KMG]?)")


class Source(Strict):
    """Where a table was printed; `table` is its number, or the file of a repository."""

    paper: str
    venue: str
    table: str
    doi: str | None = None
    arxiv: str | None = None
    arxiv_stated_in_paper_text: bool | None = None
    repository: str | None = None
    commit: str | None = None


class Metric(Strict):
    """A column of a table; `host` and `dataset` are named where the columns of one table differ in them."""

    unit: str
    better: Literal["higher", "lower"] | None = Field(None, description="higher or lower")
    decimals: int | None = None
    printed_as: str | None = None
    host: str | None = None
    dataset: str | None = None
    note: str | None = None


class Figure(Strict):
    """A printed count of parameters or of multiply-accumulates (which papers call FLOPs).

    Args:
        printed: The figure as in the paper.
        delta: What it adds to the base row; 0 for the base row itself.
        total: The figure of the base row.
        step: One unit of the last printed place; the figure is known to step / 2.
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
        parts = _PRINTED.fullmatch(self.printed)
        if parts is None:
            raise ValueError(f"printed {self.printed!r} is not a number as +41.0K, 208.5G or +2.65")
        whole, decimals, unit = parts[1], parts[2] or "", parts[3]
        one_unit = self.step * 10 ** len(decimals)
        value = int(whole.replace("+", "") + decimals) * self.step
        what = "delta" if self.total is None else "total"
        if amount != value or one_unit not in ([_UNITS[unit]] if unit else _UNITS.values()):
            raise ValueError(f"{what} {amount} and step {self.step} are not those of the printed {self.printed}")
        return self


class Formula(Strict):
    """A printed formula in LaTeX, and as a Python expression in the table's variables."""

    printed: str
    expr: str


class Row(Strict):
    """One row of a table.

    Args:
        values: The value of each metric.
        uncertain: Whether the name or a value of the row is in doubt; `why` says for which reason.
        candidates: What an upsampler "unknown" may be.
        note: Our note, also on what we corrected.
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
        if self.upsampler not in known and ":" not in self.upsampler:
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
    """The feature map that a latency was measured on, as the paper states it."""

    channels: int
    height: int
    width: int
    scale: int


class Published(Strict):
    """One published table.

    Args:
        host_model: The host as printed; rows name a host of `hosts`.
        device: The device that latencies were measured on.
        input: The feature map that they were measured on.
        variables: The values of the letters in formulas, by upsampler where they differ.
    """

    id: str = Field(description="a name")
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
            unknown_metrics = [m for m in (*row.values, *row.formulas) if m not in self.metrics]
            if unknown_metrics:
                raise ValueError(
                    f"rows[{n}]: {', '.join(unknown_metrics)} is not among the metrics: {', '.join(self.metrics)}"
                )
            if row.section is not None and row.section not in self.sections:
                raise ValueError(f"rows[{n}].section: {row.section!r} is not among the sections")
            if self.sections and row.section is None:
                raise ValueError(f"rows[{n}].section: is missing; known: {', '.join(self.sections)}")
        return self


def _folder() -> Any:
    return files("upbench.papers").joinpath("published")


@cache
def _ids() -> tuple[str, ...]:
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
    """Return the ids of all tables, as 'lda-aqu/table5'."""
    return list(_ids())


def table(name: str) -> Published:
    """Return the table with an id.

    Raises:
        UnknownName: There is no such table; the error names the nearest, or the tables of a paper.
    """
    if name not in _ids():
        of_paper = [known for known in _ids() if known.startswith(f"{name}/")]
        if of_paper:
            raise UnknownName(f"{name!r} is a paper, not a table; its tables: {', '.join(of_paper)}")
        raise unknown("published table", name, _ids())
    return _named(name)


@cache
def _named(name: str) -> Published:
    paper, _, stem = name.partition("/")
    with as_file(_folder().joinpath(paper, f"{stem}.yaml")) as path:
        return load(Published, yaml_file.read(path)[0], f"papers/published/{name}.yaml")


def read_table(path: Path) -> Published:
    """Return the table in a file of the same form.

    Raises:
        SpecError: The file has mistakes; the error lists all of them together.
    """
    data, source = yaml_file.read(path, "a published table")
    own = {"source": {"paper": "own table", "venue": "unpublished", "table": path.stem}, "id": path.stem}
    return load(Published, {**OWN, **own, **data}, source)


def is_file(name: str) -> bool:
    """Return whether a published table is named by its file."""
    return name.endswith((".yaml", ".yml"))


def find(name: str) -> Published:
    """Return the table with an id, or the one in a file.

    Raises:
        UnknownName: There is no table of this id.
        SpecError: The file has mistakes; the error lists all of them together.
    """
    return read_table(Path(name)) if is_file(name) else table(name)


def siblings(table: Published) -> list[Published]:
    """Return the other tables of the same paper, which help to decide how it counts."""
    return [sibling for name in names() if name != table.id and (sibling := _named(name)).paper == table.paper]
