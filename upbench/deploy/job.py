"""Deploys one upsampler to one runtime: captured, converted, loaded, run at two sizes, compared and timed."""

from __future__ import annotations

import copy
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from upbench.benchmark import spec_module, workload
from upbench.deploy import targets
from upbench.deploy.cell import Cell
from upbench.deploy.latency import clock_of, rounds
from upbench.deploy.targets import Loaded, Target
from upbench.errors import UpbenchError, first_line
from upbench.exchange import other_sizes
from upbench.exchange.agreement import LEAST, TIMES, Truth, called, error_of, truth
from upbench.exchange.capture import ExportError, capture, eager_copy
from upbench.specs import run_spec

Say = Callable[[str, float], None]
HALVES = {"bf16": torch.bfloat16, "f16": torch.float16, "float16": torch.float16, "bfloat16": torch.bfloat16}
"""How the name of a precision in effect begins -> the dtype of eager with that precision."""


@dataclass(frozen=True)
class Subject:
    """An upsampler that is deployed.

    Attributes:
        module: The module.
        truths: What it returns at the traced size, and at another.
    """

    module: nn.Module
    truths: tuple[Truth, Truth]


def deploy(spec: dict[str, Any], target: str, variant: str, fixed: bool, say: Say) -> Cell:
    """Deploy one upsampler.

    Args:
        spec: The spec as written.
        target: Name of the target.
        variant: One of its variants.
        fixed: Whether the file has the traced size alone.
        say: Called with each step before it begins.

    Returns:
        What came of it; an error at a step is in it.
    """
    started = time.monotonic()
    module = targets.load(target)
    cell = Cell(str(spec["upsampler"]), target, variant, version=targets.installed(module))
    if reason := targets.why_not(module):
        cell.verdict, cell.reason = "not installed", reason
        return cell
    try:
        with tempfile.TemporaryDirectory(prefix="upbench-") as folder:
            _into(cell, module, json.dumps(spec), fixed or not module.OPEN, Path(folder), say)
    except ExportError as error:
        cell.verdict, cell.step, cell.reason = "failed", error.step, _line(str(error))
    except UpbenchError as error:
        cell.verdict, cell.step, cell.reason = "failed", "capture", _line(str(error))
    cell.wall_s = time.monotonic() - started
    return cell


def _into(cell: Cell, target: Target, spec: str, fixed: bool, folder: Path, say: Say) -> None:
    """Fill a cell, step by step."""
    say("capture", 0.0)
    subject = _subject(spec)
    tensors = subject.truths[0].tensors
    # Each conversion has a program of its own: AOTInductor, also where it fails, leaves one whose sizes are fixed for the next.
    captured = capture(subject.module, tensors, not fixed, target.SAMPLING, target.MOST)
    cell.input = subject.truths[0].size
    say("conversion", 0.25)
    # The end of a name says to some runtimes what a file is.
    path = folder / f"module{'.pt2' if cell.runtime == 'aoti' else '.onnx'}"
    target.convert(captured, path, cell.variant, tensors)
    for name, value in target.facts(path).items():
        setattr(cell, name, value)
    cell.bytes = _bytes(path)
    if not target.RUNS:
        cell.verdict = "converted"
        return
    say("load", 0.5)
    loaded = target.load(path, cell.variant, torch.get_num_threads())
    cell.precision_asked, cell.precision = loaded.asked, loaded.in_effect
    say("run", 0.75)
    _judge(cell, subject, loaded, () if fixed else (subject.truths[1],))
    if cell.verdict != "wrong":
        _time(cell, subject, loaded)


@lru_cache(1)
def _subject(spec: str) -> Subject:
    """Build an upsampler from JSON, and compute what it should return; kept for the next runtime."""
    asked = run_spec.load(json.loads(spec))
    module, tensors = spec_module.built(asked)
    with workload.explained(asked):
        return Subject(module, (truth(module, tensors), truth(module, other_sizes.odd(tensors))))


def _judge(cell: Cell, subject: Subject, loaded: Loaded, others: Sequence[Truth]) -> None:
    """Run a file and compare it; the limit is that of the precision in effect."""
    at_traced = subject.truths[0]
    cell.error = error_of(_run(loaded, at_traced), at_traced.outputs)
    errors, limits = [cell.error], [_limit(cell, subject, at_traced)]
    for other in others:
        cell.other_size = other.size
        cell.other_error = error_of(_run(loaded, other), other.outputs)
        errors.append(cell.other_error)
        limits.append(_limit(cell, subject, other))
    if None in limits:
        cell.verdict = "unjudged" if all(e < float("inf") for e in errors) else "wrong"
        return
    cell.limit = max(n for n in limits if n is not None)
    pairs = zip(errors, limits, strict=True)
    cell.verdict = "right" if all(n is not None and e <= n for e, n in pairs) else "wrong"


def _limit(cell: Cell, subject: Subject, at: Truth) -> float | None:
    """The largest accepted error in the precision in effect; None where eager has no such precision."""
    in_effect = str(cell.precision)
    if in_effect.startswith("int8"):
        return None
    dtype = next((dtype for name, dtype in HALVES.items() if in_effect.startswith(name)), None)
    own = at.eager_error if dtype is None else _half_error(subject.module, at, dtype)
    if at is subject.truths[0]:
        cell.own_error = own
    return max(LEAST, TIMES * own)


def _half_error(module: nn.Module, at: Truth, dtype: torch.dtype) -> float:
    """Error of the plain form computed in half precision."""
    with torch.no_grad():
        rounded = [t.to(dtype) if t.is_floating_point() else t for t in at.tensors]
        try:
            return error_of([t.float() for t in called(eager_copy(module, dtype), rounded)], at.outputs)
        except RuntimeError:  # torch has no kernel of some operator in half precision
            kept = eager_copy(copy.deepcopy(module).to(dtype).float())
            return error_of(called(kept, [t.to(dtype).float() for t in at.tensors]), at.outputs)


def _run(loaded: Loaded, at: Truth) -> tuple[Tensor, ...]:
    try:
        return tuple(loaded.call(*at.tensors))
    except ExportError:
        raise
    except Exception as error:
        raise ExportError(f"it fails at {at.size}: {first_line(error, located=False)}", "run") from error


def _time(cell: Cell, subject: Subject, loaded: Loaded) -> None:
    """Time the runtime beside the plain form, and the fused one where there is one that agrees."""
    at = subject.truths[0]
    calls: dict[str, Callable[..., Any]] = {"eager": eager_copy(subject.module), "runtime": loaded.call}
    if (fused := _fused(subject.module, at)) is not None:
        calls["fused"] = fused
    with torch.no_grad():
        bound = {name: _bound(call, at.tensors) for name, call in calls.items()}
        found = rounds(bound, clock_ns=clock_of(torch.get_num_threads()))
    cell.eager_s, cell.runtime_s, cell.fused_s = found["eager"], found["runtime"], found.get("fused", [])


def _bound(call: Callable[..., Any], tensors: Sequence[Tensor]) -> Callable[[], Any]:
    return lambda: call(*tensors)


def _fused(module: nn.Module, at: Truth) -> nn.Module | None:
    """The module with its fused ops, where it has some that can run here and agree."""
    other = copy.deepcopy(module).eval()
    layers = [layer for layer in other.modules() if getattr(layer, "fused_ops", ())]
    for layer in layers:
        layer.backend = "fused"  # type: ignore[assignment]
    try:
        return other if layers and error_of(called(other, at.tensors), at.outputs) <= at.limit else None
    except UpbenchError:
        return None


def _bytes(path: Path) -> int:
    """Size of a file, or of all files of a folder."""
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) if path.is_dir() else path.stat().st_size


def _line(text: str) -> str:
    """The first line of a message, without its period, no longer than 200 characters."""
    line = text.strip().splitlines()[0].rstrip(". ")
    return line if len(line) <= 200 else f"{line[:199].rstrip()}..."
