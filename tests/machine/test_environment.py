"""`upbench env`, and what is captured of machines that we do not have."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.command_line import refused, upbench
from upbench.machine import calibration, ceilings, environment
from upbench.machine.calibration import Calibration
from upbench.report.tables.grouping import kernels_text

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
UUID = "11111111-2222-3333-4444-555555555555"
CLOCKS = ("sm_clock_hz", "sm_clock_max_hz", "memory_clock_hz")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(calibration.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "calibration.json"


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """A calibration that takes no time worth the name."""
    for name, value in {"CEILING_S": 0.01, "LARGEST_BYTES": 2**21, "NOISE_FLOOR_S": 0.05, "REPEATS": 3}.items():
        monkeypatch.setattr(ceilings, name, value)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that torch can describe; neither NVML nor nvidia-smi knows it."""
    known = SimpleNamespace(total_memory=80 * 2**30, L2_cache_size=50 * 2**20, uuid=UUID)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: known)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "A GPU")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: None)  # asks the device where there is one
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(environment, "_output", lambda *command: None)


def test_env_prints_everything_that_a_record_captures() -> None:
    result = upbench("env", "--device", "cpu", "--format", "json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["calibration"] is None
    volatile = {"load", "cpu_clock_hz"}
    here = {k: v for k, v in environment.capture(CPU).items() if k not in volatile}
    assert {k: v for k, v in data["environment"].items() if k not in volatile} == here
    assert volatile < set(data["environment"])
    rows = csv.reader(io.StringIO(upbench("env", "--device", "cpu", "--format", "csv").stdout))
    assert [row[0] for row in rows] == ["quantity", *environment.capture(CPU)]


@pytest.mark.parametrize("form", ["table", "markdown"])
def test_env_as_text(form: str) -> None:
    result = upbench("env", "--device", "cpu", "--format", form)
    assert result.exit_code == 0, result.output
    assert environment.capture(CPU)["cpu"] in result.stdout
    assert torch.__version__ in result.stdout
    assert "Not calibrated" in result.stdout


def test_a_calibration_is_measured_kept_and_printed(brief: None, cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "env.json"
    result = upbench("env", "--device", "cpu", "--calibrate", "--format", "json", "--output", file)
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    measured = calibration.from_dict(json.loads(file.read_text())["calibration"])
    assert measured == calibration.load(environment.machine_key(CPU))
    assert measured.bandwidth_bytes_per_s > 0
    assert set(measured.macs_per_s) <= set(ceilings.DTYPES)
    assert measured.macs_per_s["float32"] > 0
    assert measured.noise_floor >= 0
    later = upbench("env", "--device", "cpu", "--format", "json")
    assert calibration.from_dict(json.loads(later.stdout)["calibration"]) == measured
    text = upbench("env", "--device", "cpu").stdout
    for part in ("Bandwidth", "Arithmetic, float32", "Noise floor (A/A)", measured.date):
        assert part in text
    assert "esolution" not in text
    rows = csv.reader(io.StringIO(upbench("env", "--device", "cpu", "--format", "csv").stdout))
    assert "noise_floor" in [row[0] for row in rows]


def test_a_calibration_holds_for_its_number_of_threads() -> None:
    threads = torch.get_num_threads()
    calibration.save(_known(environment.machine_key(CPU)))
    data = json.loads(upbench("env", "--device", "cpu", "--threads", threads + 1, "--format", "json").stdout)
    assert data["environment"]["threads"] == threads + 1
    assert data["calibration"] is None
    assert torch.get_num_threads() == threads
    assert json.loads(upbench("env", "--device", "cpu", "--format", "json").stdout)["calibration"] is not None


def test_a_calibration_beside_other_programs_is_said_to_be_one() -> None:
    calibration.save(_known(environment.machine_key(CPU), busy=1.0 * (os.cpu_count() or 1)))
    assert "during the calibration" in upbench("env", "--device", "cpu", "--format", "markdown").stdout
    calibration.save(_known(environment.machine_key(CPU), busy=0.0))
    assert "during the calibration" not in upbench("env", "--device", "cpu", "--format", "markdown").stdout


def test_what_cannot_be_kept_is_not_measured(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "calibrate", lambda *arguments: pytest.fail("measured in vain"))
    cache.parent.parent.joinpath("cache").write_text("a file, not a folder")
    assert "set UPBENCH_CACHE" in refused("env", "--device", "cpu", "--calibrate")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--device", "cuda:97"], "cuda:97 was asked for, but this machine has"),
        (["--device", "tpu"], "must be auto, cpu, cuda or cuda:N"),
        (["--threads", "0"], "at least 1"),
        (["--output", "/proc/nowhere/a"], "cannot be written"),
    ],
)
def test_bad_options_are_refused_in_a_sentence(arguments: list[str], part: str) -> None:
    assert part in refused("env", *arguments)


def test_what_a_system_does_not_tell_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_read", lambda path: None)
    monkeypatch.setattr(environment, "CPU0", tmp_path)
    monkeypatch.delattr(os, "getloadavg")
    monkeypatch.delattr(os, "sched_getaffinity")
    for cached in (environment._cpu_name, environment._cache_bytes, environment._memory_bytes):
        cached.cache_clear()
    try:
        found = environment.capture(CPU)
    finally:
        for cached in (environment._cpu_name, environment._cache_bytes, environment._memory_bytes):
            cached.cache_clear()
    unknown = ("cores_usable", "cpu_clock_hz", "cpu_clock_max_hz", "cpu_governor", "cache_bytes", "load")
    assert [found[name] for name in unknown] == [None] * len(unknown)
    assert found["cpu"]


def test_the_clocks_of_the_cpu_come_from_cpufreq_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cpufreq"
    folder.mkdir()
    for name, text in {
        "scaling_cur_freq": "1200000\n",
        "cpuinfo_max_freq": "3500000\n",
        "scaling_governor": "x\n",
    }.items():
        (folder / name).write_text(text)
    monkeypatch.setattr(environment, "CPU0", tmp_path)
    found = environment.capture(CPU)
    assert (found["cpu_clock_hz"], found["cpu_clock_max_hz"]) == (1_200_000_000, 3_500_000_000)
    assert found["cpu_governor"] == "x"


def test_a_gpu_whose_clocks_nothing_tells(gpu: None) -> None:
    found = environment.capture(GPU)
    assert (found["device"], found["gpu_memory_bytes"], found["cache_bytes"]) == ("A GPU", 80 * 2**30, 50 * 2**20)
    assert [found[name] for name in ("driver", *CLOCKS)] == [None] * 4
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(("version", "kernels"), [("3.6.0", "triton 3.6.0"), (None, None)])
def test_the_kernels_of_a_gpu_are_those_of_triton(
    gpu: None, monkeypatch: pytest.MonkeyPatch, version: str | None, kernels: str | None
) -> None:
    monkeypatch.setattr(environment, "_version", {"triton": version}.get)
    assert environment.capture(GPU)["kernels"] == kernels
    assert environment.identity(GPU)["kernels"] == kernels
    assert kernels_text(kernels) == (" with triton 3.6.0" if version else "")


def test_the_clocks_of_a_gpu_from_nvml(gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    mhz = {1: 1500, 2: 2600}
    nvml = SimpleNamespace(
        NVML_CLOCK_SM=1,
        NVML_CLOCK_MEM=2,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: {f"GPU-{UUID}": "handle"}[uuid],
        nvmlSystemGetDriverVersion=lambda: "555.1",
        nvmlDeviceGetClockInfo=lambda handle, which: mhz[which],
        nvmlDeviceGetMaxClockInfo=lambda handle, which: 1980,
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    found = environment.capture(GPU)
    assert found["driver"] == "555.1"
    assert [found[name] for name in CLOCKS] == [1_500_000_000, 1_980_000_000, 2_600_000_000]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("555.1, 1500, 1980, 2600", ["555.1", 1_500_000_000, 1_980_000_000, 2_600_000_000]),
        ("555.1, [N/A], 1980, [N/A]", ["555.1", None, 1_980_000_000, None]),
        ("No devices were found", [None] * 4),
        ("", [None] * 4),
    ],
)
def test_the_clocks_of_a_gpu_from_nvidia_smi(
    gpu: None, monkeypatch: pytest.MonkeyPatch, line: str, expected: list[object]
) -> None:
    monkeypatch.setattr(environment, "_output", lambda *command: line if f"--id=GPU-{UUID}" in command else None)
    found = environment.capture(GPU)
    assert [found[name] for name in ("driver", *CLOCKS)] == expected


def _known(key: str, busy: float = 0.0) -> Calibration:
    return Calibration(key, "x", 2, ((2**20, 1e9),), {"float32": 1e9}, 0.01, busy, "2026-01-01", {"torch": "2.6"})


def test_full_precision_puts_the_settings_of_tf32_back() -> None:
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend, allowed in zip(backends, (False, True), strict=True):
            backend.allow_tf32 = allowed
        with environment.full_precision():
            assert [backend.allow_tf32 for backend in backends] == [False, False]
        assert [backend.allow_tf32 for backend in backends] == [False, True]
    finally:
        for backend, allowed in zip(backends, before, strict=True):
            backend.allow_tf32 = allowed
