"""Every quantity has one name, one entry, and appears wherever quantities do."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import command_lines, record_builder
from tests.command_line import upbench
from upbench import metrics
from upbench.errors import RenamedWarning, UnknownName
from upbench.metrics import METRICS
from upbench.report import metrics_page

ROOT = Path(__file__).parent.parent
TOY = """
from upbench import metrics, units
metrics.METRICS["toy-bytes"] = metrics.Metric(
    "toy-bytes", "Toy bytes", "bytes of a toy", units.BYTES, "memory.weight_bytes", head="Toy")
"""


def with_toy(folder: Path, *lines: Sequence[object]) -> list[subprocess.CompletedProcess[str]]:
    """Command lines of an upbench that has one more entry in METRICS."""
    return command_lines.forked(folder / "printed", *lines, prepare=TOY)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return record_builder.file(tmp_path / "r.jsonl", record_builder.theta_sweep())


def test_the_page_of_quantities_is_made_from_the_entries() -> None:
    page = (ROOT / "docs" / "quantities.md").read_text()
    assert page == metrics_page.page(), "run `upbench list --metrics > docs/quantities.md`"
    assert upbench("list", "--metrics").stdout == page


def test_every_field_and_key_is_one_of_the_record() -> None:
    record = record_builder.record()
    keys = [m.key for m in METRICS.values()]
    assert len(set(keys)) == len(keys)
    for metric in METRICS.values():
        value = record
        for part in metric.field.split("."):
            assert value is None or hasattr(value, part), metric.field
            value = getattr(value, part, None)
        assert metric.name == metric.name.lower().replace("_", "-")


def test_a_quantity_is_one_entry_and_appears_everywhere(results: Path, tmp_path: Path) -> None:
    fast = ("--shape", "8x6x5", "--budget", "0.01", "--threads", "1", "--device", "cpu")
    exact = ("compare", "carafe", "bilinear", *fast, "--exact")
    picture = tmp_path / "toy.svg"
    profile, compare, every, table, effects, plot, listed, *helps = with_toy(
        tmp_path,
        ("profile", "carafe", *fast),
        (*exact, "--max", "toy-bytes=1", "--format", "csv"),
        (*exact, "--columns", "all", "--format", "markdown"),
        ("table", results, "--columns", "toy-bytes", "--format", "json"),
        ("effects", results, "--metrics", "toy-bytes", "--part", "effects", "--format", "json"),
        ("plot", results, "--metric", "toy-bytes", "-o", picture),
        ("list", "--metrics"),
        *((command, "--help") for command in ("table", "effects", "plot", "compare")),
    )
    assert profile.returncode == 0, profile.stderr
    assert "Toy bytes" in profile.stdout
    assert compare.returncode == 1
    assert "FAILED carafe, max toy-bytes: " in compare.stderr
    assert ",weight_bytes," in compare.stdout.splitlines()[0]
    assert "Toy" in every.stdout
    assert json.loads(table.stdout)["tables"][0]["rows"][0]["weight_bytes"] == 1
    assert {row["metric"] for row in json.loads(effects.stdout)["tables"][0]["rows"]} == {"weight_bytes"}
    assert plot.returncode == 0, plot.stderr
    assert "Toy bytes" in picture.read_text()
    assert "| `toy-bytes` | bytes of a toy | bytes | lower | exact |" in listed.stdout
    assert len(helps) == 4
    for shown in helps:
        assert "toy-bytes" in "".join(shown.stdout.split()).replace("│", ""), shown.args


def test_a_baseline_without_a_quantity_is_still_compared(tmp_path: Path) -> None:
    fast = ("carafe", "--shape", "8x6x5", "--threads", "1", "--device", "cpu", "--exact")
    base = tmp_path / "base.json"
    assert upbench("compare", *fast, "--save", base).exit_code == 0
    (found,) = with_toy(tmp_path, ("compare", *fast, "--baseline", base, "--strict"))
    assert found.returncode == 0, found.stderr
    assert "NOTE carafe, baseline toy-bytes: not compared: baseline" in found.stderr


OLD = [(old, metric.name) for metric in METRICS.values() for old in metric.formerly]


@pytest.mark.parametrize(("old", "new"), OLD)
def test_old_spellings_work_and_say_what_to_write(old: str, new: str, results: Path) -> None:
    before = upbench("table", results, "--columns", old, "--format", "csv")
    after = upbench("table", results, "--columns", new, "--format", "csv")
    assert before.exit_code == 0, before.stderr
    assert before.stdout == after.stdout
    assert before.stderr == f"upbench: {old!r} is now called {new!r}; the old spelling works in this version only\n"
    assert after.stderr == ""


@pytest.mark.parametrize(
    "line",
    [
        ("compare", "carafe", "--shape", "8x6x5", "--device", "cpu", "--exact", "--max", "peak_memory=1GiB"),
        ("compare", "carafe", "--shape", "8x6x5", "--device", "cpu", "--exact", "--min", "carafe.peak_memory=1"),
        (
            *("compare", "carafe", "--shape", "8x6x5", "--device", "cpu", "--exact", "--max", "params=1M"),
            *("--tolerance", "peak_memory=1%"),
        ),
        ("effects", "FILE", "--metrics", "params,peak"),
        ("table", "FILE", "--columns", "peak,params"),
        ("table", "FILE", "--across", "theta", "--columns", "peak"),
    ],
)
def test_every_option_reads_an_old_spelling_and_says_so_once(line: tuple[str, ...], results: Path) -> None:
    result = upbench(*(results if part == "FILE" else part for part in line))
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("is now called 'peak-memory'") == 1


def test_a_budgets_file_may_have_old_spellings(tmp_path: Path) -> None:
    file = tmp_path / "b.yaml"
    file.write_text("max: {peak_memory: 1GiB}\ntolerance: {op_count: 'off', output_digest: 'off'}\n")
    result = upbench("compare", "carafe", "--shape", "8x6x5", "--device", "cpu", "--exact", "--budgets", file)
    assert result.exit_code == 0, result.stderr
    for name in ("'peak-memory'", "'op-count'", "'output-digest'"):
        assert result.stderr.count(f"is now called {name}") == 1


@pytest.mark.parametrize("axis", ["--metric", "--x", "--y"])
def test_pictures_read_an_old_spelling(axis: str, results: Path, tmp_path: Path) -> None:
    kind = "axis" if axis == "--metric" else "pareto"
    result = upbench("plot", results, "--kind", kind, axis, "training-peak", "-o", tmp_path / "a.svg")
    assert result.exit_code == 0, result.stderr
    assert "'training-peak' is now called 'training-peak-memory'" in result.stderr
    assert "Peak memory, forward + backward" in (tmp_path / "a.svg").read_text()


def test_flops_is_macs_and_no_old_spelling(results: Path) -> None:
    part = ("--part", "effects", "--format", "csv")
    flops, macs = (upbench("effects", results, "--metrics", name, *part) for name in ("flops", "macs"))
    assert (flops.stdout, flops.stderr) == (macs.stdout, "")
    bound = ("compare", "carafe", "--shape", "8x6x5", "--device", "cpu", "--exact", "--max", "FLOPs=1G")
    assert upbench(*bound).exit_code == 0


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (("table", "FILE", "--columns", "peak-memry"), "did you mean 'peak-memory'?"),
        (("effects", "FILE", "--metrics", "peak-memry"), "did you mean 'peak-memory'?"),
        (("plot", "FILE", "-o", "a.png", "--metric", "peak-memry"), "did you mean 'peak-memory'?"),
        (("compare", "carafe", "--max", "peak-memry=1"), "did you mean 'peak-memory'?"),
        (("compare", "carafe", "--max", "params=1", "--tolerance", "peak-memry=1%"), "did you mean 'peak-memory'?"),
        (("compare", "carafe", "--max", "first-call=1s"), "'first-call' has no interval to judge it by; known: params"),
        (("effects", "FILE", "--metrics", "first-call"), "'first-call' has no interval to judge it by; known: params"),
        (("plot", "FILE", "-o", "a.png", "--metric", "output-digest"), "unknown quantity for --metric"),
        (("compare", "carafe", "--max", "output-digest=1"), "has no bounds; it is compared with a baseline"),
        (
            ("compare", "carafe", "--max", "params=1", "--tolerance", "latency=1%"),
            "--threshold PERCENT is the slowdown",
        ),
    ],
)
def test_what_cannot_be_had_is_refused_with_what_can(line: tuple[str, ...], sentence: str, results: Path) -> None:
    result = upbench(*(results if part == "FILE" else part for part in line))
    assert result.exit_code == 2
    assert sentence in result.stderr


def test_a_library_call_warns_where_the_command_line_speaks() -> None:
    with pytest.warns(RenamedWarning, match="'peak-memory'"):
        assert metrics.find("peak", METRICS, "metric") is METRICS["peak-memory"]
    with pytest.raises(UnknownName, match=r"[kK]nown: params, macs-conv"):
        metrics.find("speed", METRICS, "metric")


def test_quantities_under_a_convention_are_counted_by_it() -> None:
    record = record_builder.record(flops=7, params=5)
    assert METRICS["macs"].read(record) == metrics.under("F0")["macs"].read(record) == 7
    assert metrics.under("F0")["macs"].title == "FLOPs (F0)"
    assert metrics.under("P0")["params"].head == "Params (P0)"
    assert metrics.under("P0")["macs"] is METRICS["macs"]
    assert METRICS["latency"].interval(record) is not None
    assert METRICS["macs"].interval(record) is None
