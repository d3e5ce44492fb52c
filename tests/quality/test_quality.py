"""`upbench quality` through the command line: what it writes, takes up again, refuses, and says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import upbench as api
from tests.command_line import refused, upbench

TINY = ("--steps", 3, "--size", 32, "--batch", 2, "--pictures", "24,8")
KEPT = ("status", "scores", "first_loss", "last_loss", "upsampler", "params", "repeat", "seed", "together", "data")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def outcome(path: Path) -> list[dict[str, Any]]:
    """What the runs of a file came to, without times."""
    found = [{key: row[key] for key in KEPT} for row in lines(path)]
    return sorted(found, key=lambda row: (row["upsampler"], row["repeat"], row["seed"]))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results file of two batched upsamplers and one that is trained seed by seed."""
    path = tmp_path_factory.mktemp("study") / "q.jsonl"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPBENCH_IN_PROCESS", "1")
        result = upbench("quality", "bilinear", "carafe", "ldaaqu:theta=3", *TINY, "-o", path)
    assert result.exit_code == 0, result.output
    return path


def test_a_row_a_run_with_the_base_twice(study: Path) -> None:
    rows = lines(study)
    assert [(r["upsampler"], r["repeat"]) for r in rows[:18:6]] == [("bilinear", 0), ("bilinear", 1), ("carafe", 0)]
    assert len(rows) == 24
    assert {len(r["together"]) for r in rows if r["upsampler"] == "carafe"} == {6}
    assert [r["seed"] for r in rows if r["upsampler"] == "ldaaqu"] == list(range(6))
    assert {len(r["together"]) for r in rows if r["upsampler"] == "ldaaqu"} == {1}
    assert all(r["scores"].keys() == {"miou", "biou"} and r["cpu_s"] > 0 for r in rows if r["status"] == "ok")
    assert rows[0]["protocol"]["steps"] == 3
    assert "accuracy" not in study.read_text()


def test_what_is_there_is_not_run_again_and_a_torn_line_is(study: Path, tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    whole = study.read_text().splitlines()
    path.write_text("\n".join([*whole[:8], *whole[12:-1], whole[-1][:50]]))  # four of a batched call, and one torn
    result = upbench("quality", "bilinear", "carafe", "ldaaqu:theta=3", *TINY, "-o", path)
    assert result.exit_code == 0, result.output
    assert "is not a whole row" in result.stderr
    assert "holds 24 of 24 runs" in result.stderr
    path.write_text("\n".join(line for line in path.read_text().splitlines() if line.endswith("}")))
    assert outcome(path) == outcome(study)
    before = path.read_bytes()
    again = upbench("quality", "bilinear", "carafe", "ldaaqu:theta=3", *TINY, "-o", path)
    assert again.stdout == result.stdout
    assert path.read_bytes() == before


def test_two_processes_give_the_same_bits(study: Path, tmp_path: Path) -> None:
    """In a worker, as users have it, and killed in the middle: what it left is taken up."""
    path = tmp_path / "q.jsonl"
    words = ["quality", "bilinear", "carafe", "ldaaqu:theta=3", *map(str, TINY), "-o", str(path)]
    command = [sys.executable, "-m", "upbench", *words]
    environment = {key: value for key, value in os.environ.items() if key != "UPBENCH_IN_PROCESS"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and (not path.exists() or len(path.read_text().splitlines()) < 7):
        time.sleep(0.05)
    process.kill()
    process.wait()
    left = len(lines(path))
    assert left >= 6
    (tmp_path / ".q.jsonl.lock").unlink(missing_ok=True)
    result = upbench(*words)
    assert result.exit_code == 0, result.output
    assert outcome(path) == outcome(study)


def test_the_tables_say_what_they_are(study: Path) -> None:
    result = upbench("quality", "bilinear", "carafe", "ldaaqu:theta=3", *TINY, "-o", study, env={"COLUMNS": "80"})
    text = result.stdout
    assert "proxy mIoU against bilinear (early learning)" in text
    assert "EARLY LEARNING" in text
    assert "no accuracy of" in " ".join(text.split())
    assert "Resolution" in text
    assert "unadjusted" in text
    assert "ldaaqu (theta=3)" in text
    assert max(map(len, text.splitlines())) <= 80


def test_verdicts_in_json_and_csv_have_their_evidence(study: Path) -> None:
    found = json.loads(
        upbench("quality", "bilinear", "carafe", "ldaaqu:theta=3", *TINY, "-o", study, "--format", "json").stdout
    )
    rows = [row for row in found if row["score"] == "miou"]
    assert [row["upsampler"] for row in rows] == ["bilinear", "bilinear again", "carafe", "ldaaqu (theta=3)"]
    carafe = rows[2]
    seeds = {
        name: {
            r["seed"]: r["scores"]["miou"]
            for r in lines(study)
            if (r["upsampler"], r["repeat"]) == name and r["status"] == "ok"
        }
        for name in (("bilinear", 0), ("bilinear", 1), ("carafe", 0))
    }
    common = set.intersection(*map(set, seeds.values()))
    assert len(common) >= 3
    base = {s: (seeds["bilinear", 0][s] + seeds["bilinear", 1][s]) / 2 for s in common}
    gaps = [seeds["carafe", 0][s] - base[s] for s in common]
    assert carafe["difference"] == pytest.approx(sum(gaps) / len(gaps))
    assert carafe["wins"] == sum(gap > 0 for gap in gaps)
    assert carafe["resolution"] == pytest.approx(max(abs(rows[1]["low"]), abs(rows[1]["high"])))


def test_a_dry_run_says_the_cost_and_runs_nothing(study: Path, tmp_path: Path) -> None:
    path = tmp_path / "none.jsonl"
    result = upbench("quality", "bilinear", "ldaaqu:theta=3", *TINY, "--dry-run", "-o", path)
    assert result.exit_code == 0, result.output
    assert "18 of 18" in result.stdout
    assert "processor minutes" in result.stdout
    assert not path.exists()
    left = upbench("quality", "bilinear", "carafe", "ldaaqu:theta=3", *TINY, "--dry-run", "-o", study)
    assert "0 of 24" in left.stdout


def test_a_users_module_takes_part_and_failures_are_rows(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    modules = "tests.modules.seg_failing:Failing", "tests.modules.seg_failing:Diverging"
    result = upbench("quality", "nearest", "tests.modules.constant_carafe:ConstantCARAFE", *modules, *TINY, "-o", path)
    assert result.exit_code == 1, result.output
    assert "no memory of how to upsample" in result.stderr
    assert "6 failed" in result.stdout
    assert "6 diverged" in result.stdout
    rows = lines(path)
    assert {r["status"] for r in rows if r["upsampler"].endswith("ConstantCARAFE")} <= {"ok", "diverged"}
    assert all(r["sources"] for r in rows if ":" in r["upsampler"])
    again = upbench(
        "quality", "nearest", *modules, *TINY, "-o", path
    )  # what failed is tried again, what diverged is not
    assert again.exit_code == 1
    assert "holds 18 of 24 runs; 6 failed, and the same command tries them again" in again.stderr
    said = refused("quality", "nearest", modules[0], *TINY, "--dry-run", "-o", path)
    assert "Failing fails in a step of training: " in said
    assert [r["status"] for r in lines(path)[len(rows) :]] == ["error"] * 6


def test_a_module_that_ends_the_process_gives_rows_like_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "leaving.py").write_text(
        "import sys\nfrom tests.modules.constant_carafe import ConstantCARAFE\n\n\n"
        "class Leaving(ConstantCARAFE):\n    def forward(self, x):\n        sys.exit(3)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("UPBENCH_IN_PROCESS", "1")
    result = upbench("quality", "nearest", "leaving:Leaving", *TINY, "-o", tmp_path / "q.jsonl")
    assert result.exit_code == 1, result.output
    assert "leaving:Leaving failed: it ends the process, sys.exit(3)" in result.stderr


@pytest.mark.parametrize("command", ["table", "effects", "report", "plot", "diff"])
def test_commands_that_read_records_say_what_the_file_is(study: Path, tmp_path: Path, command: str) -> None:
    output = {"report": ("-o", tmp_path / "r.html"), "plot": ("-o", tmp_path / "p.png"), "diff": (study,)}
    said = refused(command, study, *output.get(command, ()))
    assert len(set(said.splitlines())) == 1, said
    assert f"{study} is a file of `upbench quality`, whose command prints its table again, and holds no record" in said
    assert not list(tmp_path.iterdir())


def test_nothing_else_is_written_to_rows_of_quality(study: Path, tmp_path: Path) -> None:
    before, sweep = study.read_bytes(), tmp_path / "s.yaml"
    sweep.write_text("name: s\nbase: {upsampler: bilinear}\ninput: {shape: 8x6x5}\ngrid: {batch: [1, 2]}\n")
    assert "nothing is added to it" in refused("sweep", sweep, "-o", study)
    assert study.read_bytes() == before


def test_the_gate_is_off_and_guides_are_the_laterals(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    result = upbench(
        "quality", "bilinear", "fade", "jbu", *TINY[:2], "--size", 32, "--batch", 1, "--pictures", "9,8", "-o", path
    )
    assert result.exit_code == 0, result.output
    assert {r["params"]["gate"] for r in lines(path) if r["upsampler"] == "fade"} == {False}
    assert {r["status"] for r in lines(path)} <= {"ok", "diverged"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["bilinear"], "bilinear alone cannot be judged; name a base and at least one more upsampler"),
        (["bilinear", "carafee"], "did you mean 'carafe'?"),
        (["bilinear", "freqfusion"], "freqfusion returns 2 maps, and a host of `upbench quality` takes one"),
        (["bilinear", "convex"], "is guided by a state of the size of its input"),
        (["bilinear", "sam-mask"], "sam-mask upsamples 4 times"),
        (["bilinear", "carafe", "--seeds", "7"], "seeds is 7, but must be 6 or 12, fixed beforehand"),
        (["bilinear", "carafe", "--size", "50"], "size is 50, but must be a multiple of 8, at least 16"),
        (["bilinear", "carafe", "--quick", "--steps", "9"], "leave one out"),
        (["bilinear", "carafe", "--data", "nowhere"], "there is no folder nowhere"),
        (["bilinear", "carafe", "--host", "fpm"], "fpn"),
        (["bilinear", "carafe", "--pictures", "7"], "must be two numbers above 0, TRAIN,TEST"),
        (["bilinear", "carafe", "--again", "fade"], "--again 'fade'"),
        (["bilinear", "carafe", "--set", "theta=3"], "none of bilinear, carafe has it"),
    ],
)
def test_what_cannot_be_is_one_sentence(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    assert sentence in refused("quality", *arguments, "-o", tmp_path / "q.jsonl")


def test_other_results_are_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "theta.jsonl"
    path.write_text('{"schema": 2}\n')
    assert "holds other results" in refused("quality", "bilinear", "carafe", *TINY, "-o", path)
    assert path.read_text() == '{"schema": 2}\n'


def test_from_python_it_is_the_same_study(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "q.jsonl"
    path.write_bytes(study.read_bytes())
    monkeypatch.setenv("UPBENCH_IN_PROCESS", "1")
    protocol = {"steps": 3, "size": 32, "batch": 2, "pictures": (24, 8)}
    third = {"upsampler": "ldaaqu", "params": {"theta": 3}}
    found = api.compare_quality("bilinear", "carafe", third, output=path, **protocol)
    assert path.read_bytes() == study.read_bytes(), "nothing was run again"
    words = ("quality", "bilinear", "carafe", "ldaaqu:theta=3", *TINY, "-o", path, "--format", "markdown", "-v")
    assert found.to_markdown().split() == upbench(*words).stdout.split()
    table = found.to_dataframe()
    assert list(table["score"].unique()) == ["miou", "biou"]
    assert len(table) == 2 * 4
    scores = [row.scores["miou"] for row in found.rows if row.label == "carafe" and row.status == "ok"]
    assert found.judgements["miou"].of("carafe").mean == pytest.approx(sum(scores) / len(scores))
    assert str(found).count("against bilinear") == 2
    other = api.compare_quality("bilinear", third, output=path, reference="ldaaqu (theta=3)", **protocol)
    assert other.study.base.label == "ldaaqu (theta=3)"
    assert len(lines(path)) == 24 + 6, "the new base once more"


def test_from_python_what_is_wrong_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    for arguments, sentence in (
        ((["bilinear", "carafe"], {"seeds": 7}), "6 or 12"),
        ((["bilinear", "carafe"], {"stepps": 7}), "stepps"),
        ((["bilinear"], {}), "alone cannot be judged"),
        ((["bilinear", "carfe"], {}), "carafe"),
        ((["bilinear", "carafe"], {"reference": "fade"}), "reference"),
        ((["bilinear", "carafe"], {"data": tmp_path / "none"}), "none"),
    ):
        (names, options) = arguments
        with pytest.raises(api.UpbenchError, match=sentence):
            api.compare_quality(*names, output=path, **options)
    assert not path.exists()
