"""Writes a module to a file that another runtime runs, and keeps the file only where running it gives the right values."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import upbench
from upbench import files
from upbench.errors import OutputError, SpecError, UpbenchError, first_line, no_module
from upbench.exchange import formats, onnx_file, other_sizes
from upbench.exchange.agreement import Agreement, Truth, truth
from upbench.exchange.capture import Captured, ExportError, capture, holds_for_one
from upbench.exchange.formats import Format
from upbench.ops.portable import SAMPLING

VERSIONS = ("torch", "onnx", "onnxscript", "onnxruntime")
"""Packages whose versions are written into a file."""
AXES = (("the number of samples", 0), ("the height", 2), ("the width", 3))
"""What the sizes of a map are called that stay open."""


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how it was judged.

    Attributes:
        path: The file.
        inputs: Size of every input as the file has it; an open one is a name. None where a file does not say.
        agreements: The comparisons with eager float64.
        nodes: Number of operators; None where a file does not say.
        opset: Opset of ONNX; None for other files.
        bytes: Size of the file.
        names: Names of the inputs and of the outputs; None where a runtime takes them by their order.
        fixed: Sentence that says which size was to stay open and could not; None where all did, or none was to.
    """

    path: Path
    inputs: list[list[int | str]] | None
    agreements: tuple[Agreement, ...]
    nodes: int | None
    opset: int | None
    bytes: int
    fixed: str | None = None
    names: list[list[str]] | None = None


Progress = Callable[[str, float], None]
"""Is called with what is done next, and the part that is done."""


def export(
    module: nn.Module,
    args: Tensor | Sequence[Tensor],
    path: str | Path,
    *,
    dynamic: bool = True,
    opset: int | None = None,
    sampling: str | None = None,
    keep_rejected: bool = False,
    about: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write a module to a file for other runtimes: `export(module, x, "up.onnx")`.

    The file is run at the size of `args` and, where sizes are open, at an odd and at a wide one, and compared with the
    plain form in float64 of the same weights and inputs: nothing is written that is off by more than 1e-5 of the largest
    value and 4 times what the plain form is off itself.

    Args:
        module: An upsampler, or a model with upsamplers in it. It is exported in evaluation mode and stays as it is.
        args: The tensors that it is called with, maps [B, C, H, W].
        path: The file: .onnx, .pt2 (torch.export) or .aoti.pt2 (a package of AOTInductor).
        dynamic: Whether the file takes any number of samples, rows and columns.
        opset: Opset of an ONNX file, 18 to 22. Default: 20.
        sampling: How points are read: "gathers", which onnxruntime does fastest, or "gridsample". Default: by the file.
        keep_rejected: Whether a file that is off is kept as `path`.rejected.
        about: Further metadata for the file.
        progress: Called with what is done next, and the part that is done.

    Returns:
        What was written.

    Raises:
        UpbenchError: If a value is wrong, the file exists, or its values would be wrong.
    """
    if not isinstance(module, nn.Module):
        raise no_module("module", module)
    path, tensors = Path(path), _tensors(args)
    form = judged(path, opset, sampling)
    said = progress or (lambda what, part: None)
    # A suffix that runtimes know a file by stays at the end of the name.
    beside = path.with_name(f".{os.getpid()}.{path.name}")
    one = _Attempt(form, module, tensors, beside, opset, sampling or form.SAMPLING, dynamic, said)
    fixed = None
    try:
        one.make(open_batch=True)
        if one.wrong is not None and dynamic and not holds_for_one(one.captured):
            one.make(open_batch=False)
            fixed = one.said_of_batch()
        if one.wrong is not None and one.wrong.step != "comparison":
            raise one.wrong
        notes = {} if fixed is None else {"fixed": fixed}
        form.add_metadata(beside, _about(one.agreements, {**(about or {}), **notes}))
        if one.wrong is not None:
            if not keep_rejected:
                text = f"{one.wrong}; {path} is not written, --keep-rejected keeps it for a look"
                raise ExportError(text, "comparison")
            rejected = path.with_name(f"{path.name}.rejected")
            beside.replace(rejected)
            raise ExportError(f"{one.wrong}; it is kept as {rejected}", "comparison")
        found = form.facts(beside)
        beside.replace(path)
    except OSError as error:
        raise OutputError(f"output {path} cannot be written ({error.strerror}); choose another with --output") from None
    finally:
        beside.unlink(missing_ok=True)
    size, names = path.stat().st_size, found.get("names")
    return Exported(path, one.inputs, one.agreements, found["nodes"], found["opset"], size, fixed, names)


@dataclass
class _Attempt:
    """A file that is made under a name for the time being, and what is wrong with it; None where it is right."""

    form: Format
    module: nn.Module
    tensors: tuple[Tensor, ...]
    beside: Path
    opset: int | None
    sampling: str
    dynamic: bool
    said: Progress
    captured: Captured = field(init=False)
    inputs: list[list[int | str]] | None = None
    agreements: tuple[Agreement, ...] = ()
    wrong: ExportError | None = None

    def make(self, open_batch: bool) -> None:
        """Capture, write and run it; what torch.export or the converter refuses is raised."""
        name, samples = type(self.module).__name__, 1 if open_batch else self.tensors[0].shape[0]
        self.said("tracing", 0.0)
        self.captured = capture(self.module, self.tensors, self.dynamic, self.sampling, open_batch=open_batch)
        self.said("running it in float64, to compare with", 0.25)
        truths = _truths(self.module, self.tensors, self.dynamic, samples)
        self.said("writing the file", 0.5)
        self.form.write(self.captured, self.beside, self.opset)
        self.inputs, self.agreements, self.wrong = self.form.sizes(self.beside), (), None
        axes = AXES if open_batch else AXES[1:]
        text = _constant(name, self.inputs, axes) if self.dynamic and self.inputs is not None else None
        self.said("running the file", 0.75)
        try:
            if not text:
                call = self.form.load(self.beside)
                self.agreements = tuple(one.judge(_run(call, one)) for one in truths)
        except ExportError as error:
            self.wrong = error
            return
        if text := text or _too_far(name, self.agreements):
            self.wrong = ExportError(text, "comparison")

    def said_of_batch(self) -> str:
        """Say that the number of samples did not stay open."""
        samples = self.tensors[0].shape[0]
        return (
            f"{samples} {'sample' if samples == 1 else 'samples'} a call: with an open number torch.export makes a program of "
            f"{type(self.module).__name__} that does not hold for one; rows and columns are open"
        )


def judged(path: Path, opset: int | None, sampling: str | None) -> Format:
    """Judge what a file is to be before anything is built.

    Args:
        path: The file.
        opset: Its opset; None for the default.
        sampling: How points are read in it; None for the default.

    Returns:
        The kind of the file.

    Raises:
        UpbenchError: If the file exists or cannot be written, or a value is wrong.
    """
    form = formats.of(path)
    if path.exists():
        raise OutputError(f"output {path} exists; remove it, or choose another with --output")
    files.check_writable(path)
    if sampling is not None and sampling not in SAMPLING:
        raise SpecError([f"sampling is {sampling!r}, but must be {' or '.join(SAMPLING)}"])
    if opset is not None and form.SUFFIX != onnx_file.SUFFIX:
        raise SpecError([f"opset is {opset}, but a {form.SUFFIX} file has none; leave it out"])
    if opset is not None and opset not in onnx_file.OPSETS:
        low, high = onnx_file.OPSETS[0], onnx_file.OPSETS[-1]
        why = (
            "GridSample is known from 16 on, and torch's exporter writes 18 and later"
            if opset < low
            else ("later ones were not tried")
        )
        raise SpecError([f"opset is {opset}, but must be {low} to {high}: {why}"])
    return form


def _tensors(args: Any) -> tuple[Tensor, ...]:
    tensors = (args,) if isinstance(args, Tensor) else tuple(args)
    for n, one in enumerate(tensors):
        if not isinstance(one, Tensor):
            raise ExportError(
                f"argument {n} is a {type(one).__name__}, but a file is called with tensors; wrap a model that takes lists or "
                "mappings in a module that is called with their tensors",
                "capture",
            )
    return tensors


def _truths(module: nn.Module, tensors: tuple[Tensor, ...], dynamic: bool, samples: int) -> list[Truth]:
    """The inputs on which a file is run, and what it must return. A size that the module itself refuses is left out."""
    found = [truth(module, tensors)]
    if not dynamic:
        return found
    refused: list[BaseException] = []
    for other in (other_sizes.odd(tensors, samples), other_sizes.wide(tensors, samples)):
        try:
            found.append(truth(module, other))
        except Exception as error:  # noqa: BLE001 - a model may need multiples of its stride
            refused.append(error)
    if len(found) == 1:
        height, width = (2 * n for n in tensors[0].shape[2:])
        try:
            found.append(truth(module, other_sizes.resized(tensors, height, width, samples)))
        except Exception:  # noqa: BLE001 - the first refusal says more
            raise UpbenchError(
                f"{type(module).__name__} takes no other size than that of args ({first_line(refused[0])}); "
                "export it with --fixed (dynamic=False)"
            ) from refused[0]
    return found


def _run(call: Callable[..., Any], one: Truth) -> Sequence[Tensor]:
    """Run a loaded file on inputs."""
    try:
        return tuple(call(*one.tensors))
    except ExportError:
        raise
    except Exception as error:
        raise ExportError(
            f"the file fails on {one.size}: {first_line(error)}; where the module makes a size a number of its own, as linspace does, "
            "--fixed exports it for one size",
            "run",
        ) from error


def _constant(name: str, inputs: list[list[int | str]], axes: Sequence[tuple[str, int]]) -> str | None:
    """Say which sizes of a file became constants that were to stay open; None where none did."""
    maps = [size for size in inputs if len(size) == 4]
    fixed = [axis for axis, n in axes if any(isinstance(size[n], int) for size in maps)]
    if not fixed:
        return None
    listed = " and ".join("x".join(map(str, size)) for size in inputs)
    return (
        f"{name} was to keep its sizes open, but the file takes {listed} only: its forward makes a constant of "
        f"{' and of '.join(fixed)}, as torch.linspace and int() do; export it with --fixed (dynamic=False), or mend it"
    )


def _too_far(name: str, agreements: Sequence[Agreement]) -> str | None:
    """Say where a file is further off than it may be; None where it is not."""
    for one in agreements:
        if not one.passed:
            return f"{name}: the file is {one.error:.2g} of the largest value off at {one.size}; limit {one.limit:.2g}"
    return None


def _about(agreements: Sequence[Agreement], more: Mapping[str, str]) -> dict[str, str]:
    """The metadata of a file: versions, and the errors that were measured."""
    versions = {"upbench": upbench.__version__, **{name: found for name in VERSIONS if (found := _version(name))}}
    tolerance = [{"size": a.size, "error": a.error, "limit": a.limit, "eager": a.eager_error} for a in agreements]
    return {
        "upbench.versions": json.dumps(versions),
        "upbench.tolerance": json.dumps(tolerance),
        **{f"upbench.{key}": value for key, value in more.items()},
    }


def _version(package: str) -> str | None:
    if package == "torch":
        return str(torch.__version__)
    try:
        return version(package)
    except PackageNotFoundError:
        return None
