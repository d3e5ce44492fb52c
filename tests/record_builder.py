"""Records that were never measured, for tests of what is computed and printed from records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from upbench import registry
from upbench.conventions import Breakdown
from upbench.records import store
from upbench.records.record import Latency, Macs, Memory, Record, SweepInfo

DEVICE = "Some CPU"


def samples(median_s: float, n: int = 40, spread: float = 0.01, seed: int = 0) -> list[float]:
    """Times around a median, with a relative spread."""
    noise = np.random.default_rng(seed).normal(size=n)
    noise -= np.median(noise)
    return [float(median_s * (1 + spread * x)) for x in noise]


def record(
    upsampler: str = "ldaaqu",
    axes: dict[str, Any] | None = None,
    *,
    cell: int = 0,
    params: int = 1000,
    flops: int = 10**9,
    latency_s: float | Sequence[float] = 0.01,
    peak_bytes: int = 2**20,
    status: str = "ok",
    error: str | None = None,
    published: str | None = None,
    shape: str = "256x120x120",
    scale: float = 2,
    torch: str = "2.13",
    device: str = DEVICE,
    noise_floor: float | None = 0.02,
    sweep: bool = True,
    **settings: Any,
) -> Record:
    """One record; settings are params of the upsampler on top of its defaults."""
    ok = status == "ok"
    timed = samples(latency_s, seed=cell) if isinstance(latency_s, int | float) else list(latency_s)
    changed = ", ".join(f"{k}={v}" for k, v in settings.items())
    return Record(
        label=f"{upsampler} ({changed})" if changed else upsampler,
        spec={
            "upsampler": upsampler,
            "channels": int(shape.split("x")[0]),
            "guide_channels": None,
            "scale": scale,
            "params": {**registry.get(upsampler).defaults(), **settings},
            "input": {
                "shape": shape, "batch": 1, "dtype": "float32", "memory_format": "contiguous", "offsets": "init",
                "seed": 0,
            },
            "measure": {
                "device": "cpu", "backend": "auto", "mode": "inference", "compile": "off", "threads": None, "budget": 1.0,
            },
        },
        axes=axes or {},
        sweep=SweepInfo(name="made", title="A made sweep", published=published, cell=cell) if sweep else None,
        status=status,
        error=error,
        started="2026-01-01T00:00:00Z",
        noise_floor=noise_floor,
        environment={"device": device, "device_type": "cpu", "threads": 2, "torch": torch, "upbench": "0.1.0", "measurement_version": 1},
        params=params if ok else None,
        params_trainable=params if ok else None,
        buffers=0 if ok else None,
        macs=Macs(conv=flops, gather=0, norm=0, elementwise=0, total=flops) if ok else None,
        breakdown=Breakdown(conv=flops, weights=params) if ok else None,
        latency=_latency(timed) if ok else None,
        memory=_memory(peak_bytes) if ok else None,
    )  # fmt: skip


def _latency(timed: list[float]) -> Latency:
    return Latency(
        mode="inference", clock="wall", first_call_s=0.1, warmup_calls=3, stable=True, calls_per_sample=1,
        samples_per_round=2, stopped="precise", discarded_rounds=0, samples_s=timed,
    )  # fmt: skip


def _memory(peak_bytes: int) -> Memory:
    return Memory(
        method="made up", input_bytes=1, weight_bytes=1, output_bytes=1, forward_peak_bytes=peak_bytes,
        training_peak_bytes=2 * peak_bytes, saved_bytes=peak_bytes, workspace_bytes=peak_bytes - 1,
    )  # fmt: skip


def file(path: Path, records: Sequence[Record]) -> Path:
    """A results file with these records."""
    path.unlink(missing_ok=True)
    for one in records:
        store.append(path, one)
    return path


def theta_sweep(**more: Any) -> list[Record]:
    """The cells of sweeps/theta.yaml."""
    return [
        record(axes={"theta": t}, cell=n, theta=t, latency_s=0.010 + 0.001 * n, published="lda-aqu/table5", **more)
        for n, t in enumerate((5, 7, 9, 11, 13))
    ]
