"""What the functions of the API return: records and tables as values, that show themselves in a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, overload

from upbench.records.record import Record
from upbench.report.formats import html, render
from upbench.report.formats.table import Table
from upbench.report.tables import comparison
from upbench.report.tables.result_set import ResultSet
from upbench.report.tables.sweep import default_table

if TYPE_CHECKING:
    import pandas


class Shown:
    """A value with a table."""

    def _table(self) -> Table:
        raise NotImplementedError

    def to_markdown(self) -> str:
        """The table in GitHub-flavoured Markdown, with its notes."""
        return render.markdown(self._table())

    def to_dataframe(self) -> pandas.DataFrame:
        """The values in SI base units, never rounded, a row a record; None or NaN where something is not known."""
        import pandas

        shown = self._table()
        return pandas.DataFrame(shown.raw_rows, columns=shown.raw_heads).infer_objects()

    def _repr_html_(self) -> str:
        """The table as a notebook shows it."""
        return html.fragment(self._table())

    def __str__(self) -> str:
        return render.terminal(self._table(), plain=True)


class Profile(Shown, Record):
    """The record of one upsampler; all its fields are attributes."""

    @classmethod
    def of(cls, record: Record) -> Profile:
        """The same record, that shows itself."""
        return cls.model_construct(**{name: getattr(record, name) for name in type(record).model_fields})

    def _table(self) -> Table:
        return comparison.profile_table(self)

    def by_operator(self) -> ResultTable:
        """The operators that the MACs are of."""
        return ResultTable(comparison.operators_table(self))


class _Several(Shown, Sequence[Record]):
    """A sequence of records."""

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
    """Records that were measured side by side.

    Args:
        records: one for each upsampler, in the order in which they were given.
        reference: the one of them that ratios of latency are taken to.
    """

    def __init__(self, records: Sequence[Record], reference: Record) -> None:
        super().__init__(records)
        self.reference = reference

    def _table(self) -> Table:
        return comparison.comparison_table(self.records, self.reference)


class Records(_Several):
    """Records of results files, or of a sweep that was just run.

    Args:
        records: one for each cell.
        skipped: sentences on lines of the files that are no records.
    """

    def __init__(self, records: Sequence[Record], skipped: Sequence[str] = ()) -> None:
        super().__init__(records)
        self.skipped = tuple(skipped)

    @property
    def title(self) -> str:
        """The titles of the sweeps that the records are of."""
        names = dict.fromkeys(r.sweep.title or r.sweep.name for r in self.records if r.sweep)
        return "; ".join(names) or "Records"

    def _table(self) -> Table:
        return default_table(ResultSet.of(self.records), self.title)


class ResultTable(Shown):
    """A table whose columns and form were chosen."""

    def __init__(self, content: Table) -> None:
        self.content = content

    def _table(self) -> Table:
        return self.content

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.content.title!r}: {len(self.content.rows)} rows>"
