"""The fixture `upbench` in a test suite of somebody else."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import upbench
from tests.forked_command import Command

ROOT = Path(upbench.__file__).parents[1]
SUITE = """
import pytest
from torch import nn, rand
from upbench import UpbenchError

FAST = {"shape": "8x6x5", "device": "cpu", "threads": 1, "budget": 0.01}


def test_that_keeps_its_bounds(upbench):
    found = upbench.gate("carafe", "bilinear", max={"params": "60k", "bilinear.params": 0}, min={"params": 0}, **FAST)
    assert [record.label for record in found] == ["carafe", "bilinear"]
    assert found[0].latency is None


def test_that_breaks_a_bound(upbench):
    upbench.gate("carafe", "bilinear", max={"params": "40k", "macs": "2x:bilinear"}, **FAST)


def test_with_time(upbench):
    assert upbench.gate("nearest", max={"latency": "100s"}, **FAST)[0].latency is not None


def test_of_a_module(upbench):
    module, x = nn.Conv2d(4, 8, 3), rand(1, 4, 6, 5)
    assert upbench.profile(module, x, budget=0.01).params == 4 * 8 * 9 + 8
    assert upbench.layers(module, x).to_dataframe()["macs"][0] == 4 * 8 * 9 * 12


@pytest.mark.parametrize(("bounds", "said"), [
    ({}, "a gate has no bound"), ({"speed": 3}, "unknown metric"), ({"latency": "2x:carafe"}, "carafe"),
])
def test_of_bad_use(upbench, bounds, said):
    with pytest.raises(UpbenchError, match=said):
        upbench.gate("bilinear", max=bounds, **FAST)
"""


def test_a_suite_of_ones_own_has_the_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    info = tmp_path / "site" / "fixture-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fixture\nVersion: 1.0\n")
    points = "".join(f"{name} = {module}\n" for name, module in declared.items())
    (info / "entry_points.txt").write_text(f"[pytest11]\n{points}")
    (tmp_path / "test_mine.py").write_text(SUITE)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{tmp_path / 'site'}")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    with Command(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "test_mine.py") as command:
        command.process.wait()
    out, said = command.printed()
    assert "1 failed, 6 passed" in out, out + said
    assert "carafe, max params: 58276 > " in out
    assert "carafe, max macs: " in out
    assert "Traceback" not in out


def test_the_plugin_loads_neither_torch_nor_pandas() -> None:
    code = (
        "import sys, upbench.api.pytest_plugin\n"
        "print([m for m in ('torch', 'pandas', 'numpy', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_gates_can_be_used_without_pytest() -> None:
    from upbench.api.pytest_plugin import Gates

    with pytest.raises(pytest.fail.Exception, match=r"bilinear, min params: 0 < 5 \(by 5, 100.0 %\); exact"):
        Gates().gate("bilinear", min={"params": 5}, shape="8x6x5", device="cpu")
