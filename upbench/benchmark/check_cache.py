"""Results of checks, kept under everything that they depend on.

A check that passed needs no second run while the fused form returns the same bits: then it returns what was compared.
So a kept result holds the digests of what the fused form returned, and is used only when the digests are the same now.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from upbench import files
from upbench.errors import OutputError
from upbench.machine import calibration

SCHEMA = 1
MOST = 500
"""Results that are kept; the oldest are dropped."""
MACHINE = ("device", "cpu", "threads", "torch", "upbench", "kernels", "cuda")
"""What of an environment, as `environment.capture` gives it, can change a bit of a result."""


class KeptCheck(BaseModel):
    """One check as it ended. detail: the sentence that was printed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    passed: bool
    detail: str


class KeptResult(BaseModel):
    """output: SHA-256 of what the fused form returned; gradients: of its gradients on the small map."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    output: str
    gradients: str
    checks: list[KeptCheck]


def key(spec: Mapping[str, Any], environment: Mapping[str, Any], code: Mapping[str, str], cpu_flags: str | None) -> str:
    """Name what a result depends on.

    Args:
        spec: As `RunSpec.to_dict` gives it. How long it is timed, in which mode and with which runtime does not matter.
        environment: As `environment.capture` gives it.
        code: Hashes of the files that compute, upbench's own and the user's (see `source_files`).
        cpu_flags: What the processor can do, which decides between kernels; None on other devices.
    """
    measure = {k: v for k, v in spec.get("measure", {}).items() if k in ("device", "backend")}
    same = {name: environment.get(name) for name in MACHINE}
    text = json.dumps([{**spec, "measure": measure}, same, dict(code), cpu_flags], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """What the first processor can do, as one hash; None where the system does not say."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return None
    found = next((line for line in lines if line.lower().startswith(("flags", "features"))), None)
    return found and hashlib.sha256(" ".join(sorted(found.partition(":")[2].split())).encode()).hexdigest()[:16]


def path() -> Path:
    """The cache file, beside that of the calibration."""
    return calibration.path().with_name("checks.json")


def load(name: str) -> KeptResult | None:
    """The result under a key; None when there is no sound one."""
    try:
        return KeptResult.model_validate(_read().get(name))
    except ValidationError:
        return None


def save(name: str, result: KeptResult) -> bool:
    """Keep a result. Only what passed is kept: a failure is looked at anew. Returns whether it could be written."""
    if not all(check.passed for check in result.checks):
        return False
    results = {k: v for k, v in _read().items() if k != name} | {name: result.model_dump()}
    newest = dict(list(results.items())[-MOST:])
    try:
        files.check_writable(path())
        files.write_text(path(), json.dumps({"schema": SCHEMA, "results": newest}) + "\n")
    except OutputError:  # a result that is not kept costs time, and nothing else
        return False
    return True


def _read() -> dict[str, Any]:
    try:
        data = json.loads(path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    results = data.get("results") if isinstance(data, dict) and data.get("schema") == SCHEMA else None
    return results if isinstance(results, dict) else {}
