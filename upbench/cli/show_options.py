"""Options on how a result is printed, and on the files that it is written to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from upbench.cli import completion
from upbench.cli.options import OUTPUT, Outputs, Overwrite
from upbench.errors import OutputError, SpecError, UpbenchError, unknown
from upbench.report.formats import latex_text, parquet
from upbench.report.formats.render import ENDINGS, FORMATS
from upbench.report.formats.table import NOTES


def _format(value: str | None) -> str | None:
    """Refuse an unknown format before anything is measured."""
    if value is not None and value not in FORMATS:
        raise UpbenchError(f"--format {value}: {unknown('format', value, FORMATS)}")
    return value


def _notes(value: str | None) -> str | None:
    """Refuse an unknown number of notes before anything is measured."""
    if value is not None and value not in NOTES:
        raise UpbenchError(f"--notes {value}: {unknown('number of notes', value, NOTES)}")
    return value


def _caption(value: str | None) -> str | None:
    """Refuse a caption whose braces or dollars do not match: LaTeX would find no end of it."""
    if value is not None and not latex_text.braces_match(value):
        raise UpbenchError(f"--caption {value!r}: its braces do not match; write \\{{ for a brace that is text")
    if value is not None and not latex_text.dollars_match(value):
        raise UpbenchError(
            f"--caption {value!r}: a formula begins with $ and does not end; write \\$ for a dollar that is text, and put "
            "the caption in single quotes, since a shell replaces $k within double ones"
        )
    return value


@dataclass(frozen=True)
class ShowOptions:
    """How a result is printed: its format and notes, and the files that it is written to; none for stdout."""

    named_form: Annotated[
        str | None,
        typer.Option(
            "--format",
            callback=_format,
            metavar="|".join(FORMATS),
            autocompletion=completion.formats,
            rich_help_panel=OUTPUT,
            help="How the result is printed. Default: table; of a file, what its ending says.",
        ),
    ] = None
    output_files: Outputs = None
    overwrite: Overwrite = False
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", rich_help_panel=OUTPUT, help="Print all notes under a table, not three lines."),
    ] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", rich_help_panel=OUTPUT, help="Print no notes.")] = False
    caption: Annotated[
        str | None,
        typer.Option(
            callback=_caption,
            metavar="TEXT",
            rich_help_panel=OUTPUT,
            help="Of a LaTeX table, in LaTeX. Default: what was measured.",
        ),
    ] = None
    latex_label: Annotated[
        str | None,
        typer.Option(
            "--label", metavar="NAME", rich_help_panel=OUTPUT, help=r"Of a LaTeX table, for \ref: as tab:cost."
        ),
    ] = None
    star: Annotated[
        bool,
        typer.Option("--star", rich_help_panel=OUTPUT, help="A LaTeX table over both columns of the page (table*)."),
    ] = False

    def __post_init__(self) -> None:
        """Raise OutputError where a file is to be Parquet and cannot be, or is named so and another format was given."""
        for path in self.output_files or ():
            if path.suffix.lower() == parquet.SUFFIX and self.named_form not in (None, "table", "parquet"):
                raise OutputError(
                    f"output {path} has the name of a Parquet file, but --format is {self.named_form}; leave "
                    "--format out, or give the file another name"
                )
        if self.wants("parquet"):
            parquet.check_installed()

    @property
    def form(self) -> str:
        """The format of what goes to stdout."""
        return self.named_form or "table"

    @property
    def told(self) -> str:
        """How many notes are printed: one of NOTES."""
        return "none" if self.quiet else "all" if self.verbose else "brief"

    @property
    def targets(self) -> list[tuple[Path | None, str]]:
        """Where the result goes, None for stdout, and in which format.

        Raises:
            SpecError: If --format is not the format that the ending of one of several files names.
        """
        if not self.output_files:
            return [(None, self.form)]
        if self.named_form is not None and len(self.output_files) > 1:
            wrong = [path for path in self.output_files if ENDINGS.get(path.suffix.lower(), self.form) != self.form]
            if wrong:
                listed = ", ".join(map(str, wrong))
                raise SpecError([f"--format {self.form}: {listed} ends otherwise; leave --format out"])
        return [(path, self._form_of(path)) for path in self.output_files]

    def _form_of(self, path: Path) -> str:
        """The format of one file: a Parquet file is one whatever was given."""
        named = ENDINGS.get(path.suffix.lower(), "table")
        return named if self.named_form is None or named == "parquet" else self.named_form

    def wants(self, form: str) -> bool:
        """Return whether the result goes anywhere in a format."""
        return any(one == form for _, one in self.targets)


@dataclass(frozen=True)
class TableOptions(ShowOptions):
    """As `ShowOptions`, of commands whose only notes are those under tables."""

    notes: Annotated[
        str | None,
        typer.Option(
            callback=_notes,
            metavar="|".join(NOTES),
            autocompletion=completion.one_of(*NOTES),
            rich_help_panel=OUTPUT,
            help="Notes under a table; in LaTeX footnotes. Default: brief, three lines. -q and -v are none and all.",
        ),
    ] = None

    @property
    def told(self) -> str:
        """How many notes are printed: one of NOTES."""
        return self.notes or super().told
