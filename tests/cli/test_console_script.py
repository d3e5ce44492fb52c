"""A user's own files in the current folder, by the console script, whose path does not hold that folder as Python's own does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import gc, json, os, sys
assert "" not in sys.path and os.getcwd() not in sys.path
import torch._dynamo, torch.export
from upbench.__main__ import main
gc.freeze()
for line in json.loads(sys.argv[1]):
    child = os.fork()
    if not child:
        if line[0] == "sweep":  # the worker of one is enough
            del os.environ["UPBENCH_IN_PROCESS"]
        sys.argv[1:] = line
        main()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, line
"""
"""Runs commands one after another, each in a process that starts where the console script does, once torch and its compiler are imported."""
MODEL = """
from torch import nn
import torch.nn.functional as F

print("imported")

class Host(nn.Module):
    def __init__(self):
        super().__init__()
        self.fine, self.coarse, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 1, 2), nn.Conv2d(8, 2, 1)

    def forward(self, image):
        fine = self.fine(image)
        return self.last(fine + F.interpolate(self.coarse(image), size=fine.shape[2:], mode="bilinear"))
"""
SWEEP = """
name: own
base: {upsampler: "ups:Up"}
model: {name: "segmenter:Host", inputs: "inputs.py:make"}
measure: {threads: 1, budget: 0.02}
cells: [{kernel: 1}]
"""
UPSAMPLER = """
from torch import nn

class Up(nn.Sequential):
    def __init__(self, channels, scale, kernel=3):
        super().__init__(nn.Conv2d(channels, channels * scale**2, kernel, padding=kernel // 2), nn.PixelShuffle(scale))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs os.fork")
def test_models_upsamplers_and_inputs_of_the_current_folder_are_found(tmp_path: Path) -> None:
    (tmp_path / "segmenter.py").write_text(MODEL)
    (tmp_path / "ups.py").write_text(UPSAMPLER)
    (tmp_path / "sizes.py").write_text("N = 16\n")
    (tmp_path / "inputs.py").write_text(
        "import torch\nfrom sizes import N\n\ndef make():\n    return torch.rand(1, 3, N, N)\n"
    )
    (tmp_path / "own.yaml").write_text(SWEEP)
    of_model = ["--model", "segmenter:Host", "--input", "16x16"]
    commands = [
        ["sites", "segmenter:Host", "--model-input", "inputs.py:make", "-o", "sites.json"],
        ["export", "ups:Up", *of_model, "--fixed", "-o", "up.pt2"],
        ["compare", "ups:Up", *of_model, "--threads", "1", "--budget", "0.02", "-o", "compare.json"],
        ["sweep", "own.yaml", "-o", "own.jsonl"],
    ]
    done = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT, json.dumps(commands)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    (site,) = json.loads((tmp_path / "sites.json").read_text())
    assert (site["channels"], site["height"]) == (8, 8)
    assert (tmp_path / "up.pt2").is_file()
    assert len(json.loads((tmp_path / "compare.json").read_text())["records"]) == 2
    records = [json.loads(line) for line in (tmp_path / "own.jsonl").read_text().splitlines()]
    assert [record["status"] for record in records] == ["ok"]
    assert "imported" not in done.stdout  # what a user's file prints does not stand among the results
