"""One more upsampler is one card file and one module file: nothing else is edited, and it is everywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import upbench as package
from tests.command_line import upbench
from upbench import cards, registry, upsamplers
from upbench.errors import SpecError

ROOT = Path(__file__).parents[1]
CONTRACT = ROOT / "tests/upsamplers/test_contract.py"
FAST = ["--shape", "8x6x5", "--budget", "0.01", "--device", "cpu", "--threads", "1"]
CONV = 8 * 8 * 9 * 6 * 5
"""MACs of the toy's 3x3 convolution at 8x6x5."""
CARD = '''
"""The toy (Somebody, TOYS 2031)."""

from upbench.cards.card import Card, Macs, Paper, Param

CARDS = (
    Card(
        name="toy",
        module="upbench.upsamplers.toy:Toy",
        summary="a convolution before copying the parent pixel",
        paper=Paper("A Toy", "TOYS", 2031),
        params=(Param("kernel", 3, "side of the convolution", minimum=1, odd=True),),
        count_params=lambda s: s.channels**2 * s["kernel"] ** 2 + s.channels,
        count_macs=lambda s: Macs(conv=s.channels**2 * s["kernel"] ** 2 * s.low),
        notes=("The paper says three times what the code does once.",),
    ),
)
'''
MODULE = '''
"""The toy."""

from torch import nn

from upbench.ops import interpolate, output_size
from upbench.upsamplers._base import Upsampler


class Toy(Upsampler):
    def __init__(self, channels, scale=2, *, kernel=3):
        super().__init__(channels, scale)
        self.conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)

    def upsample(self, x):
        return interpolate(self.conv(x), *output_size(*x.shape[2:], self.scale), "nearest")
'''
PLUGIN = """
import upbench.cards, upbench.upsamplers
upbench.cards.__path__.append({cards!r})
upbench.upsamplers.__path__.append({upsamplers!r})
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The two files, in folders that count as parts of upbench/cards and upbench/upsamplers; gives the folder of both."""
    for part, text in ((cards, CARD), (upsamplers, MODULE)):
        folder = tmp_path / part.__name__.rpartition(".")[2]
        folder.mkdir()
        (folder / "toy.py").write_text(text)
        monkeypatch.setattr(part, "__path__", [*part.__path__, str(folder)])
    cards.builtin.cache_clear()
    yield tmp_path
    monkeypatch.undo()
    cards.builtin.cache_clear()
    for part in (cards, upsamplers):
        sys.modules.pop(f"{part.__name__}.toy", None)
        vars(part).pop("toy", None)


def output(*arguments: object) -> str:
    result = upbench(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.usefixtures("toy")
def test_it_is_listed_and_shown() -> None:
    assert registry.names().count("toy") == 1
    assert "toy" in package.names()
    listed = {line["name"]: line for line in json.loads(output("list", "--format", "json"))}
    assert listed["toy"]["year"] == 2031
    assert "TOYS" in output("list")
    assert "three times what the code does once" in output("list", "--notes")
    shown = output("show", "toy")
    assert "kernel: 3" in shown
    assert "side of the convolution" in shown


@pytest.mark.usefixtures("toy")
def test_it_is_measured_and_compared() -> None:
    record = json.loads(output("profile", "toy", *FAST, "--format", "json"))
    assert (record["params"], record["macs"]["conv"]) == (8 * 8 * 9 + 8, CONV)
    assert record["cross_check"]["closed"] == {"conv": CONV, "gather": 0}
    compared = json.loads(output("compare", "toy:kernel=1", "toy", "nearest", *FAST, "--format", "json"))
    assert [r["macs"]["conv"] for r in compared["records"]] == [CONV // 9, CONV, 0]
    assert package.profile("toy", shape="8x6x5", budget=0.01, threads=1, mode="training").params == 8 * 8 * 9 + 8
    module = package.build("toy", 8, scale=3)
    assert module(torch.ones(1, 8, 2, 3)).shape == (1, 8, 6, 9)


@pytest.mark.usefixtures("toy")
def test_its_specs_are_judged(tmp_path: Path) -> None:
    for line, sentence in (
        (("--set", "kernl=3"), "params.kernl is not a parameter of toy, which has: kernel; did you mean 'kernel'?"),
        (("--set", "kernel=2"), "params.kernel is 2, but must be an odd integer of at least 1"),
        (("--scale", 1.5), "toy can do whole numbers only"),
        (("--backend", "fused"), "toy has no fused backend"),
    ):
        result = upbench("profile", "toy", *line)
        assert (result.exit_code, result.stdout) == (2, "")
        assert sentence in result.stderr
    result = upbench("profile", "toyy")
    assert result.exit_code == 2
    assert "did you mean 'toy'?" in result.stderr
    with pytest.raises(SpecError, match="kernel is 0"):
        package.build("toy", 8, kernel=0)
    plan = tmp_path / "plan.yaml"
    plan.write_text("name: p\nbase: {upsampler: toy}\ninput: {shape: 8x6x5}\ngrid: {kernel: [1, 3]}\n")
    assert "2 of 2 cells to measure" in output("sweep", plan, "--dry-run")


def test_the_contract_is_tested_without_being_told(toy: Path) -> None:
    """Every test of the contract that takes a card takes the new one, in a process that has the two files."""
    folders = {name: str(toy / name) for name in ("cards", "upsamplers")}
    (toy / "with_toy.py").write_text(PLUGIN.format(**folders))
    names = "shape_and_dtype or gradients or closed_forms or card_says or state_dict or single_rows or refused"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-n", "0", "-p", "with_toy", "-p", "no:cacheprovider", "-q", "-rA"),
            *("-k", f"toy and ({names})", str(CONTRACT)),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(toy), str(ROOT)])},
    )
    assert done.returncode == 0, done.stdout
    passed = [line for line in done.stdout.splitlines() if line.startswith("PASSED")]
    assert len(passed) >= 10
    assert all("toy" in line for line in passed)
