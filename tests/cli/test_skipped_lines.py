"""Lines of results files that are skipped: one sentence for all that say the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command_line import refused, upbench
from upbench.records.skipped import together

OLD = Path(__file__).parents[2] / "results" / "theta.jsonl"


def _with_schema(path: Path, lines: int, schema: int) -> None:
    first = json.loads(OLD.read_text().splitlines()[0])
    path.write_text((json.dumps({**first, "schema": schema}) + "\n") * lines)


@pytest.mark.parametrize("command", [["table"], ["effects"], ["plot", "-o", "p.svg"], ["diff"]])
def test_a_file_of_another_schema_has_one_line(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _with_schema(Path("new.jsonl"), 9, 3)
    said = refused(command[0], "new.jsonl", *(["new.jsonl"] if command == ["diff"] else command[1:]))
    told = [line for line in said.splitlines() if "schema 3" in line]
    assert len(told) == (2 if command == ["diff"] else 1), "of diff one for each of its two files"
    assert all(line.endswith("; so are 8 more lines with the same, the last is line 9") for line in told)
    assert "line 1, has schema 3, but this version of upbench reads schemas 1 and 2; the line is skipped" in told[0]


def test_records_beside_such_lines_are_shown(tmp_path: Path) -> None:
    mixed = tmp_path / "mixed.jsonl"
    _with_schema(mixed, 3, 9)
    mixed.write_text(mixed.read_text() + OLD.read_text())
    result = upbench("table", mixed)
    assert result.exit_code == 0
    assert result.stderr.count("has schema 9") == 1
    assert "; so are lines 2 and 3\n" in result.stderr


def test_what_differs_is_said_one_by_one() -> None:
    a, b, free = "results file a, line 2, is torn", "results file b, line 3, is torn", "something else"
    assert together([a, free, b]) == [a, free, b]
    assert together([a, "results file a, line 7, is torn"]) == [f"{a}; so is line 7"]
    assert together([]) == []
