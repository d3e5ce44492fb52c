"""The ceilings of a machine, measured once and quickly by the first measurement on it, so that efficiency is known.

`upbench env --calibrate` is the thorough way, which also measures the noise floor.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch

from upbench.errors import OutputError
from upbench.machine import calibration, ceilings
from upbench.machine.calibration import Calibration
from upbench.machine.ceilings import Progress
from upbench.measure import clock as clocks

QUICK_S = 3.0
"""Most seconds that it takes; on a machine so busy that nothing was measured by then, the next measurement tries again."""
LARGEST_BYTES = 2**28
"""The largest working set, which only very large caches hold."""
SHARE = 0.05
"""Part of the time that each working set and each dtype gets."""


def known(device: torch.device, environment: Mapping[str, Any], progress: Progress) -> Calibration | None:
    """Return the calibration of a device; where there is none yet, its ceilings are measured quickly, and kept.

    Args:
        device: The device.
        environment: Machine and software, as `environment.capture` returns them for this device.
        progress: Told that something is being done.

    Returns:
        The calibration; None where there is none and it is switched off, could not be kept or could not be measured.
    """
    found = calibration.load(calibration.key(environment))
    if found is not None or not calibration.automatic():
        return found
    progress("once: what this machine can do", 0)
    try:
        calibration.check()
        found = quick(device, environment)
        if found is not None:
            calibration.save(found)
    except (OutputError, RuntimeError, MemoryError):  # a measurement does not fail for want of an efficiency
        return None
    return found


def quick(device: torch.device, environment: Mapping[str, Any]) -> Calibration | None:
    """Measure the ceilings of a device within QUICK_S seconds: what matters most first, until the time is spent.

    Args:
        device: The device.
        environment: Machine and software, as `environment.capture` returns them for this device.

    Returns:
        A calibration without noise floor; None where not even main memory and float32 were measured in time.
    """
    clock, others = clocks.alone_clock_for(device), ceilings.other_processes_s()
    start = time.perf_counter()
    sizes = ceilings.working_sets(environment.get("cache_bytes"), environment.get("memory_bytes"))
    small = [size for size in sizes if size <= LARGEST_BYTES]
    bandwidths: dict[int, float] = {}
    rates: dict[str, float] = {}

    def in_time() -> bool:
        return time.perf_counter() - start < QUICK_S * (1 - 2 * SHARE)

    first, *dtypes = ceilings.DTYPES
    order: list[int | str] = [small[-1], first, *reversed(small[:-1]), *dtypes]
    for wanted in order:
        if not in_time():
            break
        if isinstance(wanted, int):
            bandwidths[wanted] = ceilings.bandwidth_bytes_per_s(clock, device, wanted, SHARE * QUICK_S, least=1)
        elif rate := ceilings.macs_per_s(clock, device, getattr(torch, wanted), SHARE * QUICK_S, least=1):
            rates[wanted] = rate
    if first not in rates:
        return None
    return ceilings.calibration_of(environment, sorted(bandwidths.items()), rates, None, start, others)
