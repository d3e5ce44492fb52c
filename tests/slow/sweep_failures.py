"""Rows of `sweep_protocol`: what SIGKILL, a crash, a hang and no memory cost a sweep."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.slow.sweep_commands import Bench, Row, equal_cells
from upbench.records import pass_store, store
from upbench.records.record import Record

PASSES = 5
CELLS = 4
KILLED_PASS = 2
"""The third of five, counted from 0."""
TIMEOUT_S = 20.0
WAIT_S = 600.0

HALF_WRITTEN = """
import os, signal, sys
from upbench.records import json_lines

whole = json_lines.append

def append(path, text):
    if '"pass":%d' % {number} in text:
        with path.open("ab", buffering=0) as file:
            file.write(text.encode()[: len(text) // 2])
            os.fsync(file.fileno())
        os.kill(os.getpid(), signal.SIGKILL)
    whole(path, text)

json_lines.append = append
from upbench.__main__ import main
sys.argv[0] = "upbench"
main()
"""
"""The command, killed while a line of a pass is half on disk: the kernel may end a process between two pages of a write."""

SOMETIMES = """
import os, time
from pathlib import Path
import torch

class Sometimes(torch.nn.Module):
    def __init__(self, channels, scale, how="none"):
        super().__init__()
        self.how, self.built = how, 0
        if how != "none":
            folder = Path(os.environ["BUILT"])
            self.built = len(list(folder.iterdir()))
            Path(folder, str(time.time_ns())).touch()

    def forward(self, x):
        # Built twice to be counted, then once a pass: the fourth time is the second pass.
        if self.built == 3:
            if self.how == "crash":
                os.kill(os.getpid(), 11)
            if self.how == "hang":
                time.sleep(1000)
            if self.how == "oom":
                torch.empty(2**50)
        return torch.nn.functional.interpolate(x, scale_factor=2)
"""


def kill(bench: Bench) -> list[Row]:
    """SIGKILL in the third pass."""
    data, path = equal_cells(count=CELLS), bench.folder / "killed.jsonl"
    line = bench.command(bench.write(data, "killed"), path)
    running = subprocess.Popen(line, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=bench.environment)
    _wait_for_pass(path, running)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    return _after_a_kill(bench, data, path, "SIGKILL in pass 3 of 5", torn=0)


def kill_in_a_write(bench: Bench) -> list[Row]:
    """SIGKILL while a line of the third pass is half written."""
    data, path = equal_cells(count=CELLS), bench.folder / "torn.jsonl"
    words = bench.command(bench.write(data, "torn"), path)[3:]
    line = [sys.executable, "-c", HALF_WRITTEN.format(number=KILLED_PASS), *words]
    done = subprocess.run(line, capture_output=True, text=True, env=bench.environment)
    if done.returncode != -signal.SIGKILL:
        raise RuntimeError(f"the sweep was to be killed in a write and ended with {done.returncode}: {done.stderr}")
    return _after_a_kill(bench, data, path, "SIGKILL in a write", torn=1)


def _wait_for_pass(path: Path, running: subprocess.Popen[bytes]) -> None:
    file, mark, until = path.with_suffix(".passes.jsonl"), f'"pass":{KILLED_PASS}'.encode(), time.monotonic() + WAIT_S
    while not (file.exists() and mark in file.read_bytes()):
        if running.poll() is not None or time.monotonic() > until:
            raise RuntimeError("the sweep ended before its third pass")
        time.sleep(0.02)


def _after_a_kill(bench: Bench, data: dict[str, Any], path: Path, what: str, torn: int) -> list[Row]:
    """Resume a sweep that was killed, and set it against one that was not."""
    before = path.with_suffix(".passes.jsonl").read_bytes()
    bench.sweep(data, path.stem)
    after = path.with_suffix(".passes.jsonl").read_bytes()
    index = pass_store.index(path.with_suffix(".passes.jsonl"))
    count = _lines_of_cells(path)
    planned = 1 + max(number for *_, number in count)
    missing = CELLS * planned - len(count)
    unbroken = bench.sweep(data, "unbroken")
    found = _plain(store.load(path).records)
    wanted = _plain(unbroken.records)
    differing = sorted({key for a, b in zip(found, wanted, strict=False) for key in a if a[key] != b[key]})
    return [
        Row(
            f"{what}: (cell, pass) measured twice",
            str(sum(n > 1 for n in count.values())),
            "0",
            max(count.values()) == 1,
        ),
        Row(
            f"{what}: (cell, pass) missing", f"{missing} of {CELLS * planned}", "0", missing == 0 and planned >= PASSES
        ),
        Row(f"{what}: lines lost", f"{len(index.skipped)} torn", f"{torn}", len(index.skipped) == torn),
        Row(
            f"{what}: what was on disk",
            "kept" if after.startswith(before) else "changed",
            "kept",
            after.startswith(before),
        ),
        Row(
            f"{what}: records unlike an unbroken run's",
            ", ".join(differing) or f"none of {len(found)}",
            "none, but for samples",
            not differing and len(found) == len(wanted) == CELLS,
        ),
    ]


def _lines_of_cells(path: Path) -> Counter[tuple[str, str, int]]:
    """How often each cell, the twin among them, stands in each pass of the passes file."""
    found: Counter[tuple[str, str, int]] = Counter()
    for text in path.with_suffix(".passes.jsonl").read_text().splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        for cell in line.get("cells", ()):
            found[f"{cell['role']} {cell['key']}", json.dumps(cell["axes"], sort_keys=True), line["pass"]] += 1
    return found


def _plain(records: list[Record]) -> list[dict[str, Any]]:
    """Records without what another run of the same may have otherwise: times, and how busy the machine was."""
    found = []
    for record in records:
        data = record.to_dict()
        for key in ("started", "noise_floor", "roofline_s", "sweep"):
            data.pop(key)
        data["environment"].pop("load")
        data["latency"] = {
            key: data["latency"][key] for key in ("mode", "clock", "stable", "stopped", "samples_per_round")
        }
        data["warnings"] = [text for text in data["warnings"] if "noisy" not in text]
        found.append(data)
    return found


def fails_in_one_pass(bench: Bench, how: str) -> list[Row]:
    """A cell that fails in the second pass only."""
    built = bench.folder / f"built-{how}"
    built.mkdir()
    (bench.folder / "sometimes.py").write_text(SOMETIMES)
    os.environ["BUILT"] = str(built)
    cells = [*({"how": "none", "seed": seed} for seed in range(3)), {"how": how, "seed": 0}]
    data = {key: value for key, value in equal_cells("sometimes:Sometimes", budget=0.5).items() if key != "grid"}
    options = ["--timeout", str(TIMEOUT_S)] if how == "hang" else []
    done = bench.sweep(data | {"cells": cells}, f"fails-{how}", *options)
    by_how = {(record.axes["how"], record.axes["seed"]): record for record in done.records}
    bad = by_how.pop((how, 0))
    passes = [_passes(record) for record in by_how.values()]
    alone = bad.latency is not None and _passes(bad) >= PASSES
    outcome = f"alone, {_passes(bad)} passes" if alone else f"{bad.status}: {bad.error or bad.warnings}"
    expected = {"crash": "crashed", "oom": "oom", "hang": "timeout"}[how]
    return [
        Row(f"{how} in pass 2 only: the cell", outcome[:60], f"alone, or {expected}", alone or bad.status == expected),
        Row(
            f"{how} in pass 2 only: passes of the others",
            ", ".join(map(str, passes)),
            "at least 5 each",
            min(passes) >= PASSES,
        ),
    ]


def _passes(record: Record) -> int:
    return len(record.latency.passes.numbers) if record.latency and record.latency.passes else 0
