"""Why a cell of a sweep failed is on the screen, with notes under the table and without."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import record_builder
from tests.command_line import upbench
from upbench.cli import sweep_end

MODULE = """
from torch import nn

class Up(nn.Module):
    def __init__(self, channels, scale, kernel=3):
        super().__init__()
        self.up, self.kernel = nn.Upsample(scale_factor=scale), kernel

    def forward(self, x):
        if self.kernel == 5:
            raise ValueError("no kernel of five")
        return self.up(x)
"""
SWEEP = """
name: k
base: {upsampler: "fails:Up"}
input: {shape: 8x4x4}
measure: {threads: 1, budget: 0.01, device: cpu}
grid: {kernel: [3, 5]}
"""


@pytest.mark.parametrize("quiet", [["-q"], []])
def test_the_reason_of_a_failed_cell_is_said(quiet: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fails.py").write_text(MODULE)
    (tmp_path / "k.yaml").write_text(SWEEP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    done = upbench("sweep", "k.yaml", *quiet)
    assert done.exit_code == 1, done.output
    said = [line for line in done.stderr.splitlines() if "no kernel of five" in line and "%" not in line]
    assert len(said) == len(quiet)
    if quiet:
        assert said[0].startswith("upbench: kernel=5: it raised an error: ")
    else:
        assert "no kernel of five" in " ".join(done.stdout.split())


def test_of_many_failures_the_first_are_said() -> None:
    failed = [record_builder.record(axes={"k": n}, cell=n, status="oom", error="2 GiB.") for n in range(5)]
    fine = record_builder.record(axes={"k": 9}, cell=9)
    assert sweep_end.failures([fine, *failed]) == [
        *(f"k={n}: out of memory: 2 GiB" for n in range(3)),
        "and 2 more cells failed; the table has why, without -q",
    ]
