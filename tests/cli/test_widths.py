"""No table of any command is wider than the terminal, at 80 columns and at 120."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from tests import record_builder
from tests.command_line import upbench
from upbench.session.local import Local

FAST = ["--shape", "32x6x5", "--budget", "0.01", "--device", "cpu", "--threads", "1"]
SWEEP = (
    "name: tiny\ntitle: A tiny sweep\nbase: {upsampler: ldaaqu}\ninput: {shape: 32x6x5}\n"
    "measure: {budget: 0.02, device: cpu, threads: 1}\ngrid: {theta: [5, 11], groups: [2, 5]}\n"
)
COMMANDS: list[list[str]] = [
    ["list"],
    ["list", "--shapes"],
    ["list", "--hosts"],
    ["env"],
    ["profile", "ldaaqu", *FAST],
    ["profile", "ldaaqu", *FAST, "--by-op"],
    ["profile", "ldaaqu", *FAST, "--layers"],
    ["profile", "ldaaqu", *FAST, "--counters", "-v"],
    ["compare", "ldaaqu", "dysample*", "carafe:k_up=3,groups=2", *FAST],
    ["compare", "ldaaqu", "carafe", *FAST, "--columns", "all", "-v"],
    ["compare", "ldaaqu", "carafe", *FAST, "--backend", "eager,fused", "--columns", "time"],
    ["compare", "all", *FAST, "--exact", "--fit", "params=50k,macs=2x:bilinear", "--sort", "params"],
    ["compare", "carafe", "dysample", "--host", "faster-rcnn-r50", "--input", "64x64", "--exact", "--threads", "1"],
    ["compare", "dysample", "nearest", "--host", "faster-rcnn-r50", "--input", "64x64", "--stages", *FAST[2:], "-v"],
    ["compare", "bilinear", *FAST, "--exact", "--against", "HEAD", "--help"],
    ["diff", "old.jsonl", "new.jsonl"],
    ["sweep", "tiny.yaml", "--dry-run"],
    ["sweep", "tiny.yaml"],
    ["table", "theta.jsonl"],
    ["table", "theta.jsonl", "--columns", "all", "-v"],
    ["table", "machines.jsonl", "--base", "theta=11"],
    ["table", "grid.jsonl", "--pivot"],
    ["effects", "grid.jsonl"],
    ["effects", "theta.jsonl", "-v"],
    ["reproduce", "--list"],
    ["reproduce", "lda-aqu/table1", "--row", "FADE"],
    ["reproduce", "dysample/table3"],
    ["--help"],
    *([command, "--help"] for command in ("list", "show", "profile", "compare", "diff", "sweep", "table", "effects")),
    *([command, "--help"] for command in ("plot", "report", "reproduce", "env")),
]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sweep and results files."""
    made = tmp_path_factory.mktemp("results")
    (made / "tiny.yaml").write_text(SWEEP)
    sweep = record_builder.theta_sweep()
    failed = record_builder.record(axes={"theta": 15}, theta=15, cell=9, status="oom", error="no memory for this " * 9)
    record_builder.file(made / "theta.jsonl", [*sweep, failed])
    record_builder.file(made / "machines.jsonl", sweep + record_builder.theta_sweep(device="A very long name " * 6))
    cells = [
        record_builder.record(axes={"theta": t, "groups": g}, cell=9 * t + g, theta=t, groups=g, latency_s=1e-3 * t * g)
        for t in (5, 7, 9)
        for g in range(1, 13)
    ]
    record_builder.file(made / "grid.jsonl", cells)
    for name, factor in (("old.jsonl", 1), ("new.jsonl", 2)):
        record_builder.file(made / name, [record_builder.record("carafe", sweep=False, params=factor * 1000)])
    return made


def _measure_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a command that runs again, for another width, show what it measured the first time."""
    for name in ("compare", "compare_in_host"):
        measure, found = getattr(Local, name), []

        def remembered(*given: Any, measure: Any = measure, found: list[Any] = found, **options: Any) -> Any:
            if not found:
                found.append(measure(*given, **options))
            return copy.deepcopy(found[0])

        monkeypatch.setattr(Local, name, remembered)


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda a: " ".join(a)[:60])
def test_no_line_is_wider_than_the_terminal(
    arguments: list[str], results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(results)
    _measure_once(monkeypatch)
    for width in (80, 120):
        result = upbench(*arguments, env={"COLUMNS": str(width)})
        assert result.exit_code in (0, 1), result.output
        assert result.stdout.strip()
        assert {line for line in result.stdout.splitlines() if len(line) > width} == set()
        if "--exact" in arguments and "all" in arguments:
            break


def test_a_table_of_a_paper_is_not_folded_at_120_columns(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(results)
    for arguments in (["table", "theta.jsonl"], ["list"], ["table", "grid.jsonl"], ["effects", "grid.jsonl"]):
        printed = upbench(*arguments, env={"COLUMNS": "120"}).stdout
        tables = 2 if arguments[0] == "effects" else 1
        assert printed.count(" ─") == tables


def test_a_cell_that_is_folded_keeps_every_character(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(results)
    narrow = upbench("table", "theta.jsonl", "--columns", "all", env={"COLUMNS": "60"}).stdout
    wide = upbench("table", "theta.jsonl", "--columns", "all").stdout
    for line in wide.splitlines():
        if line.startswith(" 11 "):
            assert set(line.split()) <= set(narrow.split())
