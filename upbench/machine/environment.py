"""Where a measurement was made: device, clocks, driver, library versions, threads, commit. Unknown is None."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import upbench
from upbench.errors import DeviceError
from upbench.machine import calibration
from upbench.measure import MEASUREMENT_VERSION
from upbench.ops import kernels as cpu_kernels

CPU0 = Path("/sys/devices/system/cpu/cpu0")
"""Folder in which Linux describes the first core."""
DENORMAL = 5e-324
"""The smallest number of float64; a processor that flushes denormals takes it as 0."""


def resolve_device(name: str) -> torch.device:
    """Return the device of a spec; 'auto' is the first CUDA device, or the CPU where there is none.

    Args:
        name: auto, cpu, cuda or cuda:N.

    Raises:
        DeviceError: If this machine has no such CUDA device, or the name is none of these.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise DeviceError(f"device {name!r} was asked for, but must be auto, cpu, cuda or cuda:N")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda", 0) if count else torch.device("cpu")
    device = torch.device(name)
    if device.type == "cuda":
        index = device.index or 0
        if index >= count:
            there = f"{count} CUDA device{'s' if count != 1 else ''}" if count else "no CUDA device"
            fix = f"cuda:0 to cuda:{count - 1}" if count > 1 else "cuda:0" if count else "cpu"
            raise DeviceError(f"device {name} was asked for, but this machine has {there}; use {fix} or auto")
        return torch.device("cuda", index)
    return device


@contextmanager
def with_threads(threads: int | None) -> Iterator[None]:
    """Run with a number of torch threads, and restore the old number afterwards.

    Args:
        threads: Number of threads; None changes nothing.

    Raises:
        DeviceError: If the number is below 1.
    """
    if threads is not None and threads < 1:
        raise DeviceError(f"threads is {threads}, but must be an integer of at least 1")
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def flushing(wanted: bool) -> Iterator[None]:
    """Run with denormal numbers taken as 0 on a CPU, where that is wanted, and restore the setting afterwards.

    Numbers below 1e-38 in float32, which attention and gates of trained modules give, are computed in microcode: many of them
    make a call several times slower.

    Args:
        wanted: Whether they are taken as 0; False changes nothing.
    """
    before = DENORMAL * 1.0 == 0.0
    if wanted:
        torch.set_flush_denormal(True)
    try:
        yield
    finally:
        if wanted:
            torch.set_flush_denormal(before)


@contextmanager
def full_precision() -> Iterator[None]:
    """Run float32 products and convolutions on CUDA in float32, not in TF32, and restore the old settings afterwards."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def identity(device: torch.device) -> dict[str, Any]:
    """Return the part of `capture` that decides whether two measurements were made on the same machine; it is quick.

    Args:
        device: The device that is measured.
    """
    return {
        "device": _device_name(device),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "upbench": upbench.__version__,
        "measurement_version": MEASUREMENT_VERSION,
        "torch": torch.__version__,
        **({"kernels": kernels(device)} if device.type in ("cpu", "cuda") else {}),
        **({"cuda": torch.version.cuda} if device.type == "cuda" else {}),
    }


def kernels(device: torch.device) -> str | None:
    """Return what the fused ops of a device are written in, see `capture`; None on CUDA without Triton."""
    if device.type == "cpu":
        return cpu_kernels()
    version = _version("triton")
    return version and f"triton {version}"


def machine_key(device: torch.device) -> str:
    """Return the key of the calibration of a device, with torch's threads as they are set."""
    return calibration.key(identity(device))


def capture(device: torch.device) -> dict[str, Any]:
    """Return everything about the machine and the software that can change a number, as a record holds it.

    Args:
        device: The device that is measured.

    Returns:
        Name -> value; sizes in bytes, clocks in Hz, None where a value is not known. cache_bytes is the last-level cache
        of the device; memory_bytes that of the machine, or of the container where it has a limit; load the number of
        processes that ran or waited, mean of the last minute; kernels what the fused ops are written in: on a CPU those
        over points, "c" or "torch"; on CUDA all of them, "triton" and its version.
    """
    same = identity(device)
    return {
        "device": same.pop("device"),
        "device_type": device.type,
        "cpu": _cpu_name(),
        "cores": same.pop("cores"),
        "cores_usable": _usable_cores(),
        **_cpu_clocks(),
        "memory_bytes": _memory_bytes(),
        "cache_bytes": _gpu_property(device, "L2_cache_size") if device.type == "cuda" else _cache_bytes(),
        "load": _load(),
        "threads": same.pop("threads"),
        "interop_threads": torch.get_num_interop_threads(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "mkl_num_threads": os.environ.get("MKL_NUM_THREADS"),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "python": platform.python_version(),
        **same,
        "commit": _commit(),
        "fvcore": _version("fvcore"),
        "numpy": _version("numpy"),
        **(_gpu(device) if device.type == "cuda" else {}),
    }


def _gpu(device: torch.device) -> dict[str, Any]:
    """Return memory, clocks and driver of the GPU, and whether it multiplies float32 in TF32."""
    return {
        "gpu_memory_bytes": _gpu_property(device, "total_memory"),
        **_gpu_clocks(device),
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call] # torch gives it no types
        "tf32": torch.backends.cuda.matmul.allow_tf32,
        "tf32_convolution": torch.backends.cudnn.allow_tf32,
    }


def _gpu_clocks(device: torch.device) -> dict[str, Any]:
    """The driver and the clocks, from NVML where pynvml is installed, else from nvidia-smi.

    Both know the GPU by its UUID: their numbering ignores CUDA_VISIBLE_DEVICES, torch's does not.
    """
    uuid = f"GPU-{_gpu_property(device, 'uuid')}"
    driver, *mhz = _nvml(uuid) or _nvidia_smi(uuid) or [None] * 4
    hertz = [None if clock is None else int(clock) * 10**6 for clock in mhz]
    return {"driver": driver, **dict(zip(("sm_clock_hz", "sm_clock_max_hz", "memory_clock_hz"), hertz, strict=True))}


def _nvml(uuid: str) -> list[Any] | None:
    """Driver, SM clock, highest SM clock and memory clock (MHz) from NVML; None where it cannot be asked."""
    try:
        import pynvml

        pynvml.nvmlInit()
        gpu = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        return [
            pynvml.nvmlSystemGetDriverVersion(),
            pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_SM),
            pynvml.nvmlDeviceGetMaxClockInfo(gpu, pynvml.NVML_CLOCK_SM),
            pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_MEM),
        ]
    except Exception:  # noqa: BLE001 - NVML is optional, and fails in many ways where it is half installed
        return None


def _nvidia_smi(uuid: str) -> list[Any] | None:
    """Driver and clocks (MHz) as `_nvml` returns them, from nvidia-smi; None for each that it does not know."""
    fields = "driver_version,clocks.sm,clocks.max.sm,clocks.mem"
    line = _output("nvidia-smi", f"--id={uuid}", f"--query-gpu={fields}", "--format=csv,noheader,nounits")
    parts = [part.strip() for part in line.split(",")] if line else []
    if len(parts) != 4:
        return None
    return [parts[0], *(int(part) if part.isdigit() else None for part in parts[1:])]


def _gpu_property(device: torch.device, name: str) -> Any:
    return getattr(torch.cuda.get_device_properties(device), name, None)


def _device_name(device: torch.device) -> str:
    """Return the name of a GPU, or of the CPU with the vector units that torch uses: virtual machines hide the rest of its name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    vectors = torch.backends.cpu.get_cpu_capability()
    return _cpu_name() if vectors == "DEFAULT" else f"{_cpu_name()} ({vectors})"


@cache
def _cpu_name() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpu_clocks() -> dict[str, Any]:
    """Clock of the first core in Hz, now and at most, and what governs it; a virtual machine often hides the latter."""
    now, most = (_read(CPU0 / "cpufreq" / name) for name in ("scaling_cur_freq", "cpuinfo_max_freq"))
    mhz = _cpuinfo("cpu MHz")
    return {
        "cpu_clock_hz": int(now) * 1000 if now else round(float(mhz) * 1e6) if mhz else None,
        "cpu_clock_max_hz": int(most) * 1000 if most else None,
        "cpu_governor": _read(CPU0 / "cpufreq" / "scaling_governor"),
    }


def _usable_cores() -> int | None:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


@cache
def _memory_bytes() -> int | None:
    try:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
    limit = _read(Path("/sys/fs/cgroup/memory.max")) or ""
    return min(whole, int(limit)) if limit.isdigit() else whole


@cache
def _cache_bytes() -> int | None:
    """The largest of the first core's caches; in a virtual machine, what the host says of its own."""
    sizes = [_read(folder / "size") or "" for folder in (CPU0 / "cache").glob("index*")]
    units = {"K": 2**10, "M": 2**20}
    found = [int(size[:-1]) * units[size[-1]] for size in sizes if re.fullmatch(r"\d+[KM]", size)]
    return max(found, default=None)


def _load() -> float | None:
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None


def _cpuinfo(name: str) -> str | None:
    """The first value of a field of /proc/cpuinfo."""
    for line in (_read(Path("/proc/cpuinfo")) or "").splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return None


def _read(path: Path) -> str | None:
    """The text of a small file of the system, or None where it is not there or says nothing."""
    try:
        return path.read_text().strip() or None
    except (OSError, UnicodeDecodeError):
        return None


@cache
def _commit() -> str | None:
    """The commit of the source tree that upbench runs from, with + when it was changed; None when installed."""
    home = str(Path(upbench.__file__).parent)
    if _output("git", "-C", home, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit = _output("git", "-C", home, "rev-parse", "--short=12", "HEAD")
    changed = _output("git", "-C", home, "status", "--porcelain", "--untracked-files=no", ".")
    return f"{commit}+" if commit and changed else commit


def _output(*command: str) -> str | None:
    """The output of a command without its last newline, or None when it fails or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
