"""Where a measurement was made: device, driver, library versions, threads, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import upbench
from upbench.errors import DeviceError


def resolve_device(name: str) -> torch.device:
    """The device of a spec: 'auto' is the first CUDA device, or the CPU where there is none.

    Raises DeviceError for a CUDA device that is not there.
    """
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


def capture(device: torch.device) -> dict[str, Any]:
    """Everything about the machine and the software that can change a number."""
    found: dict[str, Any] = {
        "device": _device_name(device),
        "device_type": device.type,
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "python": platform.python_version(),
        "upbench": upbench.__version__,
        "commit": _commit(),
        "torch": torch.__version__,
        "fvcore": _version("fvcore"),
        "numpy": _version("numpy"),
    }
    if device.type == "cuda":
        found |= {
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "driver": _driver(),
            "tf32": torch.backends.cuda.matmul.allow_tf32,
        }
    return found


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()


@cache
def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@cache
def _driver() -> str | None:
    return _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")


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
