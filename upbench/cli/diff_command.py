"""`upbench diff OLD NEW`: what changed between two result files, whichever command wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from upbench.cli import gates, options, output
from upbench.cli.gate_options import GateOptions, JudgeOptions
from upbench.cli.show_options import TableOptions
from upbench.errors import SpecError, StoreError

if TYPE_CHECKING:
    from upbench.gate.measured import Measured


def command(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="Results of a sweep, compare --format json, or baseline.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The same, measured later.")],
    judge: JudgeOptions,
    show: TableOptions,
    schema: options.Schema = False,
) -> None:
    """Compare two result files: exact metrics exactly, latency only beside a common reference on one machine.

    Exit code 1 when something became larger, slower or another output.
    """
    gate = GateOptions(**vars(judge))
    judged = gates.read(gate, [], [])
    output.check_targets(show)
    mistakes, sides = [], []
    for path in (old, new):
        try:
            sides.append(_load(path))
        except StoreError as error:
            mistakes.append(str(error))
    if not mistakes:
        mistakes = _of_other_work(sides, old, new)
    if mistakes:
        raise SpecError(mistakes)

    from upbench.gate import diff
    from upbench.report import json_documents
    from upbench.report.tables import gates as gates_page

    before, after = (str(old), str(new)) if old.name == new.name else (old.name, new.name)
    found = diff.compare(sides[0], sides[1], judged.rules("diff", before, after))
    table = gates_page.table(found, gate.strict, f"{after} compared with {before}")
    gates.write_junit(found, gate)
    output.show([table], show, lambda: json_documents.difference(str(old), str(new), found, gate.strict))
    gates.report(found, gate, show, in_result=True)


def _of_other_work(sides: Sequence[Sequence[Measured]], old: Path, new: Path) -> list[str]:
    """Return a sentence where the two files have no work in common, so that nothing could be compared."""
    from upbench.specs import comparable

    before, after = ([w for m in side if (w := comparable.of_mapping(m.spec)) is not None] for side in sides)
    if not before or not after or set(before) & set(after):
        return []
    return [f"{comparable.differ(str(old), before[0], str(new), after[0])}; only results of the same work are compared"]


def _load(path: Path) -> list[Measured]:
    """Read a results file or a baseline, recognised by its content. Raises StoreError when it is neither."""
    from upbench.gate import baseline, measured
    from upbench.records import documents, store
    from upbench.records.skipped import together

    if (data := documents.json_of(path)) is not None and baseline.is_baseline(data):
        return baseline.from_data(data, str(path))
    contents = store.read(path)
    if contents.other is not None:
        raise StoreError(contents.other)
    for sentence in together(contents.skipped):
        typer.echo(f"upbench: {sentence}", err=True)
    if not contents.records:
        raise StoreError(
            f"results file {path} holds no record; give results of a sweep, of compare --format json, or a baseline"
        )
    sides = contents.compared or [(contents.records, None)]
    return [one for records, reference in sides for one in measured.from_records(records, reference)]
