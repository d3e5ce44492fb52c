"""Derived values of a set of records that tables, effects and pictures share, each computed once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from upbench import conventions, metrics
from upbench.analysis import conclusions, effects, stats
from upbench.analysis.passes import PassRatio
from upbench.records.record import Record
from upbench.report.tables import columns, facts, grouping, published
from upbench.report.tables import relative as bases
from upbench.report.tables.columns import Column
from upbench.report.tables.pass_levels import PassLevels, passes_of
from upbench.report.tables.published import PublishedColumns


@dataclass(frozen=True)
class Group:
    """Records of one machine and its versions, the only ones that compare.

    Args:
        heading: The machine and the versions in words.
        records: The records, in their order.
    """

    heading: str
    records: list[Record]


@dataclass(frozen=True, eq=False)
class ResultSet:
    """Records, and what is asked of all of them together.

    Everything is found when it is first needed and then kept. What is kept are derived values (groups, verdicts, rows
    of published tables), never samples: those are read through the records alone.

    Args:
        records: One record a cell, in the order of the results.
        axes: The axes of the sweep, in the order of the columns.
        convention: How parameters and MACs are counted.
        base: The row that differences are taken to, as `--base` has it; None for values in full.
    """

    records: Sequence[Record]
    axes: Sequence[str]
    convention: str = conventions.DEFAULT
    base: str | None = None
    _apart: dict[tuple[int, int], bool] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, records: Sequence[Record], convention: str = conventions.DEFAULT, base: str | None = None) -> ResultSet:
        """Return records as a set with all axes that they have, in the order in which they come.

        A record that is of no sweep has the values of these axes that its spec says.

        Args:
            records: The records.
            convention: Name of the convention that FLOPs are counted by.
            base: What the others are set against; None for no base row.
        """
        axes = list(dict.fromkeys(name for record in records for name in record.axes))
        if any(record.sweep is None for record in records):
            alone = iter(grouping.with_axes([r for r in records if r.sweep is None], axes))
            records = [next(alone) if r.sweep is None else r for r in records]
        return cls(records, axes, convention, base)

    @cached_property
    def groups(self) -> list[Group]:
        """Return the records by machine and versions, each group in its order; see `grouping.by_machine`."""
        groups = []
        several = len(grouping.measurement_versions(self.records)) > 1
        allocators = len({grouping.allocator_of(r) for r in self.records if r.status != "impossible"}) > 1
        found = grouping.by_machine(self.records, self.axes)
        one_place = len(found) > 1 and len({key[:-1] for key in found}) == 1
        for members in found.values():
            named = next((r for r in members if r.status != "impossible"), members[0])
            where = grouping.machine_text(named, self.axes, several, allocators)
            groups.append(Group(grouping.series_text(named) if one_place else where, members))
        return groups

    @cached_property
    def rows(self) -> list[Record]:
        """Return the records in the order of the groups."""
        return [record for group in self.groups for record in group.records]

    @cached_property
    def headings(self) -> dict[int, str]:
        """Return the line above each group, by its first row in `rows`; nothing where there is one group only."""
        starts: dict[int, str] = {}
        start = 0
        for group in self.groups:
            starts[start] = group.heading
            start += len(group.records)
        return starts if len(self.groups) > 1 else {}

    @cached_property
    def context(self) -> list[Column]:
        """Return the columns besides the axes that tell rows apart; see `grouping.context`."""
        return grouping.context(self.records, self.axes)

    @cached_property
    def keys(self) -> list[Column]:
        """Return the columns that name a cell: its axes and its context."""
        return [*map(columns.axis, self.axes), *self.context]

    @cached_property
    def published(self) -> list[PublishedColumns]:
        """Return the published tables that the records' sweeps name."""
        return published.columns_of(self.records)

    @cached_property
    def printed(self) -> dict[str, PublishedColumns]:
        """Return the published table of each published column, by the key of the column."""
        return {column.key: table for table in self.published for column in table.columns}

    @cached_property
    def metrics(self) -> dict[str, metrics.Metric]:
        """Return every quantity by name: those that upbench measures, and the accuracy that the records hold."""
        return metrics.under(self.convention, self.records)

    @cached_property
    def accuracies(self) -> list[Column]:
        """Return the columns of the accuracy that is given or published for the records."""
        return list(columns.accuracies(self.records))

    @cached_property
    def _peers(self) -> dict[int, Hashable]:
        once: dict[Hashable, Hashable] = {}
        keys = ((id(r), (grouping.machine_key(r, self.axes), grouping.workload_key(r))) for r in self.records)
        return {number: once.setdefault(key, key) for number, key in keys}

    def peers(self, record: Record) -> Hashable:
        """Return what two records must have in common before one is better than the other: machine, versions and work."""
        return self._peers[id(record)]

    def ranked_with(self, record: Record, column: Column) -> Hashable:
        """Return what two records must have in common before one is better in a column.

        Work for all; for what is counted what it depends on; for what is timed the machine and the run.
        """
        work, metric = grouping.workload_key(record), column.metric
        if metric is None or not metric.measured:
            return work
        if not metric.exact:
            return self.peers(record), grouping.session(record)
        return work, counted_on(record, column)

    @cached_property
    def _sizes_of_sessions(self) -> Counter[Hashable]:
        return Counter(grouping.session(r) for r in self.records if facts.timing(r))

    def timed_alone(self, record: Record) -> bool:
        """Return whether a record was timed in a run of its own while others were timed together."""
        sizes = self._sizes_of_sessions
        return bool(facts.timing(record)) and sizes[grouping.session(record)] == 1 and max(sizes.values()) > 1

    @cached_property
    def works(self) -> set[Hashable]:
        """Return the kinds of work that the rows do."""
        return {grouping.workload_key(record) for record in self.rows}

    @cached_property
    def _base_rows(self) -> dict[int, tuple[Record | None, Record | None]]:
        """The base row of each record on its machine, and that or else one of another machine or run."""
        if self.base is None:
            return {}
        base_of = bases.parse(self.base, self.rows, self.axes, self.context)
        own = {id(record): base_of(record, False) for record in self.rows}
        return {id(record): (own[id(record)], own[id(record)] or base_of(record, True)) for record in self.rows}

    def base_of(self, record: Record, column: Column | None = None) -> Record | None:
        """Return the row that a record's difference in a column is taken to; None where there is none that compares.

        What is counted may have it on another machine or in another run; without a column any row is returned.
        """
        _, found = self._base_rows.get(id(record), (None, None))
        if found is None or column is None or column.metric is None or not column.metric.measured:
            return found
        if column.metric.exact:
            return found if counted_on(record, column) == counted_on(found, column) else None
        by_passes = record in self.passes or found in self.passes
        if by_passes and grouping.session(record) != grouping.session(found):
            return None
        return self.base_row(record)

    @property
    def ratios_beside_base(self) -> bool:
        """Return whether a row that differences are taken to is not the reference of the ratios of latency."""
        rows = {id(base): base for base, _ in self._base_rows.values() if base is not None}.values()
        return any(row.latency and row.latency.passes and row.latency.passes.ratio is not None for row in rows)

    def base_row(self, record: Record) -> Record | None:
        """Return the row that a record's differences are taken to: itself for the base row, None where there is none.

        Raises:
            UnknownName: `base` names an axis, a value or a row that is not there.
        """
        return self._base_rows.get(id(record), (None, None))[0]

    @cached_property
    def measured(self) -> ResultSet:
        """Return the set of those records that hold measurements, with the same axes."""
        return ResultSet([r for r in self.records if r.status == "ok"], self.axes, self.convention, self.base)

    @cached_property
    def failed(self) -> list[str]:
        """Return the name and the status of every cell that has no measurements."""
        names = [f"{grouping.cell_name(r, grouping.level_text)} ({r.status})" for r in self.records if r.status != "ok"]
        return list(dict.fromkeys(names))

    @cached_property
    def varying(self) -> list[str]:
        """Return the axes that take more than one value, in the order of the axes."""
        values = {name: {grouping.level_text(grouping.axis_value(r, name)) for r in self.records} for name in self.axes}
        return [name for name in self.axes if len(values[name]) > 1]

    @cached_property
    def noise_floor(self) -> float | None:
        """Return the largest difference that any of the records could not tell from none, as a part of 1."""
        return noise_floor(self.rows)

    @cached_property
    def name(self) -> str:
        """Return the name of the sweep; empty without one."""
        return next((r.sweep.name for r in self.records if r.sweep), "")

    @cached_property
    def too_busy(self) -> list[str]:
        """Return a warning where the passes of a sweep could say nothing of any cell, with the machine's load; else nothing."""
        ratios = (
            (PassRatio(p.ratio.value, p.ratio.low, p.ratio.high, len(p.numbers)), r.noise_floor or 0.0)
            for r in self.rows
            if facts.in_passes(r) and (p := passes_of(r)) and p.ratio and p.ratio.low is not None
        )
        if not conclusions.decides_nothing(ratios):
            return []
        loads = [r.environment.load for r in self.rows if r.environment.load is not None]
        load = f" (load {max(loads):.1f})" if loads else ""
        return [f"The machine was too busy{load} to tell any cell from the reference."]

    def told_apart(self, record: Record, other: Record) -> bool:
        """Return whether two separate runs differ by the rule of comparisons: FASTER or SLOWER."""
        pair = (id(record), id(other))
        if pair not in self._apart:
            by_passes = record in self.passes or other in self.passes
            apart = (stats.Verdict.FASTER, stats.Verdict.SLOWER)
            self._apart[pair] = self.verdict(record, other) in apart if by_passes else told_apart(record, other)
        return self._apart[pair]

    def verdict(self, record: Record, other: Record) -> stats.Verdict:
        """Return what the latencies of two cells say; across passes of different sweeps or machines nothing."""
        if record in self.passes or other in self.passes:
            pair = self.passes.pair(record, other)
            return pair.verdict(noise_floor((record, other)) or 0.0) if pair else stats.Verdict.UNSURE
        if record.latency is None or other.latency is None or not comparable(record, other):
            return stats.Verdict.UNSURE
        ratio = effects.unpaired_ratio(record.latency.samples_s, other.latency.samples_s)
        return stats.verdict(ratio, noise_floor((record, other)) or 0.0)

    def verdicts(self, records: Sequence[Record], other: Record) -> list[stats.Verdict]:
        """Return what `verdict` says of several cells against another one, each of which is not that one."""
        if not any(record in self.passes for record in (other, *records)):
            return [self.verdict(record, other) for record in records]
        return self.passes.verdicts(records, other, [noise_floor((one, other)) or 0.0 for one in records])

    @cached_property
    def fastest(self) -> list[tuple[Record, list[Record], int]]:
        """Return for each kind of work its fastest row, the rows not told apart from it, and the number of all others."""
        by_peers: dict[Hashable, list[Record]] = {}
        for record in self.rows:
            if facts.timing(record) and record.status == "ok":
                by_peers.setdefault((self.peers(record), grouping.session(record)), []).append(record)
        found = []
        for peers in by_peers.values():
            best = min(peers, key=lambda r: s.median if (s := metrics.latency_summary(r)) else 0.0)
            close = [r for r in peers if r is not best and not self.told_apart(r, best)]
            found.append((best, close, len(peers) - 1))
        return found

    @cached_property
    def passes(self) -> PassLevels:
        """What passes say of those records that were timed in some."""
        return PassLevels(self.records)


def counted_on(record: Record, column: Column) -> tuple[Hashable, ...]:
    """Return what must agree before two counts of a column compare: for memory the software, on a GPU its kind too."""
    metric, where = column.metric, record.environment
    if metric is None:
        return ()
    on_gpu = metric.comparable_on_gpu if where.device_type != "cpu" else ()
    return tuple(where.value(name) for name in (*metric.comparable_on, *on_gpu))


def noise_floor(records: Sequence[Record]) -> float | None:
    """Return the largest difference that any of some records could not tell from none, as a part of 1; None where unknown."""
    return max((r.noise_floor for r in records if r.noise_floor is not None), default=None)


def comparable(record: Record, other: Record) -> bool:
    """Return whether the latencies of two separate runs were taken with one allocator and one clock: else nothing is said."""
    if record.latency is None or other.latency is None:
        return False
    same_clock = record.latency.clock == other.latency.clock
    return same_clock and grouping.allocator_of(record) == grouping.allocator_of(other)


def told_apart(record: Record, other: Record) -> bool:
    """Return whether two separate runs differ by the rule of comparisons: FASTER or SLOWER."""
    if record.latency is None or other.latency is None or not comparable(record, other):
        return False
    noise = noise_floor((record, other)) or 0.0
    slow, fast = metrics.latency_summary(record), metrics.latency_summary(other)
    bound = 1 + max(0.05, noise)
    if slow and fast and (slow.low > fast.high * bound or 1 / bound <= slow.median / fast.median <= bound):
        return slow.low > fast.high * bound  # the bootstrap below, 20 ms a cell, would say the same
    ratio = effects.unpaired_ratio(record.latency.samples_s, other.latency.samples_s)
    return stats.verdict(ratio, noise) in (stats.Verdict.FASTER, stats.Verdict.SLOWER)
