"""Every upsampler of features at the papers' shape, 256x120x120: sizes at which forms take other steps than in small tests.

`pytest -n 0 -m slow tests/slow/test_papers_shape.py`; about half a minute each on one core. A gradient was once a view with steps at
this size alone, and `compare` ended in a traceback.
"""

from __future__ import annotations

import json

import pytest

from tests.command_line import upbench
from upbench.cards import builtin

pytestmark = pytest.mark.slow

NAMES = [card.name for card in builtin().values() if card.guide_kind in (None, "feature") and card.default_scale == 2]


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("name", NAMES)
def test_is_measured_and_right_at_the_papers_shape(name: str, mode: str) -> None:
    size = ["--shape", "256x120x120", "--offsets", "trained", "--mode", mode]
    quick = ["--budget", "0.01", "--threads", "1", "--device", "cpu", "--no-cache"]
    done = upbench("compare", "nearest", name, *size, *quick, "--format", "json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    wrong = [check for check in found["checks"] if not check["passed"]]
    assert not wrong
    record = found["records"][-1]
    assert record["status"] == "ok"
    assert record["latency"]["samples_s"]
    assert record["memory"]
    assert any(check["upsampler"] == record["label"] for check in found["checks"])
