"""ncnn by pnnx: one size and one sample, in float32, and in the precision that ncnn takes by itself (https://github.com/Tencent/ncnn)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from upbench.deploy.targets import Loaded
from upbench.errors import first_line
from upbench.exchange.capture import Captured, ExportError, quiet

PACKAGES = ("ncnn", "pnnx")
EXTRA = "ncnn"
VARIANTS = ("float32", "default")
SAMPLING = "gridsample"
OPEN = False
MOST: int | None = None
RUNS = True
PARAM, BIN, SIZES = "m.ncnn.param", "m.ncnn.bin", "sizes"
"""Names of the files in the folder of a model; ncnn's own do not say the sizes of the inputs."""
HALF = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage")
"""Options of ncnn that round values."""


def convert(captured: Captured, path: Path, variant: str, tensors: Sequence[Tensor]) -> None:
    """Trace a program and convert it by pnnx."""
    import pnnx

    path.mkdir()
    if any(t.shape[0] != 1 for t in tensors):
        raise ExportError("ncnn has no dimension of samples", "conversion")
    shapes = ",".join(f"[{','.join(map(str, t.shape))}]" for t in tensors)
    tool = Path(pnnx.__file__).with_name("pnnx")
    try:
        with quiet(), torch.no_grad():
            torch.jit.trace(captured.program.module(), tuple(tensors), check_trace=False).save(str(path / "m.pt"))
        options = [f"inputshape={shapes}", f"fp16={int(variant != 'float32')}"]
        subprocess.run([str(tool), "m.pt", *options], cwd=path, check=True, capture_output=True)
    except Exception as error:
        raise ExportError(f"pnnx cannot convert it: {first_line(error, located=False)}", "conversion") from error
    for file in path.iterdir():
        if file.name not in (PARAM, BIN):
            file.unlink()
    (path / SIZES).write_text(shapes)


def facts(path: Path) -> dict[str, Any]:
    """Return layers, those that ncnn does not have, and the sizes that the model was traced with."""
    import ncnn

    lines = (path / PARAM).read_text().splitlines()[2:]
    kinds = [line.split()[0] for line in lines if line.strip()]
    left = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds) if ncnn.layer_to_index(kind) < 0}
    sizes = [[int(n) for n in one.split(",")] for one in (path / SIZES).read_text().strip("[]").split("],[")]
    return {"nodes": len(kinds), "opset": None, "left": left, "sizes": sizes}


def load(path: Path, variant: str, threads: int) -> Loaded:
    """Load a model; the precision in effect is the options that ncnn has set."""
    import ncnn

    if missing := facts(path)["left"]:
        listed = ", ".join(f"{kind} ({n}x)" for kind, n in missing.items())
        raise ExportError(f"ncnn has no layer {listed}", "load")
    net = ncnn.Net()
    net.opt.num_threads = threads
    if variant == "float32":
        for option in HALF:
            setattr(net.opt, option, False)
    if net.load_param(str(path / PARAM)) or net.load_model(str(path / BIN)):
        raise ExportError("ncnn refuses the model", "load")
    rounded = any(getattr(net.opt, option) for option in HALF)
    return Loaded(_caller(net), variant, "float16 in part" if rounded else "float32")


def _caller(net: Any) -> Callable[..., tuple[Tensor, ...]]:
    import ncnn
    import numpy

    def call(*tensors: Tensor) -> tuple[Tensor, ...]:
        extractor = net.create_extractor()
        for name, tensor in zip(net.input_names(), tensors, strict=True):
            # A Mat is a view of the array, whose channels lie closer than ncnn's own: a clone has ncnn's layout.
            extractor.input(name, ncnn.Mat(tensor[0].numpy()).clone())
        found = []
        for name in net.output_names():
            code, out = extractor.extract(name)
            if code:
                raise ExportError(f"ncnn cannot compute {name} (code {code})", "run")
            found.append(torch.from_numpy(numpy.array(out))[None])
        return tuple(found)

    return call
