"""Files of accuracy as they are read, before their columns are told apart: CSV and YAML, with the line of every row."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from upbench.errors import SpecError
from upbench.papers.given_values import plain
from upbench.specs import yaml_file
from upbench.specs.strict import Strict, load
from upbench.specs.yaml_file import Source

_HIGHER = re.compile(
    r"(box|mask|bbox|segm)?[ _]?(m?ap|ar)([ _@]?(\d+|s|m|l))?([ _](bbox|segm|box|mask))?"
    r"|[mb]?iou|m?b?iou|fwiou|pq|sq|rq|[ma]?acc|accuracy|top[-_ ]?[15]|dice|f1|precision|recall|delta[123]?|d[123]",
    re.IGNORECASE,
)
"""Metrics that are a share, in percent or as a part of 1, and better higher."""
_MORE_IS_BETTER = re.compile(r"psnr|ssim|ms[-_ ]?ssim", re.IGNORECASE)
_LOWER = re.compile(
    r"rmse([ _]?log)?|mae|mse|sad|grad|conn|abs[ _]?rel|sq[ _]?rel|silog|log10|epe|lpips|fid|niqe|error|loss",
    re.IGNORECASE,
)
_HEAD = re.compile(r"(.+?)\s*[(\[]([^()\[\]]*)[)\]]")


class GivenMetric(Strict):
    """A metric that a user gives.

    Args:
        unit: The unit, as "percent" or "m"; empty for a number without one, None where it is not said.
        better: Which of two values is better.
        decimals: Decimals that it is printed with.
        share: Whether it is a share, in percent or as a part of 1.
    """

    unit: str | None = Field(None, description="text, as percent or m")
    better: Literal["higher", "lower"] = Field(description="higher or lower")
    decimals: int | None = Field(None, ge=0, le=9, description="a whole number from 0 to 9")
    share: bool = Field(False, exclude=True)


class _Document(Strict):
    metrics: dict[str, GivenMetric] = Field({}, description="a mapping of names to unit, better and decimals")
    rows: tuple[dict[str, Any], ...] = Field(strict=False, description="a list of rows, each a mapping")
    source: str | None = Field(None, description="text")


@dataclass(frozen=True)
class RawRow:
    """A row as written; `where` names its file and line."""

    where: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Raw:
    """A table as written.

    Args:
        source: The file.
        heads: Its columns.
        metrics: Those of them that are metrics, by declaration or by their usual name.
        rows: Its rows.
        named: What the table itself says its source is; empty where it says nothing.
        mistakes: What is wrong with it.
    """

    source: str
    heads: tuple[str, ...]
    metrics: Mapping[str, GivenMetric]
    rows: tuple[RawRow, ...]
    named: str = ""
    mistakes: tuple[str, ...] = field(default_factory=tuple)


def raw_csv(path: Path) -> Raw:
    """Return the table in a CSV file: a head, and a row for each setting or run; comma, semicolon or tab between columns.

    Raises:
        SpecError: There is no such file, or it holds no such table.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SpecError([f"{path}: there is no such file"]) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SpecError([f"{path}: cannot be read ({reason}); give a CSV or YAML file"]) from None
    first = next((line for line in text.splitlines() if line.strip()), "")
    if not first or first.lstrip()[:1] in ("{", "["):
        what = "is JSON" if first else "is empty"
        raise SpecError(
            [f"{path}: {what}; give a CSV file whose first line is the names of its columns, or a YAML file"]
        )
    between = max(",;\t", key=lambda mark: (first.count(mark), mark == ","))
    lines = csv.reader(io.StringIO(text), delimiter=between, strict=True)
    mistakes: list[str] = []
    heads: list[str] = []
    metrics: dict[str, GivenMetric] = {}
    rows: list[RawRow] = []
    try:
        for cells in lines:
            if not any(cell.strip() for cell in cells) or cells[0].lstrip().startswith("#"):
                continue
            where = f"{path}, line {lines.line_num}"
            if not heads:
                heads, metrics = _heads(_whole(cells, between), where, mistakes)
            elif len(cells) != len(heads):
                mistakes.append(
                    f"{where}: has {len(cells)} columns, but the head has {len(heads)} ({', '.join(heads)})"
                )
            else:
                values = {h: c if h in metrics else plain(c) for h, c in zip(heads, cells, strict=True)}
                rows.append(RawRow(where, values))
    except csv.Error as error:
        raise SpecError([f"{path}, line {lines.line_num}: is no CSV ({error})"]) from None
    return Raw(str(path), tuple(heads), metrics, tuple(rows), mistakes=tuple(mistakes))


def _whole(cells: list[str], between: str) -> list[str]:
    """The names in the first line; one that was cut within its brackets, as 'RMSE (m, lower)', is whole again."""
    found: list[str] = []
    for cell in cells:
        if found and found[-1].count("(") > found[-1].count(")"):
            found[-1] += between + cell
        else:
            found.append(cell)
    return found


def _heads(cells: list[str], where: str, mistakes: list[str]) -> tuple[list[str], dict[str, GivenMetric]]:
    """The names in the first line, and what they say of metrics: 'AP', 'RMSE (m, lower)', 'score (higher)'."""
    names: list[str] = []
    metrics: dict[str, GivenMetric] = {}
    for cell in cells:
        text = cell.strip()
        match = _HEAD.fullmatch(text)
        name = match[1] if match else text
        if name in names and name:
            mistakes.append(f"{where}: has the column {name} twice; leave one")
        names.append(name)
        parts = [part.strip() for part in match[2].split(",")] if match else []
        better = next((part for part in parts if part in ("higher", "lower")), None)
        unit = next((part for part in parts if part not in ("higher", "lower")), None)
        usual = usual_metric(name)
        if better is None and usual is None and match is not None:
            mistakes.append(
                f"{where}: {text}: which values are better is not known; write '{name} ({', '.join([*parts, 'higher'])})' "
                f"or '... lower'"
            )
        elif better is not None or usual is not None:
            unit = {"%": "percent"}.get(unit or "", unit)
            if usual is not None and better is None:
                metrics[name] = usual if unit is None else usual.model_copy(update={"unit": unit})
            else:
                metrics[name] = GivenMetric.model_validate(
                    {"unit": unit, "better": better, "share": usual is not None and usual.share}
                )
    return names, metrics


def raw_yaml(path: Path) -> Raw:
    """Return the table in a YAML file: metrics and rows. Raises SpecError."""
    data, source = yaml_file.read(path, "a table of accuracy")
    return raw_rows(data, source)


def raw_rows(data: object, source: str) -> Raw:
    """Return the table in a value as YAML gives it: a list of rows, or a mapping of metrics and rows. Raises SpecError."""
    found = load(_Document, {"rows": data} if isinstance(data, list) else data, source)
    heads = dict.fromkeys(str(key) for row in found.rows for key in row)
    usual = {name: metric for name in heads if (metric := usual_metric(name)) is not None}
    declared = {
        name: m.model_copy(update={"unit": "percent" if m.unit == "%" else m.unit, "share": name in usual})
        for name, m in found.metrics.items()
    }
    rows = tuple(RawRow(_where(source, n), row) for n, row in enumerate(found.rows))
    return Raw(str(source), tuple(heads), {**usual, **declared}, rows, found.source or "")


def _where(source: str, n: int) -> str:
    """Where a row stands: the file and the line of the row, as far as it is known."""
    if isinstance(source, Source):
        for key in (f"rows[{n}]", f"accuracy.rows[{n}]", f"accuracy[{n}]"):
            if key in source.lines:
                return f"{source}, line {source.lines[key]}"
    return f"{source}, row {n + 1}"


def usual_metric(name: str) -> GivenMetric | None:
    """Return what is known of a metric by its usual name, as AP, mIoU or RMSE; None where it is none of these."""
    if _HIGHER.fullmatch(name):
        return GivenMetric(better="higher", share=True)
    if _MORE_IS_BETTER.fullmatch(name):
        return GivenMetric(unit="dB" if "psnr" in name.lower() else "", better="higher")
    return GivenMetric(unit="", better="lower") if _LOWER.fullmatch(name) else None
