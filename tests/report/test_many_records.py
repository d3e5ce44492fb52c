"""Hundreds of records: each is read from its file a fixed number of times, and no samples stay in memory."""

from __future__ import annotations

import gc
import json
from collections import Counter
from pathlib import Path

import pytest

import upbench as python
from tests import many_records, record_builder
from tests.command_line import upbench
from upbench.records import readings, store, stored
from upbench.records import record as records
from upbench.records.stored import RecordFile, StoredRecord, StoredSamples
from upbench.report.formats import terminal
from upbench.report.formats.table import Table
from upbench.report.tables import column_choice
from upbench.report.tables.result_set import ResultSet
from upbench.report.tables.sweep import sweep_table


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("many")


def _file(folder: Path, count: int) -> Path:
    path = folder / f"many{count}.jsonl"
    return path if path.exists() else many_records.write(folder, count, f"many{count}")


def test_a_stored_record_is_the_record(folder: Path) -> None:
    path = _file(folder, 40)
    whole = store.current(store.load(path).records)
    found = stored.read(path).records
    assert len(found) == 40
    for one, other in zip(found, whole, strict=True):
        assert isinstance(one, StoredRecord)
        for name in type(other).model_fields:
            if name != "latency":
                assert getattr(one, name) == getattr(other, name), name
        assert one.latency is not None
        assert other.latency is not None
        assert list(one.latency.samples_s) == other.latency.samples_s
        assert (one.key, one.place, one.settings) == (other.key, other.place, other.settings)
        assert one.to_dict() == other.to_dict()
    changed = found[3].model_copy(update={"noise_floor": 0.5})
    assert (changed.noise_floor, changed.to_dict()["noise_floor"], found[3].noise_floor) != (0.5, 0.5, 0.5)
    assert changed.macs == found[3].macs
    with pytest.raises(AttributeError):
        _ = found[0].nothing  # type: ignore[attr-defined]


def test_samples_are_read_again_and_not_kept(folder: Path) -> None:
    found = stored.read(_file(folder, 40)).records
    samples = found[5].latency.samples_s if found[5].latency else []
    assert isinstance(samples, StoredSamples)
    assert samples[0] == next(iter(samples))
    assert samples[:2] == list(samples)[:2]
    assert len(samples) == many_records.PASSES * many_records.ROUNDS * 2
    assert _held(len(samples)) == 0


def _held(size: int) -> int:
    """How many lists of so many samples are in memory."""
    gc.collect()
    held = [one for one in gc.get_objects() if type(one) is list and len(one) == size]
    return sum(isinstance(one[0], float) for one in held)


def test_python_reads_a_record_whole_when_it_is_taken_out(folder: Path) -> None:
    read = python.read(_file(folder, 40))
    size = many_records.PASSES * many_records.ROUNDS * 2
    assert len(read) == len(python.table(read).to_dataframe()) == 40
    assert _held(size) == 0
    one = read[7]
    assert (type(one), _held(size)) == (records.Record, 1)
    assert one == store.load(_file(folder, 40)).records[7]


def test_torn_lines_and_documents_are_read_as_before(folder: Path, tmp_path: Path) -> None:
    text = _file(folder, 40).read_text()
    torn = tmp_path / "torn.jsonl"
    torn.write_text(text + text.splitlines()[0][:200])
    assert stored.read(torn).skipped == store.read(torn).skipped
    assert len(stored.read(torn).records) == 40
    document = tmp_path / "d.json"
    document.write_text(json.dumps([json.loads(line) for line in text.splitlines()], indent=2))
    assert len(stored.read(document).records) == 40


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often records are read: "parsed" and "lines" from their file, "unpacked" from memory."""
    counts: Counter[str] = Counter()
    whole, line, parse = RecordFile.whole, RecordFile.line, records.parse

    def counted_whole(self: RecordFile, offset: int, packed: bytes) -> records.Record:
        counts["unpacked"] += offset not in self._whole
        return whole(self, offset, packed)

    def counted_line(self: RecordFile, offset: int) -> dict[str, object]:
        counts["lines"] += 1
        return line(self, offset)

    def counted_parse(text: str, source: str) -> object:
        counts["parsed"] += 1
        return parse(text, source)

    monkeypatch.setattr(RecordFile, "whole", counted_whole)
    monkeypatch.setattr(RecordFile, "line", counted_line)
    monkeypatch.setattr(stored, "parse", counted_parse)
    monkeypatch.setattr(stored, "KEPT", 8)
    readings._SUMMARIES.clear()  # what another test has summarised is not read here
    return counts


def _read(reads: Counter[str], words: list[str], path: Path) -> tuple[dict[str, int], str]:
    """How often records were read by a command, and what it printed."""
    reads.clear()
    result = upbench(words[0], path, *words[1:])
    assert result.exit_code == 0, result.stderr
    return dict(reads), result.stdout


@pytest.mark.parametrize("words", [["table"], ["effects"], ["table", "--format", "csv"]], ids=" ".join)
def test_records_are_unpacked_a_fixed_number_of_times(folder: Path, words: list[str], reads: Counter[str]) -> None:
    done = {count: _read(reads, words, _file(folder, count))[0] for count in (100, 400)}
    for what, most in (("parsed", 2.1), ("lines", 1.1), ("unpacked", 8)):
        assert done[400].get(what, 0) <= most * 400, done
        assert done[400].get(what, 0) <= 5.2 * done[100].get(what, 0) + 20, done


@pytest.mark.parametrize("alone", [False, True], ids=["in passes", "alone"])
@pytest.mark.parametrize("words", [["table", "--columns", "all"], ["effects"]], ids=" ".join)
def test_notes_of_every_kind_read_no_record_again(
    folder: Path, words: list[str], alone: bool, reads: Counter[str]
) -> None:
    path = many_records.with_every_note(_file(folder, 40), alone)
    done, said = _read(reads, [*words, "-v", "--format", "markdown"], path)
    assert done["unpacked"] <= 10 * 40, done
    wanted = ("an own warning of cell 7", "2.9.0", "unpinned", "ceilings" if words[0] == "table" else "Front")
    timed = ("older way", "wall time") if alone else ("too busy", "later run", "passes")
    assert [text for text in (*wanted, *timed) if text not in said] == []


def test_long_tables_are_laid_out_in_parts_as_short_ones_are_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _file(folder, 100)
    for form in ("markdown", "csv", "terminal"):
        words = ["table", path, *(() if form == "terminal" else ("--format", form))]
        whole = upbench(*words).stdout
        monkeypatch.setattr(f"upbench.report.formats.{form}.ROWS", 7)
        assert upbench(*words).stdout == whole


def _tables() -> dict[str, Table]:
    """Tables with what changes the height of a row, the width of a column or the number of blocks, as records have it."""
    error = "TypeError: Up.forward() takes 2 positional arguments but 3 were given, see\nthe second line"
    failed = record_builder.record(axes={"theta": 3}, theta=3, status="error", error=error)
    elsewhere = record_builder.theta_sweep(torch="2.9.0")
    found = {}
    for name, made in {
        "one group": record_builder.theta_sweep(),
        "groups and an error": [*record_builder.theta_sweep(), failed, *elsewhere],
    }.items():
        results = ResultSet.of(made)
        for columns in (column_choice.DEFAULT, "all"):
            shown = column_choice.pick(columns, results)
            found[f"{name}, {columns}"] = sweep_table(results, "A title", shown, "A headline.").with_notes("all")
    prose = [[f"row {n}", "word " * (3 * n), f"{10**n}"] for n in range(7)]
    lines = {0: "The first group", 3: "A line of a group that " + "is far too long " * 8, 6: ""}
    found["prose"] = Table("", ["Name", "Text", "Value"], prose, [False, False, True], [], [], groups=lines, lead=1)
    found["no rows"] = Table("Title", ["Name", "Value"], [], [False, True], [], [])
    return found


@pytest.mark.parametrize("styled", [False, True])
@pytest.mark.parametrize("width", [80, 120, None])
def test_parts_of_a_terminal_table_are_the_bytes_of_the_whole(
    width: int | None, styled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1" if styled else "")
    for name, table in _tables().items():
        assert len(table.rows) <= terminal.ROWS
        whole = terminal.draw(table, width)
        assert ("\x1b[1m" in whole) == (styled and bool(table.ranks)), name
        for rows in (1, 3):
            with monkeypatch.context() as patch:
                patch.setattr(terminal, "ROWS", rows)
                assert terminal.draw(table, width) == whole, (name, rows)
