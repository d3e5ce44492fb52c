"""What the functions of the API return: records and tables as values, that show themselves in a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, overload

from upbench.records.record import Record
from upbench.records.stored import StoredRecord
from upbench.report.formats import html, latex, render
from upbench.report.formats.table import Table
from upbench.report.tables import comparison
from upbench.report.tables.result_set import ResultSet
from upbench.report.tables.sweep import default_table

if TYPE_CHECKING:
    import pandas


class Shown:
    """Base of values that have a table: as Markdown, as a DataFrame, as text and in a notebook."""

    def _table(self) -> Table:
        raise NotImplementedError

    def to_markdown(self) -> str:
        """Return the table in GitHub-flavoured Markdown, with its notes."""
        return render.markdown(self._table())

    def to_latex(self, caption: str | None = None, label: str = "") -> str:
        """Return the table in LaTeX, set so that it fits a column of a paper, with its notes as footnotes.

        Args:
            caption: The caption, in LaTeX; None for what was measured.
            label: The label, as "tab:cost"; none without it.
        """
        shown = replace(self._table(), caption=caption)
        return latex.environment(replace(shown, label=label, label_is_whole=True) if label else shown)

    def to_dataframe(self) -> pandas.DataFrame:
        """Return one row for each record, in SI base units and never rounded; None or NaN where a value is not known."""
        import pandas

        shown = self._table()
        return pandas.DataFrame(shown.raw_rows, columns=shown.raw_heads).infer_objects()

    def _repr_html_(self) -> str:
        """Return the table as HTML, which is how a notebook shows it."""
        return html.fragment(self._table())

    def __str__(self) -> str:
        return render.terminal(self._table(), plain=True)


class Profile(Shown, Record):
    """The record of one upsampler; all its fields are attributes."""

    @classmethod
    def of(cls, record: Record) -> Profile:
        """Return the same record with a table."""
        return cls.model_construct(**{name: getattr(record, name) for name in type(record).model_fields})

    def _table(self) -> Table:
        return comparison.profile_table(self)

    def by_operator(self) -> ResultTable:
        """Return a table of the operators that the MACs belong to."""
        return ResultTable(comparison.operators_table(self))


class _Several(Shown, Sequence[Record]):
    """A sequence of records with a table of all of them."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = list(records)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        return self.records[index]

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)}: {', '.join(record.label for record in self.records)}>"


class Comparison(_Several):
    """Records that were measured side by side, in interleaved rounds.

    Args:
        records: One for each upsampler, in the order in which the upsamplers were given.
        reference: The record that ratios of latency are taken to; it is one of `records`.
    """

    def __init__(self, records: Sequence[Record], reference: Record) -> None:
        super().__init__(records)
        self.reference = reference

    def _table(self) -> Table:
        return comparison.comparison_table(self.records, self.reference)


class Records(_Several):
    """Records of results files, or of a sweep that was just run.

    Their samples stay in the files: a record is read whole when it is taken out, as by `records[0]` or in a loop.

    Args:
        records: One for each cell.
        skipped: A sentence for each line of the files that is no record.
    """

    def __init__(self, records: Sequence[Record], skipped: Sequence[str] = ()) -> None:
        super().__init__(records)
        self.skipped = tuple(skipped)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        found = self.records[index]
        return _loaded(found) if isinstance(found, Record) else [_loaded(one) for one in found]

    def __iter__(self) -> Iterator[Record]:
        return map(_loaded, self.records)

    def __reduce__(self) -> tuple[type[Records], tuple[list[Record], tuple[str, ...]]]:
        return Records, (list(self), self.skipped)

    @property
    def title(self) -> str:
        """The titles of the sweeps that the records belong to."""
        names = dict.fromkeys(r.sweep.title or r.sweep.name for r in self.records if r.sweep)
        return "; ".join(names) or "Records"

    def _table(self) -> Table:
        return default_table(ResultSet.of(self.records), self.title)


def _loaded(record: Record) -> Record:
    return record.loaded() if isinstance(record, StoredRecord) else record


class ResultTable(Shown):
    """A table with chosen columns, or with the values of an axis as columns.

    Args:
        content: The table.
    """

    def __init__(self, content: Table) -> None:
        self.content = content

    def _table(self) -> Table:
        return self.content

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.content.title!r}: {len(self.content.rows)} rows>"
