"""Where random draws decide what a user's module computes, its counts are of one draw, and that is said."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from upbench.cli.app import app

CLASS = """
import random, numpy, torch
from torch import nn
class Up(nn.Module):
    def __init__(self, channels, scale=2):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.drop = nn.Dropout2d(0.5)
    def forward(self, x):
        x = nn.functional.interpolate(x, scale_factor=2)
        {body}
"""
SAID = "counts are of one draw, that of the seed 0"


@pytest.mark.parametrize(
    ("body", "mode", "said"),
    [
        ("return x + self.conv(x) if torch.rand(1) < 0.5 else x", "inference", True),
        ("return x + self.conv(x) if torch.rand(()).item() < 0.8 else x", "training", True),
        ("return x if self.training and random.random() < 0.5 else self.conv(x)", "training-forward", True),
        ("return self.conv(x) if numpy.random.rand() < 0.5 else x + 0", "inference", True),
        ("return self.conv(x[:, :, : int(torch.randint(2, 9, ()))]).sum() + x", "inference", True),
        ("return x if self.training and random.random() < 0.5 else self.conv(x)", "inference", False),
        ("return self.drop(self.conv(x))", "training", False),
        ("return self.conv(x + torch.rand_like(x))", "inference", False),
        ("return self.conv(x)", "training", False),
    ],
)
def test_counts_of_one_draw_are_said_to_be_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, mode: str, said: bool
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "drawing", raising=False)
    (tmp_path / "drawing.py").write_text(CLASS.format(body=body))
    asked = ["drawing:Up", "--shape", "8x6x5", "--budget", "0.01", "--device", "cpu", "--mode", mode]
    result = CliRunner().invoke(app, ["profile", *asked, "--format", "json"])
    assert result.exit_code == 0, result.output
    assert any(SAID in warning for warning in json.loads(result.stdout)["warnings"]) is said
