"""The heads that a reader gives to columns in place of ours, as a paper calls them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from upbench.errors import SpecError, suggestion
from upbench.report.formats import latex_text
from upbench.report.formats.table import Table
from upbench.report.tables import column_choice, head_units
from upbench.report.tables.result_set import ResultSet

_PART = re.compile(r"(?:\\.|\$[^$]*\$|\{[^{}]*\}|[^,])+")
"""A head with its name: a comma ends it, unless it stands in a formula or in braces."""
_FORMULA = re.compile(r"\$[^$]+\$")
_NUMBER = re.compile(r"-?[\d.]+")


def parse(text: str | Mapping[str, str] | None, more: Iterable[str] = ()) -> dict[str, str]:
    """Return name -> head of a text as 'latency=Time,kernel=$k$', names in the spelling of today.

    Args:
        text: The heads; None for none. A mapping is taken as it is.
        more: Names that are known besides the quantities: axes, and accuracy.

    Raises:
        SpecError: A part is not NAME=TEXT, a name is not known, or LaTeX would find no end of a head; all mistakes together.
    """
    known = list(dict.fromkeys([*column_choice.single_names(), *more]))
    found, mistakes = dict[str, str](), list[str]()
    for name, equals, head in _parts(text or {}):
        meant = column_choice.meant(name, known)
        if not equals or not head:
            mistakes.append(
                f"--heads {name!r} is not NAME=TEXT; write --heads latency=Time, and a comma of a head within $...$ or {{}}"
            )
        elif meant is None:
            why = column_choice.headed(name) or f"known: {', '.join(known)}{suggestion(name, known)}"
            mistakes.append(f"--heads {name}: unknown column; {why}")
        elif not latex_text.braces_match(head) or not latex_text.dollars_match(head):
            mistakes.append(
                f"--heads {name}={head}: its braces or dollars do not match; write \\{{ or \\$ for one that is text, and put "
                "the heads in single quotes, since a shell replaces $k within double ones"
            )
        else:
            found["ratio" if meant == "ratio-interval" else meant] = head
    if isinstance(text, str) and not text.strip(", "):
        mistakes.append(f"--heads {text!r} has no head; write --heads latency=Time")
    if mistakes:
        raise SpecError(mistakes)
    return found


def _parts(text: str | Mapping[str, str]) -> list[tuple[str, str, str]]:
    if isinstance(text, Mapping):
        return [(name, "=", head) for name, head in text.items()]
    cut = (part.partition("=") for part in map(str.strip, _PART.findall(text)) if part)
    return [(name.strip(), equals, head.strip()) for name, equals, head in cut]


def known(results: ResultSet) -> list[str]:
    """Return the names of columns that records have besides those of every table: axes, and accuracy."""
    printed = [column.title for table in results.published for column in table.columns]
    return [*results.axes, *results.metrics, *printed]


def headed(table: Table, heads: Mapping[str, str]) -> Table:
    """Return a table with these heads; they stand in LaTeX as they are written, and with a unit (`Time (ms)`) say it for their cells.

    Args:
        table: The table, which knows the name of each of its columns.
        heads: Name -> head. Those of columns that are not shown change nothing.
    """
    if not heads:
        return table
    shown = [_head(name, heads) for name in table.names]
    texts = [old if new is None else new for old, new in zip(table.heads, shown, strict=True)]
    own = frozenset(n for n, new in enumerate(shown) if new is not None)
    spans = [replace(span, text=heads[span.name], written=True) if span.name in heads else span for span in table.spans]
    columns = [list(cells) for cells in zip(*table.rows, strict=True)]
    for n in own if columns else ():
        columns[n] = head_units.in_unit_of(texts[n], columns[n])
    rows = [list(row) for row in zip(*columns, strict=True)]
    return replace(table, heads=texts, rows=rows, written=own, spans=spans)


def _head(name: str, heads: Mapping[str, str]) -> str | None:
    """The head of a column; of one of the values of an axis, as compressed=16, the head of the axis with the value."""
    axis, _, level = name.partition("=")
    if name in heads or axis not in heads or not level:
        return heads.get(name)
    head = heads[axis]
    within = _FORMULA.fullmatch(head) and _NUMBER.fullmatch(level)
    return f"{head[:-1]}={level}$" if within else f"{head}={level}"
