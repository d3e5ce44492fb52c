"""A user's own table in the form of the published ones: in a sweep, in a picture, and counted again."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from tests.command_line import refused, upbench

DOCS = Path(__file__).parents[2] / "docs"
MODULE = """
from torch import nn
class Up(nn.Module):
    def __init__(self, channels, scale=2, kernel=3):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels * scale * scale, kernel, padding=kernel // 2)
        self.shuffle = nn.PixelShuffle(scale)
    def forward(self, x):
        return self.shuffle(self.conv(x))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with a module and the table of the documentation."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_up.py").write_text(MODULE)
    text = (DOCS / "published-tables.md").read_text().split("```yaml\n")[1].split("```")[0]
    (tmp_path / "my.yaml").write_text(text.replace("mine:Up", "own_up:Up"))
    return tmp_path


def test_the_documented_table_is_counted_again(folder: Path) -> None:
    result = upbench("reproduce", "my.yaml", "--format", "csv")
    assert result.exit_code == 0, result.output
    assert "9441280" in result.stdout
    result = upbench("reproduce", "my.yaml", "--row", "Ours")
    assert result.exit_code == 0, result.output
    assert "9441280" in result.stdout
    assert "which rounds to nearest as printed" in result.stdout


def test_a_sweep_shows_it_as_published_and_finds_it_from_its_own_folder(folder: Path) -> None:
    (folder / "sweeps").mkdir()
    sweep = folder / "sweeps" / "own.yaml"
    sweep.write_text(
        "name: own\nbase: {upsampler: 'own_up:Up'}\ninput: {shape: 8x6x5}\nmeasure: {budget: 0.01, threads: 1}\n"
        "grid: {kernel: [1, 3]}\npublished: ../my.yaml\naccuracy: [{kernel: 1, AP: 38.2}, {kernel: 3, AP: 39.3}]\n"
    )
    result = upbench("sweep", sweep)
    assert result.exit_code == 0, result.output
    found = list(csv.DictReader(io.StringIO((folder / "results" / "own.csv").read_text())))
    assert [(row["published_AP"], row["AP"], row["AP_origin"]) for row in found] == [
        ("", "38.2", "given"),
        ("39.1", "39.3", "given"),
    ]
    text = upbench("table", "results/own.jsonl", "--columns", "published:AP,AP").stdout
    assert "published, not measured here: My paper (under review), Table 3" in text.replace("\n", " ")
    assert f"given ({sweep})" in text.replace("\n", " ")
    sweep.write_text(sweep.read_text().replace("kernel: 3, AP: 39.3", "kernel: 3, AP: 39.4"))
    again = upbench("sweep", sweep)
    assert again.exit_code == 0, again.output
    assert "pass 1" not in again.stderr
    assert "39.4" in (folder / "results" / "own.md").read_text()
    assert "AP: 39.4" in (folder / "results" / "own.accuracy.yaml").read_text()


def test_mistakes_are_said_before_anything_is_measured(folder: Path) -> None:
    table = folder / "my.yaml"
    table.write_text(table.read_text().replace("values: {AP: 39.1}", "values: {AQ: 39.1}"))
    assert "AQ is not among the metrics: AP, params" in refused("reproduce", "my.yaml")
    sweep = folder / "own.yaml"
    sweep.write_text(
        "name: own\nbase: {upsampler: 'own_up:Up'}\ninput: {shape: 8x6x5}\ngrid: {kernel: [1, 3]}\n"
        "published: my.yaml\naccuracy:\n- {kernel: 1, AP: 38.2}\n- {kernel: 1, AP: 38.3}\n"
    )
    said = refused("sweep", sweep)
    assert "AQ is not among the metrics" in said
    assert "are all of kernel=1; leave one, or tell runs apart by a column `seed`" in said
    sweep.write_text(
        sweep.read_text()
        .replace("published: my.yaml\n", "")
        .replace("- {kernel: 1, AP: 38.3}\n", "- {kern: 3, AP: 39}\n")
    )
    assert "own.yaml, line 7: 'kern' is no axis, no param and no usual metric" in refused("sweep", sweep)
    assert not (folder / "results").exists()
