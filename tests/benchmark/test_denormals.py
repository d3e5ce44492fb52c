"""Denormal numbers: a record says that activations hold them, and `flush_denormals` takes them as 0."""

from __future__ import annotations

import json
from pathlib import Path

from tests.command_line import refused, upbench
from upbench.machine import environment
from upbench.records import record as records
from upbench.specs import run_spec

FADING = "tests.modules.denormal:Fading"


def test_a_sweep_over_it_says_which_cells_hold_denormals(tmp_path: Path) -> None:
    file = tmp_path / "d.yaml"
    file.write_text(
        f"name: d\nbase: {{upsampler: '{FADING}'}}\ninput: {{shape: 8x6x5}}\n"
        "measure: {budget: 0.01, device: cpu}\ngrid: {flush_denormals: [false, true]}\n"
    )
    path = tmp_path / "d.jsonl"
    result = upbench("sweep", file, "-o", path)
    assert result.exit_code == 0, result.output
    found = {row["axes"]["flush_denormals"]: row for row in map(json.loads, path.read_text().splitlines())}
    assert any("denormal numbers" in text for text in found[False]["warnings"])
    assert not any("denormal" in text for text in found[True]["warnings"])
    assert found[False]["output"]["highest"] > 0
    assert found[True]["output"]["highest"] == found[True]["output"]["lowest"] == 0
    assert "flush_denormals" not in found[False]["spec"]["measure"]
    assert environment.DENORMAL * 1.0 != 0.0  # this process is as it was


def test_it_is_part_of_what_is_measured_only_where_it_is_set() -> None:
    plain, flushed = (
        run_spec.load({"upsampler": "carafe", "measure": {"flush_denormals": wanted}}) for wanted in (False, True)
    )
    assert "flush_denormals" not in plain.to_dict()["measure"]
    assert records.key(plain.to_dict(), {}) != records.key(flushed.to_dict(), {})
    assert records.key(plain.to_dict(), {}) == records.key(run_spec.load({"upsampler": "carafe"}).to_dict(), {})


def test_it_is_true_or_false(tmp_path: Path) -> None:
    file = tmp_path / "up.yaml"
    file.write_text("upsampler: carafe\nmeasure: {flush_denormals: often}\n")
    assert "flush_denormals is often, but must be true or false" in refused("profile", file)
