"""Sweeps as they are run: failures of every kind, death in mid-cell, resumption, several devices."""

from __future__ import annotations

import gc
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from tests.forked_command import Command
from tests.forked_workers import Forked
from upbench.cli.app import app
from upbench.errors import OutputError
from upbench.records import store
from upbench.records.record import Record
from upbench.sweeping import expand, resume
from upbench.sweeping import runner as sweep
from upbench.sweeping.expand import Cell, SweepSpec

ROOT = Path(__file__).parents[2]

MODULES = """
import os, signal, time
import torch
from torch import nn


class Greedy(nn.Module):
    def __init__(self, channels, scale):
        super().__init__()

    def forward(self, x):
        return torch.cat([torch.ones(2**26) for _ in range(1000)])


class Raises(Greedy):
    def forward(self, x):
        raise ValueError("on purpose\\nwith a second line")


class Unbuildable(Greedy):
    def __init__(self, channels, scale):
        raise KeyError("no")


class Crashes(Greedy):
    def forward(self, x):
        os.kill(os.getpid(), signal.SIGSEGV)


class Hangs(Greedy):
    def forward(self, x):
        time.sleep(1000)
"""


def write_sweep(folder: Path, **changes: object) -> Path:
    data = {
        "name": "tiny",
        "input": {"shape": "16x6x5"},
        "measure": {"budget": 0.02, "device": "cpu"},
        **changes,
    }
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump(data, sort_keys=False))
    return file


def start(folder: Path) -> Command:
    """The command in a process of its own, in `folder`."""
    return Command(folder, "upbench", "sweep", "tiny.yaml")


def finish(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the command again, which goes on where a process of before ended."""
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(app, ["sweep", "tiny.yaml"])
    assert done.exit_code == 0, done.output


def wait_for_lines(path: Path, count: int, process: subprocess.Popen[str] | Forked | subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)


def test_cells_that_fail_in_every_way_are_records_and_the_sweep_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.py").write_text(MODULES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    classes = ["bad:Greedy", "nearest", "bad:Raises", "bad:Crashes", "bad:Hangs", "bad:Unbuildable", "bilinear"]
    write_sweep(tmp_path, grid={"upsampler": classes}, measure={"budget": 0.02, "device": "cpu", "threads": 1})
    done = CliRunner().invoke(app, ["sweep", "tiny.yaml", "--timeout", "8", "--memory", "1"])
    sys.modules.pop("bad", None)
    out, said = done.stdout, done.stderr
    assert done.exit_code == 1
    assert "Traceback" not in said
    records = store.current(store.load(tmp_path / "results" / "tiny.jsonl").records)
    assert len(records) == len(store.load(tmp_path / "results" / "tiny.jsonl").records)
    assert [r.status for r in records] == ["oom", "ok", "error", "crashed", "timeout", "error", "ok"]
    assert [r.sweep.cell for r in records if r.sweep] == [*range(7)]
    errors = [r.error or "" for r in records]
    assert "can't allocate memory" in errors[0]
    assert "ValueError: on purpose (bad.py, line 17: " in errors[2]
    assert errors[3] == "the process was killed by SIGSEGV (Segmentation fault)"
    assert errors[4] == "it took longer than the 8 s that --timeout allows"
    assert "KeyError: 'no' (bad.py, line 22: " in errors[5]
    assert said.splitlines()[-1].endswith("hold 7 of 7 cells: 2 ok, 2 error, 1 oom, 1 crashed, 1 timeout")
    assert "on purpose" in out
    assert all(errors[n] in (tmp_path / "results" / "tiny.md").read_text() for n in (3, 4))


def test_killed_in_mid_cell_and_run_again_no_cell_is_lost_or_measured_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results" / "tiny.jsonl"
    grid = {"k_up": [3, 4, 5], "k_enc": [1, 3]}
    write_sweep(
        tmp_path, base={"upsampler": "carafe"}, grid=grid, measure={"device": "cpu", "threads": 1, "budget": 0.5}
    )
    passes = path.with_suffix(".passes.jsonl")
    with start(tmp_path) as command:
        wait_for_lines(path, 2, command.process)  # the impossible cells, which come first
        wait_for_lines(passes, 2, command.process)
        command.send(signal.SIGKILL)
    before, counted = path.read_bytes(), passes.read_bytes()
    assert before.count(b"\n") == 2
    with start(tmp_path) as command:
        wait_for_lines(passes, 6, command.process)  # all four are counted, and passes begun
        command.send(signal.SIGKILL)
    assert path.read_bytes().startswith(before)
    finish(tmp_path, monkeypatch)
    assert path.read_bytes().startswith(before)
    assert passes.read_bytes().startswith(counted)
    found = store.load(path)
    assert found.skipped == []
    assert Counter(json.dumps(r.axes) for r in found.records) == {
        json.dumps({"k_up": k_up, "k_enc": k_enc}): 1 for k_up in (3, 4, 5) for k_enc in (1, 3)
    }
    assert Counter(r.status for r in found.records) == {"ok": 4, "impossible": 2}
    assert all(r.latency and r.latency.passes for r in found.records if r.status == "ok")
    lines = [json.loads(line) for line in passes.read_text().splitlines() if line.endswith("}")]
    assert Counter(json.dumps(line["axes"]) for line in lines if line["schema"] == "counted 1") == {
        json.dumps({"k_up": k_up, "k_enc": k_enc}): 1 for k_up in (3, 5) for k_enc in (1, 3)
    }
    timed = [
        (line["pass"], json.dumps(cell["axes"]), cell["role"])
        for line in lines
        if line["schema"] == "pass 1"
        for cell in line["cells"]
    ]
    assert len(timed) == len(set(timed)), "no cell is timed twice in a pass"
    assert len(timed) >= 5 * 4, "three cells and the twin of the fourth in five passes"
    files = {"tiny.jsonl", "tiny.passes.jsonl", "tiny.md", "tiny.csv"}
    assert {path.name for path in path.parent.iterdir()} == files


@pytest.mark.parametrize(
    ("lines", "records", "budget"), [(1, 0, 0.5), (6, 3, 2.0)], ids=["while counting", "after three passes"]
)
def test_ctrl_c_finishes_what_is_measured_and_the_next_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: int, records: int, budget: float
) -> None:
    path = tmp_path / "results" / "tiny.jsonl"
    measure = {"device": "cpu", "threads": 1, "budget": budget}
    write_sweep(tmp_path, base={"upsampler": "carafe"}, grid={"seed": [0, 1, 2]}, measure=measure)
    with start(tmp_path) as command:
        wait_for_lines(path.with_suffix(".passes.jsonl"), lines, command.process)  # three cells, then a block a pass
        command.send(signal.SIGINT)
        code = command.process.wait()
    _, said = command.printed()
    assert code == 130
    assert "Traceback" not in said
    found = store.load(path)
    assert found.skipped == []
    assert len(found.records) == records
    assert f"{records} of 3 cells" in said
    assert "; run the same command to go on" in said
    assert path.with_suffix(".csv").is_file() == (f"its .md and .csv hold {records}" in said) == bool(records)
    if records:
        assert len(path.with_suffix(".csv").read_text().splitlines()) == 1 + records
        assert {r.latency.stopped for r in found.records if r.latency} == {"interrupted"}
        assert "of 5 passes, unfinished" in path.with_suffix(".md").read_text()
    finish(tmp_path, monkeypatch)
    current = store.current(store.load(path).records)
    assert [len(r.latency.passes.numbers) >= 5 for r in current if r.latency and r.latency.passes] == [True] * 3
    assert {r.latency.stopped for r in current if r.latency} == {"budget"}


def cells_of(**changes: Any) -> tuple[SweepSpec, list[Cell]]:
    data = {"name": "t", "base": {"upsampler": "carafe"}, "input": {"shape": "16x6x5"}, **changes}
    plan = expand.load(data, "here")
    return plan, expand.expand(plan, "here")


def silent(*said: object) -> None:
    """Progress and notices that nobody reads."""


def run_fake(
    path: Path, retry: Sequence[str] = (), progress: sweep.Progress = silent, notice: Any = silent, **changes: Any
) -> sweep.Outcome:
    plan, cells = cells_of(**changes)
    options = sweep.Options(module="tests.sweeping.fake_worker", retry=frozenset(retry))
    with sweep.crew(cells, options) as crew:
        return sweep.run_cells(cells, plan, path, store.index(path), crew, options, progress, notice)


def test_several_gpus_have_a_worker_each_and_share_the_cells(tmp_path: Path) -> None:
    """On a machine that says it has two; cells of the CPU come after theirs. The first cell of a GPU takes three seconds."""
    path = tmp_path / "r.jsonl"
    seeds = {"auto": 30, "cuda:1": 30, "cpu": 1000}
    run_fake(path, cells=[{"device": on, "seed": n} for on, first in seeds.items() for n in (first, 1001, 1002, 1003)])
    records = store.load(path).records
    assert len(records) == len({json.dumps(r.axes) for r in records}) == 12
    on = {device: [r for r in records if r.environment.device_id == device] for device in ("cuda:0", "cuda:1", "cpu")}
    assert all(len({r.label.split()[1] for r in those}) == 1 for those in on.values()), "one worker each"
    assert on["cuda:0"]
    assert {r.axes["device"] for r in on["cuda:0"]} == {"auto"}
    assert {r.axes["device"] for r in on["cuda:1"]} == {"auto", "cuda:1"}
    assert records[-4:] == on["cpu"]
    assert all(r.settings.measure.device == r.axes["device"] for r in records)
    assert {r.label.split()[0] for r in on["cuda:1"]} == {"cuda:1"}


def test_equal_cells_are_measured_once_and_are_records_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    shapes = {"shape": ["16x6x5", "paper", "256x120x120"], "seed": [1001]}
    assert run_fake(path, grid=shapes).measured == 2
    records = store.load(path).records
    assert [(r.axes["shape"], r.sweep.cell) for r in records if r.sweep] == [
        ("16x6x5", 0),
        ("paper", 1),
        ("256x120x120", 2),
    ]
    assert records[1].latency == records[2].latency
    assert records[1].key == records[2].key


def test_what_another_grid_has_measured_is_copied(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    run_fake(path, grid={"seed": [1001, 1002]})
    outcome = run_fake(path, grid={"k_up": [5, 3], "seed": [1001]})
    assert outcome.measured == 1
    records = store.load(path).records
    assert [r.axes for r in records[2:]] == [{"k_up": 5, "seed": 1001}, {"k_up": 3, "seed": 1001}]
    assert records[2].started == records[0].started
    assert run_fake(path, grid={"k_up": [5, 3], "seed": [1001]}).measured == 0
    assert len(store.load(path).records) == 4


def test_an_impossible_cell_is_written_before_the_first_is_measured_and_only_once(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    for _ in range(2):
        outcome = run_fake(path, grid={"k_up": [3, 4]})
        assert Counter(outcome.status.values()) == {"ok": 1, "impossible": 1}
        first, second = store.load(path).records
        assert first.status == "impossible"
        assert first.error == "params.k_up is 4, but must be an odd integer of at least 1"
        assert first.settings.params["k_up"] == 4
        assert second.axes == {"k_up": 3}


def test_upsamplers_without_a_fused_form_are_impossible_cells_of_a_fused_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for on the command line, as `--backend fused`; the others are measured all the same."""
    write_sweep(tmp_path, grid={"upsampler": ["carafe", "nearest"]})
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["sweep", "tiny.yaml", "--backend", "fused", "-v"])
    assert done.exit_code == 0, done.output
    assert "hold 2 of 2 cells: 1 impossible, 1 ok" in done.stderr
    assert "nothing was measured" not in done.stderr
    again = CliRunner().invoke(app, ["sweep", "tiny.yaml", "--backend", "fused"])
    assert "nothing was measured: 1 of 2 cells are in results/tiny.jsonl, measured on 20" in again.stderr
    assert again.stderr.endswith("; --fresh measures them here\n")
    found = {r.axes["upsampler"]: r for r in store.load(tmp_path / "results" / "tiny.jsonl").records}
    assert found["carafe"].backends == {"window_assemble": "fused"}
    assert found["nearest"].status == "impossible"
    assert found["nearest"].error == "measure.backend is fused, but nearest has no fused backend; use auto or eager"
    assert found["nearest"].settings.measure.backend == "fused"
    assert "nearest has no fused backend" in " ".join(done.stdout.split())


def fail(path: Path, status: str) -> None:
    """Write the record of a cell that failed, as an earlier run would have."""
    record = store.load(path).records[0]
    path.unlink()
    store.append(path, record.model_copy(update={"status": status, "error": "so it was", "latency": None}))


@pytest.mark.parametrize(
    ("status", "retry", "measured"),
    [("oom", [], 0), ("oom", ["error", "timeout"], 0), ("oom", ["oom"], 1), ("timeout", ["oom", "timeout"], 1)],
)
def test_failed_cells_are_measured_again_on_request(
    tmp_path: Path, status: str, retry: list[str], measured: int
) -> None:
    path = tmp_path / "r.jsonl"
    run_fake(path, grid={"seed": [1001]})
    fail(path, status)
    outcome = run_fake(path, retry, grid={"seed": [1001]})
    assert outcome.measured == measured
    assert outcome.status == {0: "ok" if measured else status}
    assert len(store.load(path).records) == 1 + measured


def test_another_version_or_device_is_measured_anew() -> None:
    _, cells = cells_of(grid={"seed": [1]})
    env = {"device": "One", "threads": 1, "torch": "2.0", "upbench": "0", "measurement_version": 1}

    def planned(known: store.Index, **changed: object) -> resume.Plan:
        return resume.plan(cells, known, {"auto": [{**env, **changed}]})

    (place,) = planned(store.Index()).identities
    known = store.Index({place: store.Place(0, "ok", None)}, {place[0]: store.Place(0, "ok", None)})
    assert planned(known).measure == []
    for changed in ({"device": "Two"}, {"threads": 2}, {"torch": "2.1"}, {"measurement_version": 2}):
        assert planned(known, **changed).measure == [0]
    assert planned(known, upbench="1").measure == [], "a release measures as the one before, unless it says otherwise"
    both: Mapping[str, Any] = {"auto": [{**env, "device": "Two"}, env]}
    assert resume.plan(cells, known, both).measure == [], "measured on one of the GPUs"


def test_a_second_ctrl_c_drops_the_cell_at_once(tmp_path: Path) -> None:
    """In a process of its own, whose only cell takes nine seconds."""
    path = tmp_path / "r.jsonl"
    code = (
        "import sys; from pathlib import Path; from tests.sweeping import test_sweep as t; path = Path(sys.argv[1])\n"
        "out = t.run_fake(path, (), lambda what, *_: print(what, flush=True), lambda said: print(said, flush=True),"
        " grid={'seed': [0, 90]})\n"
        "print(out.interrupted, out.measured)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert any(line == "counting [2/2] seed=90\n" for line in process.stdout)
        wait_for_lines(path.with_suffix(".passes.jsonl"), 1, process)
        process.send_signal(signal.SIGINT)
        assert any("Ctrl-C again drops it" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        assert process.stdout.read().endswith("True 0\n")
    assert path.with_suffix(".passes.jsonl").read_text().count('"counted 1"') == 1


def test_a_results_file_that_can_no_longer_be_written_ends_the_sweep(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        run_fake(tmp_path / "none" / "r.jsonl", grid={"seed": [1001]})


def test_the_parent_does_not_keep_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a record is in the file it is gone from memory with all its parts, however many cells a sweep has."""
    path, append = tmp_path / "r.jsonl", store.append
    alive: list[int] = []

    def appended(file: Path, record: Record) -> None:
        homes = (str(getattr(type(found), "__module__", "")) for found in gc.get_objects())
        alive.append(sum(home.startswith("upbench.records.") for home in homes))
        append(file, record)

    monkeypatch.setattr(store, "append", appended)
    run_fake(path, grid={"seed": list(range(1000, 1020)), "device": ["cpu"]})
    assert len(alive) == len(store.load(path).records) == 20
    assert alive[-1] <= alive[0] + 1


def test_a_file_that_has_every_equal_cell_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    shapes = {"shape": ["paper", "256x120x120"], "seed": [1001]}
    run_fake(path, grid=shapes)
    before = path.read_bytes()
    for _ in range(2):
        assert run_fake(path, grid=shapes).measured == 0
        assert path.read_bytes() == before


def test_an_impossible_cell_stands_on_the_threads_that_it_asks_for(tmp_path: Path) -> None:
    """So that it is in one group with the cells that were measured."""
    path = tmp_path / "r.jsonl"
    run_fake(path, grid={"k_up": [3, 4]}, measure={"threads": 5, "device": "cpu"})
    assert [(r.status, r.environment.threads) for r in store.load(path).records] == [("impossible", 5), ("ok", 1)]


def test_a_dry_run_learns_from_records_on_as_many_threads_as_the_cells_ask_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("upbench.sweeping.worker.MODULE", "tests.sweeping.fake_worker")
    path = tmp_path / "r.jsonl"
    changes: dict[str, Any] = {"measure": {"threads": 5, "device": "cpu"}}
    run_fake(path, grid={"seed": [1001]}, **changes)
    record = store.load(path).records[0]
    path.unlink()
    for threads, known in ((5, True), (1, False)):
        store.append(
            path, record.model_copy(update={"environment": record.environment.model_copy(update={"threads": threads})})
        )
        file = write_sweep(tmp_path, base={"upsampler": "carafe"}, grid={"seed": [1002]}, **changes)
        done = CliRunner().invoke(app, ["sweep", str(file), "--output", str(path), "--dry-run"])
        assert done.exit_code == 0, done.output
        assert ("there are no records" not in " ".join(done.stdout.split())) is known
        path.unlink()


def test_cells_of_an_older_way_to_measure_are_measured_again_and_stay_a_group_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sweep(tmp_path, grid={"upsampler": ["bilinear", "nearest"]})
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "results" / "tiny.jsonl"
    first = CliRunner().invoke(app, ["sweep", "tiny.yaml"])
    assert first.exit_code == 0, first.output
    assert "another now" not in first.stderr
    records = store.load(path).records
    path.unlink()
    for one in records:
        old = one.environment.model_copy(update={"measurement_version": 1})
        latency = one.latency and one.latency.model_copy(update={"passes": None})
        store.append(path, one.model_copy(update={"environment": old, "latency": latency}))
    path.with_suffix(".passes.jsonl").unlink()
    planned = CliRunner().invoke(app, ["sweep", "tiny.yaml", "--dry-run"])
    assert "to measure: the way to measure is another now (version 2, before 1)" in planned.stdout
    again = CliRunner().invoke(app, ["sweep", "tiny.yaml"])
    assert again.exit_code == 0, again.output
    assert "the way to measure is another now (version 2, before 1); 2 cells are measured again" in again.stderr
    assert [r.environment.measurement_version for r in store.load(path).records] == [1, 1, 2, 2]
    files = sorted(map(str, path.parent.glob("*.jsonl")))
    assert len(files) == 2, "the passes file is beside it"
    shown = CliRunner().invoke(app, ["table", *files, "-v"])
    assert shown.exit_code == 0, shown.output
    assert "measurement version 1" in shown.stdout
    assert "measurement version 2" in shown.stdout
    assert "There is no verdict across versions" in shown.stdout
    assert "tiny.passes.jsonl is a file of passes" in shown.stderr
    refused = CliRunner().invoke(app, ["sweep", "tiny.yaml", "--output", "results/tiny.passes.jsonl"])
    assert refused.exit_code == 2
    assert "a file of passes" in refused.stderr


def test_the_reference_is_the_cell_that_was_asked_for_and_stays_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("upbench.sweeping.worker.MODULE", "tests.sweeping.fake_worker")
    monkeypatch.chdir(tmp_path)
    write_sweep(tmp_path, base={"upsampler": "carafe"}, grid={"k_up": [3, 4, 5], "seed": [1001]})
    path = tmp_path / "results" / "tiny.jsonl"

    def references() -> list[Any]:
        found = [r.latency.passes for r in store.load(path).records if r.latency]
        return [json.loads(passes.reference[1])["k_up"] for passes in found if passes]

    for wrong, said in (
        ("k_up", "is not AXIS=VALUE"),
        ("k_ip=3", "did you mean 'k_up'"),
        ("k_up=7", "no value of k_up; known: 3, 4, 5"),
        ("k_up=4", "the cell is impossible"),
    ):
        refused = CliRunner().invoke(app, ["sweep", "tiny.yaml", "--reference", wrong])
        assert refused.exit_code == 2
        assert said in refused.stderr
    assert not path.exists()
    done = CliRunner().invoke(app, ["sweep", "tiny.yaml", "--reference", "k_up=3"])
    assert done.exit_code == 0, done.output
    assert references() == [3, 3]
    assert "--fresh" not in done.stderr
    done = CliRunner().invoke(app, ["sweep", "tiny.yaml", "--reference", "k_up=5"])
    assert (
        "ratios to k_up=3, seed=1001; no cell was left to measure, and --fresh measures all again, as ratios to k_up=5"
        in done.stderr
    )
    assert references() == [3, 3]
    write_sweep(tmp_path, base={"upsampler": "carafe"}, grid={"k_up": [3, 5, 7], "seed": [1001]})
    done = CliRunner().invoke(app, ["sweep", "tiny.yaml"])
    assert done.exit_code == 0, done.output
    assert references() == [3, 3, 3], "a cell that is added is set against the same one"
