"""`upbench compare`, one work after another: each is checked, measured and judged by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from upbench.cli import compare_specs, gates, interrupts, output
from upbench.cli.accuracy_options import attached
from upbench.cli.compare_specs import Chosen
from upbench.cli.gates import Gates
from upbench.cli.show_options import ShowOptions
from upbench.cli.view_options import ViewOptions
from upbench.errors import SpecError
from upbench.specs import comparable
from upbench.specs.comparable import Work

if TYPE_CHECKING:
    from upbench.accuracy.sources import Sources
    from upbench.benchmark.checked import Check
    from upbench.gate import Finding
    from upbench.records.record import Record
    from upbench.report.formats.table import Table
    from upbench.report.tables.selection import Selection
    from upbench.session.calls import Session


@dataclass(frozen=True)
class Group:
    """The rows of one work.

    Args:
        work: Shape, batch, scale, dtype and mode that the rows share.
        rows: The rows.
        reference: Position of the row that ratios are taken to.
        alone: Whether it is the only group of the comparison.
    """

    work: Work
    rows: tuple[Chosen, ...]
    reference: int
    alone: bool


@dataclass(frozen=True)
class Measured:
    """The results of a group.

    Args:
        group: The group.
        records: One record for each row; none after a failed check.
        checks: The checks of every row.
        findings: The results of the gates.
    """

    group: Group
    records: list[Record]
    checks: list[Check]
    findings: list[Finding]

    @property
    def reference(self) -> Record | None:
        """The record that ratios are taken to; None after a failed check."""
        return self.records[self.group.reference] if self.records else None


def split(rows: Sequence[Chosen], reference: str | None, judged: Gates) -> list[Group]:
    """Group the rows by work.

    Args:
        rows: The rows of the comparison.
        reference: Value of --reference; None for the first row.
        judged: The gates, whose bounds may have references too.

    Raises:
        SpecError: If a ratio would be between two works.
        UnknownName: If there is no such reference.
    """
    places = comparable.groups([comparable.of_spec(row.spec) for row in rows])
    found, mistakes = [], []
    for work, members in places.items():
        alone = len(places) == 1
        own = tuple(rows[n] for n in members)
        where = "" if alone else f" at {work.text()}"
        found.append(Group(work, own, compare_specs.position_of(reference, own, where), alone))
        labels = [row.spec.label for row in own]
        for bound in judged.budgets.bounds:
            base = bound.amount.reference
            if base is not None and base not in labels and any(bound.upsampler in (None, label) for label in labels):
                mistakes.append(
                    f"{bound.source}: the reference {base!r} is not measured{where}; leave its shape out, so that it "
                    f"is measured at each"
                )
    if mistakes:
        raise SpecError(list(dict.fromkeys(mistakes)))
    return found


def measure(
    group: Group,
    judged: Gates,
    exact: bool,
    convention: str,
    session: Session,
    progress: Any,
    cache: bool = True,
) -> Measured:
    """Check the rows of a group, measure them if all checks passed, and judge them.

    Args:
        group: The rows of one work.
        judged: The gates.
        exact: Whether only what is exact is measured.
        convention: Counting convention of MACs and parameters.
        session: Checks and measures.
        progress: Called with what is being done and the part of the whole.
        cache: Whether kept results of checks are used.
    """
    specs = [row.spec for row in group.rows]
    checked = session.check(specs, judged.like, progress, cache)
    timed = not exact and checked.passed and gates.is_as_saved(judged, specs, checked, session)
    records = session.compare(specs, progress, timed) if checked.passed else []
    records = [checked.without_digest(record) for record in records]
    findings = gates.of_checks(checked.checks, all_of_them=judged.options.any)
    if records:
        labels = [spec.label for spec in specs]
        bounds = [b for b in judged.budgets.bounds if b.upsampler in (None, *labels)]
        own = replace(judged, budgets=replace(judged.budgets, bounds=tuple(bounds)))
        findings += gates.judge(own, records, records[group.reference], convention)
    if not group.alone:
        findings = [replace(f, upsampler=f"{f.upsampler} at {group.work.text()}") for f in findings]
    return Measured(group, records, checked.checks, findings)


def with_accuracy(results: Sequence[Measured], sources: Sources) -> list[Measured]:
    """Return the results with accuracy in their records; say on stderr which rows of it belong to none.

    Args:
        results: The results of all groups.
        sources: The accuracy.
    """
    records = attached(sources, [record for result in results for record in result.records])
    found, at = [], 0
    for result in results:
        own = records[at : at + len(result.records)]
        at += len(own)
        found.append(replace(result, records=own))
    return found


def show(
    results: Sequence[Measured],
    judged: Gates,
    convention: str,
    to: ShowOptions,
    per_shape: bool,
    view: ViewOptions | None = None,
    chosen: Selection | None = None,
) -> None:
    """Print a table of each group, or one document of all, and the failures; exit with 1 where a gate or check failed, and
    with 130 where Ctrl-C ended the sampling.

    Args:
        results: The results of all groups.
        judged: The gates.
        convention: Counting convention of MACs and parameters.
        to: Format and file of the result.
        per_shape: Whether --per-shape was given.
        view: Columns and their heads; None for those of a paper.
        chosen: The order of the rows, and the bounds that they are to keep.
    """
    from upbench.report import json_documents
    from upbench.report.tables import comparison
    from upbench.report.tables.selection import Selection

    tables: list[Table] = []
    for result in results:
        if result.reference is not None:
            columns = view.columns if view else None
            table = comparison.comparison_table(result.records, result.reference, convention, columns, chosen)
            tables.append(view.headed(table) if view else table)
    findings = [finding for result in results for finding in result.findings]
    selection = chosen or Selection()
    parts = []
    for result in results:
        rows = selection.ordered(result.records)
        fits = [selection.fits(row, rows) for row in rows] if selection.bounds.bounds else None
        parts.append(json_documents.WorkResult(result.group.work, rows, result.reference, result.checks, fits))
    gates.write_junit(findings, judged.options)
    if tables or to.wants("json"):
        output.show(
            tables,
            to,
            lambda: json_documents.comparison(parts, findings, judged.options.strict, per_shape),
        )
    records = [record for result in results for record in result.records]
    unsaved = f", and {judged.options.save} is not written" if judged.options.save else ""
    interrupts.say(records, to, more=unsaved)
    gates.report(findings, judged.options, to, tables)
    interrupts.end(records)
