"""Accuracy that users give: tables of settings and metrics, in CSV or YAML, or in a sweep.

A row names settings (a column for each axis or param, or the name of an upsampler) and holds the value of each metric.
Rows of several runs are told apart by a column `seed`; shown is their mean, with the standard deviation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from upbench.errors import SpecError
from upbench.papers.given_file import GivenMetric, Raw, RawRow, raw_csv, raw_rows, raw_yaml
from upbench.papers.given_values import Number, is_missing, parsed, split_name

NAMES = ("name", "upsampler", "label")
"""Columns that hold the name of an upsampler."""
RUNS = ("seed", "run", "trial", "fold")
"""Columns that tell the runs of one setting apart."""
REMARKS = ("note", "notes", "comment", "remark", "source", "reference", "")
"""Columns that are for readers only."""
_SPREAD = re.compile(r"(.+?)[ _](sd|std|stdev)", re.IGNORECASE)
_COUNT = re.compile(r"(.+?)[ _](runs|seeds|n)", re.IGNORECASE)


@dataclass(frozen=True)
class Value:
    """The value of a metric: the mean of several runs, or one number."""

    mean: float
    sd: float | None = None
    runs: int | None = None


@dataclass(frozen=True)
class GivenRow:
    """The settings of a row and its values; `where` is its line, for messages."""

    where: str
    keys: Mapping[str, Any]
    values: Mapping[str, Value]

    @property
    def name(self) -> str:
        """Return its settings in words: 'theta=5, groups=2', or the name alone."""
        shown = [str(v) if k in NAMES else f"{k}={'null' if v is None else v}" for k, v in self.keys.items()]
        return ", ".join(shown) or "no settings"


@dataclass(frozen=True)
class GivenTable:
    """A table of accuracy.

    Args:
        source: The file, as it is named in messages and under tables.
        metrics: Name -> unit, which value is better, decimals.
        rows: One row for each setting, its runs taken together.
    """

    source: str
    metrics: Mapping[str, GivenMetric]
    rows: tuple[GivenRow, ...] = field(default_factory=tuple)

    def document(self) -> dict[str, Any]:
        """Return the table as a YAML file has it; `of_document` reads the same table from it."""
        rows = []
        for row in self.rows:
            one = dict(row.keys)
            for name, value in row.values.items():
                one[name] = value.mean
                one |= {f"{name}_{key}": v for key, v in (("sd", value.sd), ("runs", value.runs)) if v is not None}
            rows.append(one)
        metrics = {name: metric.model_dump(exclude_none=True) for name, metric in self.metrics.items()}
        return {"source": self.source, "metrics": metrics, "rows": rows}


def read(path: Path) -> GivenTable:
    """Return the table of accuracy in a CSV or YAML file.

    Raises:
        SpecError: The file cannot be read, or has mistakes; the error lists all of them together.
    """
    if path.suffix.lower() in (".yaml", ".yml"):
        return _table(raw_yaml(path))
    return _table(raw_csv(path))


def of_document(data: object, source: str, folder: Path | None = None) -> GivenTable:
    """Return the table of accuracy in a value as YAML gives it.

    Args:
        data: A list of rows, or a mapping of metrics and rows; where a folder is given also the path of a file in it.
        source: Where it stands, for messages.
        folder: The folder that such a path begins in.

    Raises:
        SpecError: It has mistakes; the error lists all of them together.
    """
    if isinstance(data, str) and folder is not None:
        return read(folder / data)
    return _table(raw_rows(data, source))


def _table(raw: Raw) -> GivenTable:
    """The table of rows as they were read: columns told apart, values read, runs taken together."""
    mistakes = list(raw.mistakes)
    columns, metrics = _columns(raw, mistakes)
    rows: dict[str, list[tuple[RawRow, dict[str, Any], dict[str, list[Number]]]]] = {}
    for row in raw.rows:
        keys = _keys(row, columns)
        numbers = {name: _numbers(row, name, metrics[name], mistakes) for name in metrics}
        rows.setdefault(repr(sorted((k, str(v)) for k, v in keys.items())), []).append((row, keys, numbers))
    if not metrics:
        mistakes.append(
            f"{raw.source}: has no metric; name one by its usual name, as AP or mIoU, or say which value is better in the "
            f"head of its column, as 'score (higher)' or 'RMSE (m, lower)'"
        )
    given = []
    for runs in rows.values():
        mistakes += _repeated(raw, runs)
        values = {n: v for n in metrics if (v := _value(raw, n, runs, mistakes)) is not None}
        given.append(GivenRow(runs[0][0].where, runs[0][1], values))
    if not raw.rows and not mistakes:
        mistakes.append(f"{raw.source}: has no rows; give one for each setting")
    if mistakes:
        raise SpecError(list(dict.fromkeys(mistakes)))
    return GivenTable(raw.named or raw.source, metrics, tuple(given))


def _columns(raw: Raw, mistakes: list[str]) -> tuple[dict[str, str], dict[str, GivenMetric]]:
    """Column -> what it is ("key", "metric", "run", "sd", "runs", "remark"), and the metrics."""
    metrics = dict(raw.metrics)
    kinds: dict[str, str] = {}
    for head in raw.heads:
        base = next((m[1] for form in (_SPREAD, _COUNT) if (m := form.fullmatch(head)) and m[1] in metrics), None)
        if head in metrics:
            kinds[head] = "metric"
        elif base is not None:
            kinds[head] = "of a metric"
        elif head.lower() in RUNS:
            kinds[head] = "run"
        elif head.lower() in REMARKS or head.startswith("#"):
            kinds[head] = "remark"
        else:
            kinds[head] = "key"
    used = {name: m for name, m in metrics.items() if kinds.get(name) == "metric"}
    for name in metrics:
        if name not in used:
            mistakes.append(f"{raw.source}: metrics.{name}: no row has a value of it; give one, or leave it out")
    return kinds, {name: _with_decimals(raw, name, m) for name, m in used.items()}


def _with_decimals(raw: Raw, name: str, metric: GivenMetric) -> GivenMetric:
    """A metric with the decimals that its values were typed with, and with its unit."""
    numbers = [n for row in raw.rows for n in parsed(row.values.get(name)) or ()]
    decimals = metric.decimals
    if decimals is None:
        decimals = max((n.decimals for n in numbers), default=0)
    unit = metric.unit
    if unit is None:  # accuracies are printed in percent, or as a part of 1
        unit = "percent" if metric.share and any(abs(n.value) > 1 for n in numbers) else ""
    return GivenMetric(unit=unit, better=metric.better, decimals=decimals)


def _keys(row: RawRow, columns: Mapping[str, str]) -> dict[str, Any]:
    """The settings of a row; an upsampler written with its params gives these as well."""
    keys: dict[str, Any] = {}
    for head, kind in columns.items():
        value = row.values.get(head)
        if kind != "key" or value is None or str(value).strip() in ("", "-"):
            continue
        if head.lower() in NAMES:
            name, params = split_name(str(value))
            keys[head.lower()] = name
            keys |= params
        else:
            keys[head] = value
    return keys


def _numbers(row: RawRow, name: str, metric: GivenMetric, mistakes: list[str]) -> list[Number]:
    """The numbers of a cell; a cell without any has none."""
    written = row.values.get(name)
    numbers = parsed(written)
    if numbers is None:
        mistakes.append(f"{row.where}: {name} is {written!r}, but must be a number, as 39.2 or 39.2 +- 0.1")
        return []
    for number in numbers:
        if metric.unit == "percent" and not 0 <= number.value <= 100:
            mistakes.append(
                f"{row.where}: {name} is {number.value:g}, but a percentage lies between 0 and 100; correct it, or give "
                f"the unit in the head of the column, as '{name} (points, {metric.better})'"
            )
    return numbers


Run = tuple[RawRow, dict[str, Any], dict[str, list[Number]]]


def _repeated(raw: Raw, runs: Sequence[Run]) -> Iterator[str]:
    """What keeps rows of one setting from being its runs."""
    if len(runs) < 2:
        return
    wheres = " and ".join([", ".join(r.where for r, _, _ in runs[:-1]), runs[-1][0].where])
    keys = GivenRow("", runs[0][1], {}).name
    seeds = [
        tuple(str(row.values.get(head)) for head in raw.heads if head.lower() in RUNS and not is_missing(row.values.get(head)))
        for row, _, _ in runs
    ]  # fmt: skip
    if not all(seeds):
        yield f"{wheres}: are all of {keys}; leave one, or tell runs apart by a column `seed`, for their mean and deviation"
    elif len(set(seeds)) < len(seeds):
        twice = next(seed for n, seed in enumerate(seeds) if seed in seeds[:n])
        yield f"{wheres}: the run {', '.join(twice)} of {keys} is given twice; leave one"


def _value(raw: Raw, name: str, runs: Sequence[Run], mistakes: list[str]) -> Value | None:
    """The value of a metric over the runs of one setting; None where none of them has it."""
    numbers = [n for _, _, found in runs for n in found[name]]
    spreads = [n.sd for n in numbers if n.sd is not None] + _beside(raw, name, runs, _SPREAD, mistakes)
    counts = _beside(raw, name, runs, _COUNT, mistakes)
    where = runs[0][0].where
    if any(s < 0 for s in spreads):
        mistakes.append(f"{where}: the standard deviation of {name} is negative; give it as 0 or more")
    if not numbers:
        return None
    if len(numbers) > 1 and spreads:
        mistakes.append(
            f"{where}: {name} has several runs and a standard deviation; give the runs, or their mean and it"
        )
        return None
    if len(numbers) > 1:
        values = [n.value for n in numbers]
        return Value(fmean(values), stdev(values), len(values))
    return Value(numbers[0].value, spreads[0] if spreads else None, int(counts[0]) if counts else None)


def _beside(
    raw: Raw, name: str, runs: Iterable[Run], form: re.Pattern[str], mistakes: list[str]
) -> list[float]:  # fmt: skip
    """The numbers in the column of a metric's deviation, or of its number of runs."""
    found: list[float] = []
    for head in raw.heads:
        match = form.fullmatch(head)
        if match is None or match[1] != name:
            continue
        for row, _, _ in runs:
            numbers = parsed(row.values.get(head))
            if numbers is None or len(numbers) > 1:
                mistakes.append(f"{row.where}: {head} is {row.values.get(head)!r}, but must be a number")
            else:
                found += [n.value for n in numbers]
    return found
