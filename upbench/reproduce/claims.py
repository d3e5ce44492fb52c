"""Printed complexity figures, each with the host and the settings that its paper states for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from upbench import registry
from upbench.errors import SpecError, UnknownName
from upbench.papers import published, settings
from upbench.papers.hosts import Host, host, varied
from upbench.papers.published import Figure, Published, Row
from upbench.reproduce.hypotheses import Hypotheses

MISSPELT = 0.7
"""How alike a setting and a parameter must be, from 0 to 1, for the setting to be a misspelling; others say something else."""

Quantity = Literal["params", "flops"]
"""The quantity that a complexity figure counts."""
QUANTITIES: tuple[Quantity, ...] = ("params", "flops")
"""The quantities, in the order of the tables."""


@dataclass(frozen=True, eq=False)
class Claim:
    """One printed increment over the host.

    Args:
        table: The id of the table.
        paper: The id of the paper.
        number: The number of the row in its table, from 1.
        row: The row.
        quantity: What the figure counts.
        printed: The figure as printed.
        delta: The figure as a number.
        step: One unit of the last printed place.
        host: The host of the row, or the variant of it that the base row of the table states.
        stated: What the paper says of the upsampler, as our parameters.
        alone: Whether no other row of the table has the same label.
    """

    table: str
    paper: str
    number: int
    row: Row
    quantity: Quantity
    printed: str
    delta: int
    step: int
    host: Host
    stated: dict[str, Any]
    alone: bool

    @property
    def column(self) -> tuple[str, str | None, Quantity]:
        """Return the table, section and quantity; figures that agree in them count alike, as far as a table is consistent."""
        return (self.table, self.row.section, self.quantity)

    @property
    def distinct(self) -> tuple[str, str, str, int, int]:
        """Return what makes two printed figures one: host model, upsampler, quantity and printed value."""
        return (self.host.title, self.row.upsampler, self.quantity, self.delta, self.step)

    @property
    def label(self) -> str:
        """Return the label of the row, or else its upsampler."""
        return self.row.label or self.row.upsampler


@dataclass(frozen=True)
class Unjudged:
    """A printed figure that is not judged, and why: the base of a host, or something that upbench does not have."""

    table: str
    number: int
    row: Row
    quantity: Quantity
    figure: Figure
    why: str
    base: bool


def collect(table: Published, known: Hypotheses) -> tuple[list[Claim], list[Unjudged]]:
    """Return the figures of a table that can be judged, and those that cannot.

    Args:
        table: The printed table.
        known: What is known of papers and of the names that they use.

    Raises:
        SpecError: A row has settings that its upsampler does not take.
    """
    claims: list[Claim] = []
    unjudged: list[Unjudged] = []
    mistakes: list[str] = []
    labels = Counter(row.label or row.upsampler for row in table.rows)
    for number, row in enumerate(table.rows, 1):
        for quantity in QUANTITIES:
            figure: Figure | None = getattr(row, quantity)
            if figure is None:
                continue
            why, base = _unjudged(row, figure, quantity)
            if why is not None:
                unjudged.append(Unjudged(table.id, number, row, quantity, figure, why, base))
                continue
            assert row.host is not None
            assert figure.delta is not None
            assert figure.step is not None
            stated = stated_params(table, row, known)
            for sentence in _mistakes(row, stated):
                mistakes.append(f"{table.id}: rows[{number - 1}].settings: {sentence}")
            row_host = _host(table, row)
            claim = (table.id, table.paper, number, row, quantity, figure.printed, figure.delta, figure.step)
            claims.append(Claim(*claim, row_host, stated, labels[row.label or row.upsampler] == 1))
    if mistakes:
        raise SpecError(list(dict.fromkeys(mistakes)))
    return claims, unjudged


def _unjudged(row: Row, figure: Figure, quantity: Quantity) -> tuple[str | None, bool]:
    """The reason why a figure is no increment that can be counted, and whether it is the figure of a base."""
    if figure.total is not None:
        try:
            row_host = host(row.host or "")
        except UnknownName:
            return f"base of a host that upbench does not have ({row.host})", True
        # What the host file says of its own base holds only where that base is the printed one.
        base = getattr(row_host.base, quantity)
        how = base.how if base.total is None or _near(base.total, figure.total, figure.step or 1) else None
        return f"base of the host, not an upsampler{f': {how}' if how else ''}", True
    if row.upsampler in published.OUTSIDE:
        return f"upbench does not build {row.label or row.upsampler}", False
    try:
        host(row.host or "")
    except UnknownName:
        return f"the stages of the host {row.host} are not known", False
    if figure.delta is None or figure.step is None:
        return "printed without a value", False
    return None, False


def _mistakes(row: Row, stated: dict[str, Any]) -> Iterator[str]:
    card = registry.get(row.upsampler)
    params = {p.name: p for p in card.params}
    for key in row.settings:
        close = get_close_matches(key, params, n=1, cutoff=MISSPELT)
        if settings.param(key, card) is None and close:
            yield f"{key} is no parameter of {row.upsampler}; did you mean {close[0]!r}?"
    yield from (m for key, value in stated.items() if (m := params[key].mistake(value)) is not None)


def stated_params(table: Published, row: Row, known: Hypotheses) -> dict[str, Any]:
    """Return the settings of a row as our parameters: what the paper says once, then what the row says.

    Args:
        table: The printed table.
        row: One of its rows.
        known: What is known of papers and of the names that they use.
    """
    params: dict[str, Any] = {}
    for statement in known.stated:
        if (
            statement.paper != table.paper
            or statement.upsampler != row.upsampler
            or (statement.hosts and row.host not in statement.hosts)
        ):
            continue
        params |= statement.params
        if statement.table is not None:
            params |= _listed(statement.table, row, known)
    return params | known.params(row.upsampler, row.settings)


def _listed(table: str, row: Row, known: Hypotheses) -> dict[str, Any]:
    """The settings that a table of settings lists for this upsampler in this host, whatever its backbone."""
    if row.host is None:
        return {}
    title = host(row.host).title
    for listed_row in published.table(table).rows:
        if listed_row.upsampler == row.upsampler and listed_row.host and host(listed_row.host).title == title:
            return known.params(row.upsampler, listed_row.settings)
    return {}


def _host(table: Published, row: Row) -> Host:
    """The host of a row. Where the base row of its section prints the total of a variant alone, that variant is it."""
    row_host = host(row.host or "")
    for base in table.rows:
        if base.params is None or base.params.total is None or (base.section, base.host) != (row.section, row.host):
            continue
        for name, variant in row_host.variants.items():
            total, step = base.params.total, base.params.step or 1
            if _near(variant.base.params.value, total, step) and not _near(row_host.base.params.value, total, step):
                return varied(row_host, name)
    return row_host


def _near(value: int | None, total: int, step: int) -> bool:
    return value is not None and 2 * abs(value - total) <= step
