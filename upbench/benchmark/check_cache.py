"""Keeps the results of checks under everything that they depend on.

A check that passed needs no second run while the fused form returns the same bits: then it returns what was compared.
So a kept result holds the digests of what the fused form returned, and is used only when the digests are the same now.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

import upbench
from upbench import cards, files
from upbench.benchmark.case import Case
from upbench.errors import OutputError
from upbench.machine import calibration, environment

SCHEMA = 1
"""Version of the format of the cache file; a file of another one is ignored."""
MOST = 500
"""Largest number of results that are kept; the oldest are dropped."""
MACHINE = ("device", "threads", "torch", "upbench", "kernels", "cuda")
"""Keys of `environment.identity` that can change a bit of a result."""


class KeptCheck(BaseModel):
    """The result of one check.

    Attributes:
        name: Name of the check, see `check.Check`.
        passed: Whether the check passed.
        detail: The clause that was printed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    passed: bool
    detail: str


class KeptResult(BaseModel):
    """The results of all checks of one spec.

    Attributes:
        output: SHA-256 of the output of the fused form.
        gradients: SHA-256 of its gradients on the small maps.
        checks: The result of each check.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    output: str
    gradients: str
    checks: list[KeptCheck]


def key(spec: Mapping[str, Any], machine: Mapping[str, Any], code: Mapping[str, str], cpu_flags: str | None) -> str:
    """Return the name under which a result is kept, a hash of everything that it depends on.

    Args:
        spec: The spec, as `RunSpec.to_dict` returns it. Its time budget, mode and runtime do not matter.
        machine: The machine, as `environment.identity` returns it.
        code: File -> hash of the files that compute, see `own_code`.
        cpu_flags: Hash of the features of the processor, which select kernels; None on other devices.

    Returns:
        32 hexadecimal digits.
    """
    measure = {k: v for k, v in spec.get("measure", {}).items() if k in ("device", "backend")}
    same = {name: machine.get(name) for name in MACHINE}
    text = json.dumps([{**spec, "measure": measure}, same, dict(code), cpu_flags], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def key_of(case: Case) -> str | None:
    """Return the key of a case; None for a user's module, which may compute with files that upbench does not know of.

    Args:
        case: The case, in the form in which it is checked.
    """
    if case.spec.upsampler not in cards.builtin():
        return None
    flags = cpu_flags() if case.device.type == "cpu" else None
    return key(case.spec.to_dict(), environment.identity(case.device), own_code(), flags)


@cache
def own_code() -> dict[str, str]:
    """Return file -> hash of upbench's own code, its compiled kernels included."""
    home = Path(upbench.__file__).parent
    files_ = sorted(path for path in home.rglob("*") if path.suffix in (".py", ".so", ".pyd"))
    return {str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in files_}


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """Hash the features of the first processor.

    Args:
        cpuinfo: File that lists them.

    Returns:
        16 hexadecimal digits; None where the system does not list them.
    """
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return None
    found = next((line for line in lines if line.lower().startswith(("flags", "features"))), None)
    return found and hashlib.sha256(" ".join(sorted(found.partition(":")[2].split())).encode()).hexdigest()[:16]


def path() -> Path:
    """Return the path of the cache file, in the folder of the calibration."""
    return calibration.path().with_name("checks.json")


def load(name: str) -> KeptResult | None:
    """Return the result under a key; None when there is no valid one.

    Args:
        name: The key, see `key`.
    """
    try:
        return KeptResult.model_validate(_read().get(name))
    except ValidationError:
        return None


def save(name: str, result: KeptResult) -> bool:
    """Keep a result in which every check passed; a failed check is always run again.

    Args:
        name: The key, see `key`.
        result: The result.

    Returns:
        Whether the result was written.
    """
    if not all(check.passed for check in result.checks):
        return False
    results = {k: v for k, v in _read().items() if k != name} | {name: result.model_dump()}
    newest = dict(list(results.items())[-MOST:])
    try:
        path().parent.mkdir(parents=True, exist_ok=True)
        files.write_text(path(), json.dumps({"schema": SCHEMA, "results": newest}) + "\n")
    except (OSError, OutputError):  # a result that is not kept costs time, and nothing else
        return False
    return True


def _read() -> dict[str, Any]:
    try:
        data = json.loads(path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    results = data.get("results") if isinstance(data, dict) and data.get("schema") == SCHEMA else None
    return results if isinstance(results, dict) else {}
