"""The examples run as they are; tests/api, tests/quality and tests/slow run the others, as scripts of their own."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT

EXAMPLES = ROOT / "examples"


@pytest.fixture(autouse=True)
def _in_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


def test_an_upsampler_of_ones_own_is_thirty_lines(capsys: pytest.CaptureFixture[str]) -> None:
    text = (EXAMPLES / "own_upsampler.py").read_text()
    assert len(text.splitlines()) <= 32
    runpy.run_path(str(EXAMPLES / "own_upsampler.py"), run_name="__main__")
    assert "own_upsampler:Up (kernel=1)" in capsys.readouterr().out


def test_a_gate_passes_and_would_fail(upbench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own = runpy.run_path(str(EXAMPLES / "test_gate.py"))
    own["test_my_upsampler_stays_small"](upbench)
    with pytest.raises(pytest.fail.Exception, match="params"):
        upbench.gate("own_upsampler:Up", max={"params": "1k"}, shape="32x8x8")


def test_an_ablation_becomes_a_table_in_latex(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["ablation_to_latex.py", str(tmp_path)])
    runpy.run_path(str(EXAMPLES / "ablation_to_latex.py"), run_name="__main__")
    text = (tmp_path / "ablation.tex").read_text()
    assert "\\caption{Kernel and groups.}" in text
    assert "\\label{tab:ablation}" in text
    assert "AP" in text


def test_every_example_is_run() -> None:
    tests = ["docs/test_examples.py", "api/test_python_api.py", "quality/test_parts.py", "slow/test_ray_sweeps.py"]
    text = "".join((ROOT / "tests" / name).read_text() for name in tests)
    assert [file.name for file in EXAMPLES.iterdir() if file.is_file() and file.name not in text] == []
