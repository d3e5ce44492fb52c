"""The limits of a machine: how fast it moves bytes and multiplies, and how small a difference it can tell from none."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from upbench import registry
from upbench.analysis import rounds as verdicts
from upbench.analysis import stats
from upbench.machine import calibration
from upbench.machine.calibration import Calibration
from upbench.measure import clock as clocks
from upbench.measure import cpu_clock, latency
from upbench.measure.clock import Call, Clock
from upbench.measure.cpu_clock import Meter

Work = Callable[[int, torch.device, torch.dtype], tuple[Call, int]]
"""Makes a call of a size on a device in a dtype, with its multiply-accumulates."""
Progress = Callable[[str, float], None]
"""Function that is told what is being done, and the part of the whole that is done, 0 to 1."""

DTYPES = ("float32", "bfloat16", "float64", "float16")
"""Dtypes in which arithmetic is measured, what matters most first; float16 last, which takes a CPU long."""
CEILING_S = 2.0
"""Time budget in seconds: once for the bandwidth sweep, once for the arithmetic."""
SMALLEST_BYTES, LARGEST_BYTES = 2**20, 2**30
"""The smallest working set of the bandwidth sweep, and the bound of the largest."""
CACHES = 4
"""Size of the largest working set, in last-level caches; four as STREAM demands (McCalpin 1995)."""

REPEATS = 19
"""Number of A/A runs, enough that a single disturbed one does not set the result."""
QUANTILE = 0.9
"""Quantile of the A/A runs that is the noise floor."""
MIN_REPEATS = 3
"""Number of A/A runs that are made even when the budget is spent."""
NOISE_FLOOR_S = 10.0
"""Time budget in seconds of all A/A runs of a calibration."""
SIDE_S = 0.5
"""Most seconds of sampling for each side of one A/A run."""


def calibrate(device: torch.device, environment: Mapping[str, Any], progress: Progress) -> Calibration:
    """Measure the ceilings and the noise floor of a device, with torch's threads as they are set; about 20 s.

    With one thread by its CPU time, as latencies are: a ceiling by wall time beside other programs would be too low.

    Args:
        device: The device.
        environment: Machine and software, as `environment.capture` returns them for this device.
        progress: Told what is being done.
    """
    clock = clocks.alone_clock_for(device)
    start, others = time.perf_counter(), other_processes_s()
    sizes = working_sets(environment.get("cache_bytes"), environment.get("memory_bytes"))
    bandwidths, rates = [], {}
    for n, size in enumerate(sizes):
        progress("bandwidth", 0.15 * n / len(sizes))
        bandwidths.append((size, bandwidth_bytes_per_s(clock, device, size, CEILING_S / len(sizes))))
    for n, name in enumerate(DTYPES):
        progress(f"arithmetic in {name}", 0.15 + 0.15 * n / len(DTYPES))
        if rate := macs_per_s(clock, device, getattr(torch, name), CEILING_S / len(DTYPES)):
            rates[name] = rate
    found = noise_floor(
        cpu_clock.meter_for(device),
        lambda: probe_upsampler(device),
        NOISE_FLOOR_S,
        REPEATS,
        lambda part: progress("A/A runs", 0.3 + 0.7 * part),
    )
    return calibration_of(environment, bandwidths, rates, found, start, others)


def calibration_of(
    environment: Mapping[str, Any],
    bandwidths: Sequence[tuple[int, float]],
    rates: Mapping[str, float],
    noise_floor: float | None,
    start_s: float,
    others_s: float | None,
) -> Calibration:
    """Return what was measured as a calibration.

    Args:
        environment: Machine and software, as `environment.capture` returns them.
        bandwidths: Working sets in bytes with their bytes per second, small ones first.
        rates: Multiply-accumulates per second by dtype.
        noise_floor: See `noise_floor`; None where it was not measured.
        start_s: When it began, by time.perf_counter.
        others_s: What `other_processes_s` returned then.
    """
    after = other_processes_s()
    busy = None if others_s is None or after is None else max(after - others_s, 0.0) / (time.perf_counter() - start_s)
    return Calibration(
        key=calibration.key(environment),
        device=environment["device"],
        threads=environment["threads"],
        bandwidths=tuple(bandwidths),
        macs_per_s=dict(rates),
        noise_floor=noise_floor,
        disturbed_cores=busy,
        date=time.strftime("%Y-%m-%d", time.gmtime()),
        versions={name: environment[name] for name in ("torch", "upbench")},
    )


def working_sets(cache_bytes: int | None, memory_bytes: int | None) -> list[int]:
    """Return sizes in bytes from 1 MiB on, each four times the last, up to one that no cache holds.

    The largest is CACHES times the last-level cache (unknown: 64 MiB), but at most 1 GiB (a virtual machine names the
    whole cache of its host) and an eighth of the memory.

    Args:
        cache_bytes: Size of the last-level cache; None where unknown.
        memory_bytes: Size of the memory; None where unknown, which counts as 8 GiB.
    """
    largest = min(CACHES * max(cache_bytes or 0, 64 * 2**20), LARGEST_BYTES, (memory_bytes or 2**33) // 8)
    sizes = [SMALLEST_BYTES * 4**n for n in range(12)]
    return [*(size for size in sizes if 2 * size <= largest), largest]


def bandwidth_bytes_per_s(
    clock: Clock, device: torch.device, working_set_bytes: int, budget_s: float, least: int = 3
) -> float:
    """Measure the bytes read and written per second over and over the same working set: the best of triad, copy and fill.

    Triad and copy are those of STREAM (McCalpin 1995). Fill is added because an upsampler mostly writes: at scale 2
    four bytes for each that it reads. As in STREAM, lines that are read only to be overwritten do not count.

    Args:
        clock: Clock of the device.
        device: The device.
        working_set_bytes: Size of all arrays together.
        budget_s: Seconds for the three together.
        least: Number of samples of each that are taken whatever they take.
    """
    count = max(working_set_bytes // 4 // 96 * 96, 96)
    buffer = torch.ones(count, device=device)
    out, left, right = buffer.chunk(3)
    target, source = buffer.chunk(2)
    with torch.inference_mode():
        best_s = min(
            _best_s(clock, work, budget_s / 3, least)
            for work in (
                lambda: torch.add(left, right, alpha=3.0, out=out),
                lambda: target.copy_(source),
                lambda: buffer.fill_(1.0),
            )
        )
    return 4 * count / best_s


def macs_per_s(
    clock: Clock, device: torch.device, dtype: torch.dtype, budget_s: float, largest: int = 8192, least: int = 3
) -> float | None:
    """Measure what multiplies fastest, a square matrix product or a 3x3 convolution, of growing sizes as far as they fit the budget.

    Both, since they come from different libraries: on some processors torch's convolutions (oneDNN) reach twice the rate of its
    products (MKL), on others it is the other way round. On CUDA float32 is multiplied as convolutions do it, in TF32 where
    torch allows it to them.

    Args:
        clock: Clock of the device.
        device: The device.
        dtype: Dtype of the factors.
        budget_s: Seconds for all sizes together.
        largest: Number of rows of the largest matrices.
        least: Number of samples of each size that are taken whatever they take.

    Returns:
        Multiply-accumulates per second of the fastest; None where the device cannot multiply in this dtype.
    """
    rates = [_best_rate(clock, kind, device, dtype, budget_s / 2, largest, least) for kind in (_product, _convolution)]
    return max((rate for rate in rates if rate), default=None)


def _best_rate(
    clock: Clock, kind: Work, device: torch.device, dtype: torch.dtype, budget_s: float, largest: int, least: int
) -> float | None:
    best: float | None = None
    start, size = clock.now_s(), 256
    with _precision_of_convolutions(device), torch.inference_mode():
        while size <= largest:
            try:
                call, macs = kind(size, device, dtype)
                seconds = _best_s(clock, call, budget_s / 4, least)
            except RuntimeError:  # not implemented for this dtype, or out of memory: what was found before stands
                break
            best = max(best or 0.0, macs / seconds)
            if clock.now_s() - start + 4 * 8 * seconds > budget_s:
                break
            size *= 2
    return best


def _product(size: int, device: torch.device, dtype: torch.dtype) -> tuple[Call, int]:
    """Return a product of square matrices with `size` rows, and its multiply-accumulates."""
    a, b, out = (torch.randn(size, size, device=device).to(dtype) for _ in range(3))
    return functools.partial(torch.mm, a, b, out=out), size**3


def _convolution(size: int, device: torch.device, dtype: torch.dtype) -> tuple[Call, int]:
    """Return a 3x3 convolution about as large as the product, and its multiply-accumulates.

    The smallest is of a 28x28 map, which a slow dtype can afford; the others of 56x56, on which oneDNN is 3 to 9 % faster.
    """
    channels, side = (128, 28) if size <= 256 else (size // 4, 56)
    x = torch.randn(1, channels, side, side, device=device).to(dtype)
    weight = torch.randn(channels, channels, 3, 3, device=device).to(dtype)
    return functools.partial(torch.conv2d, x, weight, padding=1), 9 * side**2 * channels**2


def noise_floor(
    meter: Meter,
    build: Callable[[], Call],
    budget_s: float = NOISE_FLOOR_S,
    repeats: int = REPEATS,
    progress: Callable[[float], None] = lambda part: None,
) -> float:
    """Measure the smallest difference of latency that can be told from none, by A/A runs.

    Each run builds the call twice anew, since where tensors lie in memory is part of what makes equals differ, and
    compares the two by the very protocol and stopping rules that compare different upsamplers. Each run counts with the
    further end of the 95 % interval of its ratio (`stats.noise_floor`). The result is the end that nine of ten runs stay
    within: equals differ by more at most once in ten times, and then mostly with an interval that shows it. The median
    would promise what every second comparison breaks; the largest would be set by one run that a neighbour disturbed.
    Of fewer than 11 runs it is the largest.

    Args:
        meter: Takes the samples on the device.
        build: Makes the call that is compared with itself.
        budget_s: Seconds for all runs; once they are spent, fewer than `repeats` runs are made, but never fewer than 3.
        repeats: Number of runs.
        progress: Told the part of the runs that is done, 0 to 1.

    Returns:
        The difference as a part of 1.

    Raises:
        KeyboardInterrupt: If a run is interrupted.
    """
    start = meter.now_s()
    found: list[float] = []
    for n in range(repeats):
        spent = meter.now_s() - start
        if n >= MIN_REPEATS and spent * (n + 1) / n > budget_s:
            break
        progress(min(max(n / repeats, spent / budget_s), 1.0))
        side_s = min(SIDE_S, budget_s / 2 / MIN_REPEATS)
        first, second = latency.measure([build(), build()], meter, side_s, seed=f"A/A {n}")
        if first.stopped == "interrupted":
            raise KeyboardInterrupt
        same = verdicts.paired(second.samples_s, first.samples_s, latency.PER_ROUND)
        found.append(stats.noise_floor(same))
    return float(np.quantile(found, QUANTILE, method="higher"))


def probe_upsampler(device: torch.device) -> Call:
    """Return a call of dysample at 64x32x32, which A/A runs compare with itself: many small kernels, as most upsamplers have.

    Args:
        device: Device that it runs on.
    """
    card = registry.get("dysample")
    module = registry.construct(card, registry.setting_of(card, 64, None, 2, {}), seed=0).to(device).eval()
    x = torch.randn(1, 64, 32, 32, generator=torch.Generator().manual_seed(0)).to(device)

    def forward() -> object:
        with torch.inference_mode():
            return module(x)

    return forward


def other_processes_s(stat: Path = Path("/proc/stat")) -> float | None:
    """Return the processor seconds that other processes have used since the machine started.

    On a virtual machine the time that its host gave to others counts as well.

    Args:
        stat: File in which the kernel keeps the times of all processors.

    Returns:
        Seconds; None where the system does not tell.
    """
    try:
        user, nice, system, _, _, irq, soft_irq, stolen = stat.read_text().split()[1:9]
        ticks = sum(map(int, (user, nice, system, irq, soft_irq, stolen)))
    except (OSError, ValueError):
        return None
    return ticks / os.sysconf("SC_CLK_TCK") - time.process_time()


def _best_s(clock: Clock, work: Call, budget_s: float, least: int) -> float:
    """Return the seconds of one call: the best of some samples, which no disturbance can make too short."""
    clock.time_s(work, 1)
    once = clock.time_s(work, 1)
    calls = max(1, round(latency.SAMPLE_S / max(once, 1e-7)))
    start, best_s = clock.now_s(), once
    for n in range(1000 if once < budget_s else 0):
        if n >= least and clock.now_s() - start >= budget_s:
            break
        best_s = min(best_s, clock.time_s(work, calls) / calls)
    return best_s


@contextmanager
def _precision_of_convolutions(device: torch.device) -> Iterator[None]:
    """Let matrix products on CUDA use TF32 where convolutions may."""
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
