"""Sweeps on a cluster of three node processes: the local engine's records, what SIGKILL costs, overhead and memory."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import yaml

import tests
from tests import ray_nodes
from tests.command_line import refused, upbench
from tests.slow import ray_driver
from upbench.records import store
from upbench.records.record import Record
from upbench.sweeping.engines.choice import Choice

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="the extra ray is not installed"),
]
ROOT = Path(tests.__file__).parents[1]
MODULE = """
import os, time
import torch

class Up(torch.nn.Module):
    def __init__(self, channels, scale, how="up"):
        super().__init__()
        self.how, self.layer = how, torch.nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        if self.how == "error":
            raise ValueError("no such thing")
        if self.how == "crash":
            os.kill(os.getpid(), 11)
        if self.how == "oom":
            torch.empty(2**50)
        if self.how == "hang":
            time.sleep(1000)
        return torch.nn.functional.interpolate(self.layer(x), scale_factor=2)
"""
WAIT_S = 300.0
OVERHEAD = 1.05
MORE_MB = 60.0


@pytest.fixture(autouse=True)
def _loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ray_nodes.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Any]:
    """Three of one kind, and a head that measures nothing."""
    (tmp_path / "cwd").mkdir()
    with ray_nodes.cluster(tmp_path / "cwd", {}, {}, {}, head_cpus=0) as started:
        yield started


def _exact(path: Path) -> dict[str, Any]:
    """Of each cell all that needs no clock; each stands once in the file."""
    records = store.load(path).records
    found = {json.dumps(record.axes): record.model_dump(mode="json") for record in records}
    assert len(found) == len(records)
    names = ("status", "error", "params", "macs", "macs_by_op", "memory", "op_count", "output", "sources", "spec")
    return {cell: {name: data[name] for name in names} for cell, data in found.items()}


def _passes(path: Path) -> Counter[tuple[str, int]]:
    """How often each cell of a sweep stands in each pass."""
    found: Counter[tuple[str, int]] = Counter()
    for text in path.with_suffix(".passes.jsonl").read_text().splitlines():
        line = json.loads(text)
        for cell in line.get("cells", ()):
            found[cell["role"] + cell["key"], line["pass"]] += 1
    return found


def test_forty_cells_are_those_of_the_local_engine(nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Among them one that raises, one without memory, one that crashes, and one that hangs."""
    (tmp_path / "fates.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    ends = [{"how": how, "seed": 0} for how in ("error", "oom", "crash", "hang")]
    data = {
        "name": "forty",
        "base": {"upsampler": "fates:Up"},
        "input": {"shape": "8x6x5"},
        "measure": {"budget": 0.1, "device": "cpu", "threads": 1},
        "cells": [*ends, *({"how": "up", "seed": n} for n in range(1, 37))],
    }
    (tmp_path / "forty.yaml").write_text(yaml.safe_dump(data))
    paths = {engine: tmp_path / f"{engine}.jsonl" for engine in ("local", "ray")}
    for engine, path in paths.items():
        more = ["--address", nodes.address] if engine == "ray" else []
        done = upbench("sweep", "forty.yaml", "-o", path, "--timeout", 60, "--engine", engine, *more)
        assert done.exit_code == 1, done.output
    found, wanted = _exact(paths["ray"]), _exact(paths["local"])
    assert len(wanted) == 40
    assert found == wanted
    by_fate = {json.loads(cell)["how"]: data["status"] for cell, data in found.items()}
    assert by_fate == {"error": "error", "oom": "oom", "crash": "crashed", "hang": "timeout", "up": "ok"}
    on = Counter(record.environment.device_id for record in store.load(paths["ray"]).records)
    assert len(on) == 3, on
    before = paths["ray"].read_bytes()
    again = upbench("sweep", "forty.yaml", "-o", paths["ray"], "--engine", "ray", "--address", nodes.address)
    assert again.exit_code == 1
    assert paths["ray"].read_bytes() == before, "what is whole is not measured again"


@pytest.mark.parametrize("victim", ["node", "driver"])
def test_sigkill_loses_no_cell_and_measures_none_twice(nodes: Any, tmp_path: Path, victim: str) -> None:
    path, count = tmp_path / "killed.jsonl", 30
    command = [sys.executable, "-m", "tests.slow.ray_driver", nodes.address, str(path), str(count)]
    environment = {**os.environ, "UPBENCH_FAKE_S": "2"}
    log = (tmp_path / "log").open("w")
    running = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=log, stdout=log)
    passes, until = path.with_suffix(".passes.jsonl"), time.monotonic() + WAIT_S
    while not (passes.exists() and b'"pass":1' in passes.read_bytes()):
        assert running.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < until
        time.sleep(0.05)
    if victim == "node":
        ray_nodes.kill(sorted(nodes.worker_nodes, key=id)[0])
    else:
        running.send_signal(signal.SIGKILL)
        running.wait()
        running = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=log, stdout=log)
    assert running.wait(WAIT_S) == 0, (tmp_path / "log").read_text()
    said = (tmp_path / "log").read_text()
    assert said.count("what it was doing is given out again") == (victim == "node"), said
    assert len(_exact(path)) == count
    found = _passes(path)
    assert set(found.values()) == {1}
    assert len(found) % count == 0, "of every pass each cell, and for the reference its twin"
    assert {number for _, number in found} >= set(range(5))


def test_ctrl_c_ends_in_130_frees_the_nodes_and_the_same_command_goes_on(nodes: Any, tmp_path: Path) -> None:
    spec, path = tmp_path / "s.yaml", tmp_path / "s.jsonl"
    spec.write_text(
        "name: s\nbase: {upsampler: carafe}\ninput: {shape: 8x6x5}\nmeasure: {budget: 1.0, device: cpu, threads: 1}\n"
        f"grid: {{seed: {list(range(24))}}}\n"
    )
    words = ["sweep", str(spec), "-o", str(path), "--engine", "ray", "--address", nodes.address]
    log = (tmp_path / "log").open("w")
    running = subprocess.Popen([sys.executable, "-m", "upbench", *words], cwd=ROOT, stdout=log, stderr=log)
    passes, until = path.with_suffix(".passes.jsonl"), time.monotonic() + WAIT_S
    while not (passes.exists() and b'"pass":1' in passes.read_bytes()):
        assert running.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < until
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    assert running.wait(60) == 130, (tmp_path / "log").read_text()
    said = (tmp_path / "log").read_text()
    assert "of 24 cells" in said
    assert "Traceback" not in said
    before = _passes(path)
    assert set(before.values()) == {1}
    done = upbench(*words)
    assert done.exit_code == 0, done.output
    whole = store.current(store.load(path).records)  # cells of too few passes stand in the file as well
    assert [record.axes["seed"] for record in whole] == list(range(24))
    assert {len(record.latency.passes.numbers) for record in whole if record.latency and record.latency.passes} == {5}
    after = _passes(path)
    assert set(after.values()) == {1}, "what was on disk is not measured again"
    assert before.keys() <= after.keys()


def test_kinds_of_machines_never_stand_in_one_ratio(tmp_path: Path) -> None:
    """Two kinds, by their number of threads: the larger one measures, --on selects the other, and tables keep them apart."""
    (tmp_path / "cwd").mkdir()
    one = {"OMP_NUM_THREADS": "1"}
    spec, path = tmp_path / "kinds.yaml", tmp_path / "kinds.jsonl"
    spec.write_text(
        "name: kinds\nbase: {upsampler: carafe}\ninput: {shape: 8x6x5}\nmeasure: {budget: 0.1, device: cpu}\n"
        "grid: {k_up: [3, 5]}\n"
    )
    with ray_nodes.cluster(tmp_path / "cwd", one, one, {"OMP_NUM_THREADS": "2"}, head_cpus=0) as started:
        words = ["sweep", spec, "-o", path, "--engine", "ray", "--address", started.address]
        done = upbench(*words)
        assert done.exit_code == 0, done.output
        assert "of another kind, and left out" in " ".join(done.stderr.split())
        assert {r.environment.threads for r in store.load(path).records} == {1}
        done = upbench(*words, "--on", "2 threads")
        assert done.exit_code == 0, done.output
        assert "no node is of that kind" in refused(*words, "--on", "H100")
    records = store.load(path).records
    assert sorted((r.axes["k_up"], r.environment.threads) for r in records) == [(3, 1), (3, 2), (5, 1), (5, 2)]
    references = {(r.environment.threads, _reference(r)) for r in records}
    assert len(references) == len({reference for _, reference in references}) == 2
    text = upbench("table", path).stdout
    assert "1 thread" in text
    assert "2 threads" in text


def _reference(record: Record) -> str:
    assert record.latency is not None
    assert record.latency.passes is not None
    return str(record.latency.passes.reference)


SRUN = """#!/bin/sh
while case "$1" in -*) true;; *) false;; esac; do shift; done
exec "$@"
"""
SCONTROL = """#!/bin/sh
echo one
echo two
"""


def test_the_batch_file_starts_ray_on_the_nodes_and_sweeps_there(tmp_path: Path) -> None:
    """With commands of SLURM that run everything here."""
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "s.yaml").write_text(
        "name: s\nbase: {upsampler: carafe}\ninput: {shape: 8x6x5}\nmeasure: {budget: 0.1, device: cpu, threads: 1}\n"
        "grid: {k_up: [3, 5]}\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SLURM_CPUS_ON_NODE": "1",
        "SLURM_JOB_NODELIST": "[one-two]",
        "RAY_PORT": str(port),
    }
    command = ["bash", str(ROOT / "examples" / "ray.sbatch"), "s.yaml", "-o", "s.jsonl"]
    log = (tmp_path / "log").open("w")
    running = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    started = set[int]()
    while running.poll() is None:
        started |= ray_nodes.below(running.pid)
        time.sleep(1)
    assert running.returncode == 0, (tmp_path / "log").read_text()
    assert [record.status for record in store.load(tmp_path / "s.jsonl").records] == ["ok", "ok"]
    ray_nodes.assert_ended(started)


def test_the_engine_costs_less_than_a_twentieth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 cells of 2 s on one node against one local worker, in turn, three times, without the start."""
    monkeypatch.setenv("UPBENCH_FAKE_S", os.environ.get("UPBENCH_FAKE_S", "2"))
    (tmp_path / "cwd").mkdir()
    seconds: dict[str, list[float]] = {"local": [], "ray": []}
    with ray_nodes.cluster(tmp_path / "cwd") as started:
        choices = {"local": Choice(), "ray": Choice(name="ray", address=started.address)}
        for turn in range(3):
            for engine, choice in choices.items():
                seconds[engine].append(ray_driver.run(tmp_path / f"{engine}{turn}.jsonl", 200, choice))
    ratios = [there / here for there, here in zip(seconds["ray"], seconds["local"], strict=True)]
    print(f"\nseconds {seconds}, ratios {ratios}")
    assert median(ratios) < OVERHEAD


def test_ten_thousand_cells_take_little_more_memory_than_ten(tmp_path: Path) -> None:
    (tmp_path / "cwd").mkdir()
    peaks = {}
    with ray_nodes.cluster(tmp_path / "cwd") as started:
        for count in (10, 10_000):
            words = [started.address, str(tmp_path / f"many{count}.jsonl"), str(count)]
            command = [sys.executable, "-m", "tests.slow.ray_driver", *words]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
            peaks[count] = [float(word) for word in done.stdout.split()]
            assert len(store.index(tmp_path / f"many{count}.jsonl").by_cell) == count
    print(f"\npeak in MB and seconds: {peaks}")
    assert peaks[10_000][0] - peaks[10][0] <= MORE_MB
