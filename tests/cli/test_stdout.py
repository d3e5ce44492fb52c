"""stdout that takes nothing: one sentence and exit code 2; a pipe that was closed is no mistake."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.forked_command import Command

FULL = Path("/dev/full")
RESULTS = Path(__file__).parents[2] / "results"
SWEEP = """name: tiny
base: {upsampler: nearest}
input: {shape: 4x3x3}
measure: {device: cpu, budget: 0.01, threads: 1}
grid: {seed: [0]}
"""


def _onto_full(*arguments: object) -> subprocess.CompletedProcess[str]:
    with FULL.open("w") as full:
        return subprocess.run(
            [sys.executable, "-m", "upbench", *map(str, arguments)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=300,
            check=False,
        )


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize(
    "arguments", [["--help"], ["list", "--format", "json"], ["show", "carafe"], ["table", RESULTS / "theta.jsonl"]]
)
def test_a_full_disk_is_one_sentence(arguments: list[object]) -> None:
    done = _onto_full(*arguments)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith(
        "upbench: the result cannot be written to stdout (No space left on device); "
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
def test_a_sweep_whose_table_cannot_be_printed_keeps_and_names_its_files(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SWEEP)
    (tmp_path / "out").symlink_to(FULL)  # never to be read: it has no end
    with Command(tmp_path, "upbench", "sweep", "tiny.yaml", "-q") as command:
        assert command.process.wait(300) == 2
    said = (tmp_path / "said").read_text()
    assert "upbench: results/tiny.jsonl and its .md and .csv hold 1 of 1 cells" in said
    assert "Traceback" not in said
    assert all((tmp_path / "results" / f"tiny{ending}").stat().st_size for ending in (".jsonl", ".md", ".csv"))


def test_a_closed_pipe_is_quiet() -> None:
    line = f"{sys.executable} -m upbench list --format json | head -c 1"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.stderr) == ("[", "")
