"""`upbench report FILE... -o report.html`: results as one page to look at, which needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from upbench import conventions
from upbench.cli import options, output, results
from upbench.cli.accuracy_options import AccuracyOptions
from upbench.errors import OutputError, SpecError, install

if TYPE_CHECKING:
    from upbench.accuracy.sources import Sources
    from upbench.report.interactive.page import Section

ENDING = ".html"
"""How the name of the page ends."""


def command(
    paths: results.Files,
    output_files: options.RequiredOutputs,
    accuracy: AccuracyOptions,
    overwrite: options.Overwrite = False,
    convention: options.Convention = conventions.DEFAULT,
    title: options.Title = None,
) -> None:
    """Make one HTML page of results: tables that sort and filter, pictures with values, the machine and its noise.

    It holds all that it needs, and opens in any browser without a network.
    """
    _judge(output_files, overwrite)
    library = _library()
    sections = _sections(results.of_records(paths), accuracy.read(), convention)

    from upbench.report.interactive import page

    text = page.page(sections, title or _title(sections), library)
    for path in output_files:
        output.write(path, text)


def _judge(output_files: Sequence[Path], overwrite: bool) -> None:
    """Raise SpecError with everything that keeps the page from being written."""
    mistakes = []
    for path in output_files:
        if path.suffix.lower() != ENDING:
            mistakes.append(f"--output {path}: a report is a page; its name ends in {ENDING}")
            continue
        try:
            output.check(path, "html", overwrite=overwrite)
        except OutputError as error:
            mistakes.append(str(error))
    if mistakes:
        raise SpecError(mistakes)


def _library() -> str:
    """Return the source of plotly.js. Raises SpecError where plotly is not installed."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise SpecError([f"a report needs plotly, which is not installed; {install('report')}"]) from None
    return str(get_plotlyjs())


def _sections(paths: Sequence[Path], given: Sources, convention: str) -> list[Section]:
    """Return the results by the sweep that they belong to, and by the file where they belong to none."""
    from upbench.records.record import Record
    from upbench.report.interactive.page import Section
    from upbench.report.tables.result_set import ResultSet

    found: dict[tuple[str, str], list[Record]] = {}
    for path in paths:
        for record in results.read([path], given):
            sweep = record.sweep.name if record.sweep else ""
            found.setdefault((sweep, "" if sweep else str(path)), []).append(record)
    sources = ", ".join(path.name for path in paths)
    return [
        Section(results.title(records) if name else Path(path).stem, sources, ResultSet.of(records, convention))
        for (name, path), records in found.items()
    ]


def _title(sections: Sequence[Section]) -> str:
    return sections[0].title if len(sections) == 1 else f"Results of {len(sections)} sweeps"
