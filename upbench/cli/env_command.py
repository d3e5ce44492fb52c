"""`upbench env`: where measurements are made, and with --calibrate what this machine can do and can tell apart."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upbench import units
from upbench.cli import options, output
from upbench.cli.show_options import TableOptions
from upbench.report.formats.table import Table

if TYPE_CHECKING:
    from upbench.machine.calibration import Calibration

SCHEMA = 2
"""Version of the keys that `--format json` prints."""


def command(
    show: TableOptions,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            rich_help_panel=options.WHAT,
            help="Measure bandwidth, arithmetic and the smallest difference this machine resolves.",
        ),
    ] = False,
    device: options.Device = None,
    threads: options.Threads = None,
) -> None:
    """Print everything that a record holds of the machine, and its calibration."""
    from upbench.machine import calibration, environment

    target = environment.resolve_device(device or "auto")
    output.check_targets(show)
    with environment.with_threads(threads):
        found = environment.capture(target)
        if calibrate:
            from upbench.cli.progress import Progress
            from upbench.machine import ceilings

            calibration.check()
            with Progress() as progress:
                known: Calibration | None = ceilings.calibrate(target, found, progress)
            if known:
                calibration.save(known)
        else:
            known = calibration.load(environment.machine_key(target))
    whole = {"schema": SCHEMA, "environment": found, "calibration": known.to_dict() if known else None}
    output.show([table(found, known)], show, lambda: json.dumps(whole, indent=2))


def table(environment: Mapping[str, Any], known: Calibration | None) -> Table:
    """Return quantities as rows; the raw rows have the keys of a record and SI base units.

    Args:
        environment: Machine and software, as `environment.capture` returns them.
        known: The calibration of this machine; None where it is not calibrated.
    """
    raw: list[list[Any]] = [[name, value] for name, value in environment.items()]
    rows = [_shown(name, value) for name, value in environment.items()]
    if known:
        for size, rate in known.bandwidths:
            raw.append([f"bandwidth_bytes_per_s_at_{size}", rate])
            rows.append([f"Bandwidth, working set {units.mebibytes(size)}", f"{units.count(round(rate))}B/s"])
        for dtype, rate in known.macs_per_s.items():
            raw.append([f"macs_per_s_{dtype}", rate])
            rows.append([f"Arithmetic, {dtype}", f"{units.count(round(rate))} MACs/s"])
        raw += [["noise_floor", known.noise_floor], ["calibrated", known.date]]
        floor = units.DASH if known.noise_floor is None else units.percent(known.noise_floor)
        rows += [["Noise floor (A/A)", floor], ["Calibrated", known.date]]
    return Table(
        title="Environment",
        heads=["Quantity", "Value"],
        rows=rows,
        numeric=[False, False],
        raw_heads=["quantity", "value"],
        raw_rows=raw,
        notes=_notes(environment, known),
    )


def _notes(environment: Mapping[str, Any], known: Calibration | None) -> list[str]:
    if known is None:
        return [
            "Not calibrated: `upbench env --calibrate` measures the ceilings and the noise floor of this machine "
            "(about 20 s; leave it alone meanwhile)."
        ]
    valid = f"Valid for {units.number_of(known.threads, 'thread')} and torch {known.versions['torch']}; when the machine changes, calibrate again."
    if known.noise_floor is None:
        notes = [
            "The ceilings are those that the first measurement took by itself; `upbench env --calibrate` measures them more "
            f"thoroughly, and the noise floor (about 20 s; leave the machine alone meanwhile). {valid}"
        ]
    else:
        notes = [_noise_floor(known.noise_floor, valid)]
    if known.disturbed:
        notes.append(
            f"Warning: other programs kept {known.disturbed_cores:.1f} of {environment['cores']} cores busy during the "
            f"calibration, so that its ceilings are too low; calibrate again when they have ended."
        )
    return notes


def _noise_floor(noise_floor: float, valid: str) -> str:
    return (
        f"Noise floor: differences of latency below {units.percent(noise_floor)} are not told from none; an upsampler "
        f"compared with itself showed as much. {valid}"
    )


def _hertz(value: int | None) -> str:
    return units.DASH if value is None else f"{units.count(value)}Hz"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return units.DASH if value is None else str(value)


_SHOWN: dict[str, tuple[str, Callable[[Any], str]]] = {
    "device": ("Device", _text),
    "device_type": ("Kind of device", _text),
    "cpu": ("CPU", _text),
    "cores": ("CPU cores", _text),
    "cores_usable": ("  usable by this process", _text),
    "cpu_clock_hz": ("CPU clock now", _hertz),
    "cpu_clock_max_hz": ("CPU clock at most", _hertz),
    "cpu_governor": ("CPU governor", _text),
    "memory_bytes": ("Memory", units.mebibytes),
    "cache_bytes": ("Last-level cache of the device", units.mebibytes),
    "load": ("Load, last minute", _text),
    "threads": ("Threads of torch", _text),
    "interop_threads": ("  between operators", _text),
    "omp_num_threads": ("OMP_NUM_THREADS", _text),
    "mkl_num_threads": ("MKL_NUM_THREADS", _text),
    "system": ("System", _text),
    "machine": ("Architecture", _text),
    "python": ("Python", _text),
    "upbench": ("upbench", _text),
    "measurement_version": ("  version of its measurements", _text),
    "torch": ("torch", _text),
    "kernels": ("Fused ops are made of", _text),
    "cuda": ("CUDA", _text),
    "commit": ("Commit of upbench", _text),
    "fvcore": ("fvcore", _text),
    "numpy": ("numpy", _text),
    "gpu_memory_bytes": ("GPU memory", units.mebibytes),
    "driver": ("GPU driver", _text),
    "sm_clock_hz": ("GPU SM clock now", _hertz),
    "sm_clock_max_hz": ("GPU SM clock at most", _hertz),
    "memory_clock_hz": ("GPU memory clock now", _hertz),
    "cudnn": ("cuDNN", _text),
    "tf32": ("TF32 in matrix products", _text),
    "tf32_convolution": ("TF32 in convolutions", _text),
}


def _shown(name: str, value: Any) -> list[str]:
    """Return a row; a key without a title here stands under its own name."""
    title, text = _SHOWN.get(name, (name, _text))
    return [title, text(value)]
