"""`upbench reproduce TABLE --row`: the sums of one row, under what is asked for and otherwise what is stated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from upbench import cards, conventions, registry
from upbench.errors import SpecError, UpbenchError, unknown
from upbench.papers.hosts import Stage, host
from upbench.papers.published import Published, siblings
from upbench.report.formats.table import Table
from upbench.report.reproduce.tables import terms
from upbench.reproduce.audit import Search
from upbench.reproduce.claims import Claim, collect
from upbench.reproduce.explanations import Counting, Counts, Sums
from upbench.reproduce.hypotheses import Hypotheses, hypotheses


def sums(
    table: Published,
    row: str,
    convention: str | None,
    settings: Mapping[str, Any],
    host_name: str | None,
    way: str | None,
    version: str | None,
    counts: Counts,
) -> list[Table]:
    """Return a table for each figure of the row that the convention counts; without one, for both, under those of their columns.

    Args:
        table: The published table.
        row: Label or number of the row.
        convention: Name of a counting convention; None for those of the columns.
        settings: Params that replace the stated ones.
        host_name: Name or file of a host whose stages replace the table's; None keeps those.
        way: A way of counting, as "samples-at-8".
        version: Another version of the module, as "raw-a2u".
        counts: Counts a built module at a stage.

    Raises:
        UnknownName: If there is no such row, convention, way or version.
        SpecError: If the upsampler cannot be built at some stages.
    """
    known = hypotheses()
    claims, _ = collect(table, known)
    wanted = _row(claims, row, table.id)
    upsampler = wanted[0].row.upsampler
    _judge(upsampler, settings, way, version, known)
    others = [claim for other in siblings(table) for claim in collect(other, known)[0]]
    search = Search([*claims, *others], Sums(counts, known), known)
    found = []
    for claim in wanted:
        rule = search.usual[claim.column] if convention is None else Counting(_name(convention))
        rule = Counting(rule.convention, way if way is not None or convention is not None else rule.way)
        if rule.quantity != claim.quantity:
            continue
        stages = claim.host.stages if host_name is None else host(host_name).stages
        params = {**claim.stated, **settings}
        parts = search.sums.terms(upsampler, params, stages, version, rule)
        if parts is None:
            raise SpecError(_mistakes(upsampler, params, stages))
        stated = ", ".join(f"{k}={v}" for k, v in {**claim.stated, **settings}.items())
        caption = f"{upsampler}{f' ({stated})' if stated else ''} in {host_name or claim.host.name}"
        found.append(terms(claim, rule, parts, f"{caption}{f', version {version}' if version else ''}"))
    if not found:
        raise UpbenchError(
            f"{table.id}: the row {row!r} prints no figure that {convention} counts; it has "
            f"{', '.join(c.quantity for c in wanted)}"
        )
    return found


def _row(claims: list[Claim], row: str, table: str) -> list[Claim]:
    if row.isdigit():
        found = [c for c in claims if c.number == int(row)]
    else:
        found = [c for c in claims if c.label.lower() == row.lower()]
    if not claims:
        raise UpbenchError(f"{table} prints no figure that can be counted again")
    if not found:
        raise unknown("row with a figure", row, dict.fromkeys(c.label for c in claims))
    if len({c.number for c in found}) > 1:
        numbers = ", ".join(str(n) for n in dict.fromkeys(c.number for c in found))
        raise UpbenchError(f"several rows are labelled {row!r}; give the number of one: {numbers}")
    return found


def _name(convention: str) -> str:
    known = [n for n in (*conventions.FLOPS, *conventions.PARAMS) if n != conventions.DEFAULT] + [conventions.DEFAULT]
    name = next((n for n in known if n.lower() == convention.lower()), None)
    if name is None:
        raise unknown("convention", convention, known)
    return name


def _judge(
    upsampler: str, settings: Mapping[str, Any], way: str | None, version: str | None, known: Hypotheses
) -> None:
    names = list(registry.get(upsampler).defaults())
    if strange := [key for key in settings if key not in names]:
        raise unknown(f"parameter of {upsampler}", strange[0], names)
    for kind, name, changes in (("way of counting", way, known.ways), ("version", version, known.versions)):
        fitting = [c.name for c in changes if c.applies(upsampler)]
        if name is not None and name not in fitting:
            raise unknown(f"{kind} of {upsampler}", name, fitting)


def _mistakes(upsampler: str, params: Mapping[str, Any], stages: tuple[Stage, ...]) -> list[str]:
    """Return why an upsampler cannot be built at some of the stages."""
    card = registry.get(upsampler)
    full = {**card.defaults(), **params}
    found: dict[str, None] = {}
    for stage in stages:
        setting = cards.Setting(stage.channels, stage.guide_channels, stage.scale, full)
        found.update({f"{stage.name}: {sentence}": None for sentence in card.mistakes(setting)})
    return list(found)
