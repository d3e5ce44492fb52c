"""Whose number an accuracy is: the footnotes that mark it as given or as published, apart from what is measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from upbench.records.accuracy import Accuracy
from upbench.records.record import Record
from upbench.report.tables.columns import Column

HEAD = -1
"""The row of a head in footnotes."""


def footnotes(heads: Sequence[Column], rows: Sequence[Record]) -> Iterator[tuple[int, int, str]]:
    """Yield row, column and text of each footnote of accuracy; row -1 is the head.

    Where all values of a column are of one source, the head says so; otherwise each value does.
    """
    for n, column in enumerate(heads):
        if column.metric is None or column.metric.measured:
            continue
        values = [(m, one) for m, record in enumerate(rows) if (one := of(column, record)) is not None]
        sources = {_source(one) for _, one in values}
        if len(sources) == 1:
            yield HEAD, n, f"{sources.pop()}, {_of_what(values[0][1], 'not measured here: ')}{_spread(values)}"
        for m, one in values:
            if len(sources) > 1:
                yield m, n, f"{_source(one)}, {_of_what(one)}{_spread([(m, one)])}"
            if one.doubt:
                yield m, n, f"uncertain in print: {one.doubt}"


def notes(shown: Sequence[Column], rows: Sequence[Record]) -> list[str]:
    """Return a sentence for each accuracy that is shown, with every source of it; for tables without footnotes on cells."""
    sentences = []
    for column in shown:
        values = [(m, one) for m, record in enumerate(rows) if (one := of(column, record)) is not None]
        if values and column.metric is not None:
            sources = "; ".join(dict.fromkeys(_source(one) for _, one in values))
            sentences.append(
                f"{column.metric.title}: {sources}; {_of_what(values[0][1], 'not measured here, ')}{_spread(values)}."
            )
    return sentences


def of(column: Column, record: Record) -> Accuracy | None:
    """Return the accuracy that a column shows of a record; None where it shows none."""
    return (record.accuracy or {}).get(column.metric.name) if column.metric is not None else None


def title(column: Column, rows: Sequence[Record]) -> str:
    """Return the head of a column, with whose number it shows where that is one for all: 'AP (given)'."""
    if column.metric is None:
        return column.title
    origins = {one.origin for record in rows if (one := of(column, record)) is not None}
    return f"{column.title} ({origins.pop()})" if len(origins) == 1 and origins != {"proxy"} else column.title


def _of_what(one: Accuracy, where: str = "") -> str:
    """What an accuracy is of; a proxy is measured here, whatever is said of others."""
    return "of a tiny network trained here, of no model" if one.origin == "proxy" else f"{where}of the whole model"


def _source(one: Accuracy) -> str:
    return f"{one.origin} ({one.source})" if one.source else one.origin


def _spread(values: Sequence[tuple[int, Accuracy]]) -> str:
    """What stands behind +-, and how many runs."""
    if all(one.sd is None for _, one in values):
        return ""
    runs = sorted({one.runs for _, one in values if one.sd is not None and one.runs is not None})
    many = f" over {runs[0]}{f' to {runs[-1]}' if runs[-1] > runs[0] else ''} runs" if runs else ""
    return f"; +-: standard deviation{many}"
