"""The first measurement on a machine takes its ceilings, once, and efficiency is known from then on."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch

from tests.command_line import upbench
from tests.machine.test_calibration import example
from upbench.machine import calibration, environment, first_calibration

CPU = torch.device("cpu")
QUICKLY = ("--shape", "16x16x16", "--threads", "1", "--budget", "0.02", "--device", "cpu")


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """As users have it, but in no time worth the name."""
    monkeypatch.delenv(calibration.SWITCH)
    monkeypatch.setattr(first_calibration, "LARGEST_BYTES", 2**21)
    monkeypatch.setattr(first_calibration, "SHARE", 0.001)


def efficiency(*arguments: str) -> list[float | None]:
    result = upbench(*arguments, *QUICKLY, "--format", "json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    return [record["roofline_s"] for record in document.get("records", [document])]


def test_a_first_measurement_keeps_the_ceilings_and_a_second_one_uses_them(
    brief: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = efficiency("profile", "carafe")
    assert first is not None
    known = calibration.load(environment.machine_key(CPU))
    assert known is not None
    assert known.noise_floor is None
    assert known.macs_per_s["float32"] > 0
    monkeypatch.setattr(first_calibration, "quick", lambda *_: pytest.fail("measured twice"))
    assert efficiency("profile", "carafe") == [first]
    assert None not in efficiency("compare", "carafe", "nearest")
    shown = upbench("env", "--device", "cpu", "--threads", "1").stdout
    assert "first measurement took by itself" in shown
    assert "Noise floor (A/A)" in shown


def test_a_switch_keeps_it_from_being_measured(brief: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_calibration, "quick", lambda *_: pytest.fail("measured in spite of the switch"))
    monkeypatch.setenv(calibration.SWITCH, "OFF")
    assert efficiency("profile", "carafe") == [None]


def test_exact_quantities_need_no_ceilings(brief: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_calibration, "quick", lambda *_: pytest.fail("measured for exact quantities"))
    assert efficiency("compare", "nearest", "--exact") == [None]


def test_what_cannot_be_kept_is_not_measured(brief: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_calibration, "quick", lambda *_: pytest.fail("measured in vain"))
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv(calibration.VARIABLE, str(tmp_path / "file"))
    assert efficiency("profile", "nearest") == [None]


def test_what_matters_most_comes_first_until_the_time_is_spent(brief: None, monkeypatch: pytest.MonkeyPatch) -> None:
    here, taken = environment.capture(CPU), []
    clock = iter(range(100))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(clock)))
    monkeypatch.setattr(first_calibration.ceilings, "bandwidth_bytes_per_s", lambda *a, **_: taken.append(a[2]) or 1e9)
    monkeypatch.setattr(first_calibration.ceilings, "macs_per_s", lambda *a, **_: taken.append(a[2]) or 1e9)
    found = first_calibration.quick(CPU, here)
    assert taken == [2**20, torch.float32]
    assert found is not None
    assert found.bandwidths == ((2**20, 1e9),)
    monkeypatch.setattr(first_calibration, "QUICK_S", 1.5)
    assert first_calibration.quick(CPU, here) is None


@pytest.mark.parametrize(("threads", "busy", "known"), [(1, 9.0, True), (2, 0.0, True), (2, 9.0, False)])
def test_a_calibration_by_wall_time_beside_other_programs_gives_no_efficiency(
    threads: int, busy: float, known: bool
) -> None:
    """Its ceilings are too low, and every efficiency too good: 233 % was printed once."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    key = environment.machine_key(CPU)
    torch.set_num_threads(before)
    calibration.save(example(key=key, threads=threads, disturbed_cores=busy))
    options = ("--shape", "16x16x16", "--budget", "0.02", "--device", "cpu", "--threads", threads)
    printed = upbench("profile", "bilinear", *options, "-v").stdout
    assert ("roofline bound" in printed) == known
    assert ("no efficiency: other programs disturbed the calibration" in " ".join(printed.split())) != known
