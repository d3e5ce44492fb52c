"""ONNX files: written by torch's exporter from a captured program, read back and run by onnxruntime."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from upbench.errors import first_line
from upbench.exchange import onnx_norms
from upbench.exchange.capture import Captured, ExportError, quiet

OPSETS = range(18, 23)
"""Opsets that can be written."""
OPSET = 20
"""The opset that is written where none is given."""
SUFFIX = ".onnx"
SAMPLING = "gathers"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
EXTRA = "onnxruntime"
_NAMES = ("batch", "height", "width")


def write(captured: Captured, path: Path, opset: int | None = None, whole_norms: bool = False) -> None:
    """Write a program as ONNX, with its weights in the file.

    Args:
        captured: The program.
        path: The file.
        opset: One of `OPSETS`; None is `OPSET`.
        whole_norms: Whether norms are left to the runtime, for a quantiser that knows them as one operator.

    Raises:
        ExportError: If an operator has no ONNX form.
    """
    import onnx

    try:
        with quiet():
            found = torch.onnx.export(
                captured.program,
                dynamo=True,
                opset_version=opset or OPSET,
                verbose=False,
                external_data=False,
                custom_translation_table={} if whole_norms else onnx_norms.translations(),
            )
            assert found is not None
            model = found.model_proto
    except Exception as error:
        cause = error.__cause__ or error
        raise ExportError(f"torch.onnx.export cannot convert it: {first_line(cause)}", "conversion") from error
    _rename(model, captured)
    onnx.save(model, str(path))


def has_norms(captured: Captured) -> bool:
    """Whether a program holds norms that `write` has a form of."""
    return any(node.target in onnx_norms.translations() for node in captured.program.graph.nodes)


def _rename(model: Any, captured: Captured) -> None:
    """Give inputs, outputs and sizes the names that upbench calls them by: x, guide; batch, height, width."""
    names = {}
    for n, (given, name) in enumerate(zip(model.graph.input, ("x", "guide", "second_guide"), strict=False)):
        names[given.name] = name
        if n == 0:
            symbols = {
                d.dim_param: name
                for d, name in zip(_dims(given)[:1] + _dims(given)[2:], _NAMES, strict=False)
                if re.fullmatch(r"\w+", d.dim_param)
            }
    names |= {out.name: f"out_{n}" if n else "out" for n, out in enumerate(model.graph.output)}
    for node in model.graph.node:
        for places in (node.input, node.output):
            for n, name in enumerate(places):
                places[n] = names.get(name, name)
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        value.name = names.get(value.name, value.name)
        for dim in _dims(value):
            if dim.dim_param:
                dim.dim_param = re.sub(r"\w+", lambda m: symbols.get(m[0], m[0]), dim.dim_param)


def _dims(value: Any) -> list[Any]:
    return list(value.type.tensor_type.shape.dim)


def sizes(path: Path) -> list[list[int | str]]:
    """Read the size of every input from a file; a size that is open is the name that it has there."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    return [[d.dim_param or d.dim_value for d in _dims(given)] for given in model.graph.input]


def input_names(path: Path) -> list[str]:
    """Read the names of the inputs from a file."""
    import onnx

    return [given.name for given in onnx.load(str(path), load_external_data=False).graph.input]


def count(path: Path, operator: str) -> int:
    """Count the nodes of an operator in a file."""
    import onnx

    return sum(n.op_type == operator for n in _nodes(onnx.load(str(path), load_external_data=False).graph))


def facts(path: Path) -> dict[str, Any]:
    """Read from a file its nodes, opset, names of inputs and outputs, and how often operators of no standard domain occur."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    left: dict[str, int] = {}
    for node in _nodes(model.graph):
        if node.domain not in ("", "ai.onnx"):
            left[f"{node.domain}::{node.op_type}"] = left.get(f"{node.domain}::{node.op_type}", 0) + 1
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    names = [[one.name for one in every] for every in (model.graph.input, model.graph.output)]
    return {"nodes": len(list(_nodes(model.graph))), "opset": opset, "left": left, "names": names}


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def add_metadata(path: Path, about: Mapping[str, str]) -> None:
    """Write what is known of a file into it."""
    import onnx

    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, {**{p.key: p.value for p in model.metadata_props}, **about})
    onnx.save(model, str(path))


def metadata(path: Path) -> dict[str, str]:
    """Read what was written into a file about it."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    return {p.key: p.value for p in model.metadata_props if p.key.startswith("upbench.")}


def load(
    path: Path,
    threads: int | None = None,
    providers: Sequence[str] = ("CPUExecutionProvider",),
    optimised: Path | None = None,
) -> Callable[..., Any]:
    """Load a file into onnxruntime.

    Args:
        path: The file.
        threads: Threads of one call; None leaves onnxruntime's default.
        providers: Execution providers, the first that can run a node runs it.
        optimised: File that the optimised graph is written to; None for none.

    Returns:
        A function of tensors that returns a tuple of tensors.

    Raises:
        ExportError: If onnxruntime refuses the file.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails is raised as well
    if optimised is not None:
        options.optimized_model_filepath = str(optimised)
    if threads is not None:
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=list(dict.fromkeys(providers)))
    except Exception as error:
        text = first_line(error).replace(f"{path.parent}/", "")  # the folder is a temporary one
        raise ExportError(f"onnxruntime refuses the file: {text}", "load") from error
    names = [given.name for given in session.get_inputs()]

    def call(*tensors: Tensor) -> tuple[Tensor, ...]:
        arrays = {name: t.detach().cpu().contiguous().numpy() for name, t in zip(names, tensors, strict=True)}
        return tuple(torch.from_numpy(out) for out in session.run(None, arrays))

    call.session = session  # type: ignore[attr-defined] # its profile and providers can be asked
    return call


def casts(path: Path) -> int:
    """Count the conversions that onnxruntime put around operators of which it has no float16 kernel."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    return sum(n.op_type == "Cast" and n.name.startswith("InsertedPrecisionFreeCast") for n in _nodes(model.graph))
