"""What a machine can do and what it can tell apart: measured once, kept in the user's cache folder.

A cache that is damaged, or that another version wrote, counts as empty and is replaced by the next calibration.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from upbench import files, units
from upbench.errors import OutputError

SCHEMA = 2
"""Version of the format of the cache file."""
DISTURBED = 0.2
"""Number of cores that other programs may keep busy during a calibration before it counts as disturbed."""
VARIABLE = "UPBENCH_CACHE"
"""Environment variable that names the cache folder."""
SWITCH = "UPBENCH_CALIBRATE"
"""Environment variable that, set to off, keeps a first measurement from measuring the ceilings, as in CI."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A finite number above 0."""


@dataclass(frozen=True)
class Calibration:
    """The ceilings of one machine, and the smallest difference of latency that it can tell from none.

    Args:
        key: Name of the machine, as the function `key` makes it.
        device: Name of the device.
        threads: Number of torch's threads during the calibration.
        bandwidths: Pairs of a working set in bytes and its rate in bytes read and written per second, small working sets
            first. The last one is far larger than the caches.
        macs_per_s: Multiply-accumulates per second of a matrix product or a 3x3 convolution, whichever is faster, by dtype. A
            dtype that the device cannot multiply is missing.
        noise_floor: Difference of latency, as a part of 1, that an upsampler shows to itself, see
            `ceilings.noise_floor`; None where a first measurement took the ceilings alone.
        disturbed_cores: Number of cores that other programs kept busy during the calibration; None where unknown.
        date: UTC date of the calibration, as YYYY-MM-DD.
        versions: Versions of torch and upbench.
    """

    key: str
    device: str
    threads: int
    bandwidths: Annotated[tuple[tuple[int, Positive], ...], Field(min_length=1)]
    macs_per_s: dict[str, Positive]
    noise_floor: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None
    disturbed_cores: float | None
    date: str
    versions: dict[str, str]

    @property
    def bandwidth_bytes_per_s(self) -> float:
        """Bandwidth of main memory, on a GPU of its own memory, in bytes per second."""
        return self.bandwidths[-1][1]

    @property
    def disturbed(self) -> bool:
        """Whether other programs kept more than DISTURBED cores busy during the calibration, so that ceilings are too low.

        Those of one thread are rates of its CPU time, which others do not lengthen.
        """
        return self.threads != 1 and (self.disturbed_cores or 0.0) > DISTURBED

    def bandwidth_at(self, working_set_bytes: int) -> float:
        """Return the bandwidth for a working set in bytes per second; it is never below that of a larger one.

        What fits a cache is faster than main memory; to hold it to main memory would show efficiencies above 1.

        Args:
            working_set_bytes: Bytes that a call reads and writes.
        """
        below = [size for size, _ in self.bandwidths if size <= working_set_bytes]
        start = max(below, default=0)
        return max(rate for size, rate in self.bandwidths if size >= start)

    def rate(self, dtype: str) -> float | None:
        """Return the ceiling of multiply-accumulates per second in a dtype; None where the device cannot multiply in it.

        Under autocast that of the faster of its two dtypes, since a call may use both. Values of 16 bits can be multiplied as
        float32, so that a ceiling that was measured for them is never below it.

        Args:
            dtype: Name of the dtype, as a spec has it.
        """
        name = dtype.removeprefix("autocast-")
        if name not in self.macs_per_s and name == dtype:
            return None
        names = ("float32", name) if name in ("float16", "bfloat16") else (name,)
        return max((self.macs_per_s[one] for one in names if one in self.macs_per_s), default=None)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields of the calibration as JSON holds them."""
        return asdict(self)


def key(environment: Mapping[str, Any]) -> str:
    """Return the name of the machine that a calibration is valid for.

    Args:
        environment: Machine and software, as `environment.capture` returns them.
    """
    e = environment
    return f"{e['device']}, {units.number_of(e['cores'], 'core')}, {units.number_of(e['threads'], 'thread')}, torch {e['torch']}"


def from_dict(data: object) -> Calibration:
    """Read what `Calibration.to_dict` wrote, in this version or in one that called the noise floor `resolution`.

    Args:
        data: A mapping with the fields of a calibration.

    Returns:
        The calibration.

    Raises:
        ValueError: If a field is missing, unknown or of an impossible value.
    """
    if isinstance(data, Mapping) and "noise_floor" not in data:
        data = {("noise_floor" if name == "resolution" else name): value for name, value in data.items()}
    return _adapter().validate_python(data)


def path() -> Path:
    """Return the path of the cache file: in the folder UPBENCH_CACHE, else in upbench/ of XDG_CACHE_HOME or ~/.cache."""
    if folder := os.environ.get(VARIABLE):
        return Path(folder) / "calibration.json"
    folder = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if folder.startswith("~"):  # a user without a home, as in some containers
        folder = tempfile.gettempdir()
    return Path(folder) / "upbench" / "calibration.json"


def automatic() -> bool:
    """Return whether a first measurement may measure the ceilings of the machine by itself, see SWITCH."""
    return os.environ.get(SWITCH, "").strip().lower() not in ("off", "0", "no", "false")


def load(machine: str) -> Calibration | None:
    """Return the calibration of a machine; None when there is none, or it is damaged.

    Args:
        machine: Key of the machine, as the function `key` makes it.
    """
    try:
        found = from_dict(_read().get(machine))
    except ValidationError:
        return None
    return found if found.key == machine else None


def check() -> None:
    """Check that a calibration could be kept, before one is measured.

    Raises:
        OutputError: If the cache file cannot be written.
    """
    try:
        path().parent.mkdir(parents=True, exist_ok=True)
        files.check_writable(path())
    except (OSError, OutputError):
        raise _blocked() from None


def save(calibration: Calibration) -> None:
    """Keep a calibration, in place of an older one of the same machine.

    Args:
        calibration: The calibration.

    Raises:
        OutputError: If the cache file cannot be written.
    """
    check()
    machines = {**_read(), calibration.key: calibration.to_dict()}
    try:
        files.write_text(path(), json.dumps({"schema": SCHEMA, "machines": machines}, indent=2) + "\n")
    except OutputError:
        raise _blocked() from None


def _read() -> dict[str, Any]:
    """Return the machines of the cache file, not yet validated; none when it is missing, damaged or of another version."""
    try:
        data = json.loads(path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    machines = data.get("machines") if isinstance(data, dict) and data.get("schema") == SCHEMA else None
    return machines if isinstance(machines, dict) else {}


def _blocked() -> OutputError:
    return OutputError(f"the calibration cannot be kept in {path()}; set {VARIABLE} to a folder that can be written")


@cache
def _adapter() -> TypeAdapter[Calibration]:
    return TypeAdapter(Calibration)
