"""The section `model` of a spec: a whole model in which the upsampler stands, in the place of the map of `input`."""

from __future__ import annotations

import importlib.util
import os
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_serializer, model_validator

from upbench.specs import shapes
from upbench.specs.sections import Size
from upbench.specs.strict import Many, Strict
from upbench.user_code import modules, source_files

ALLOWED: dict[str, tuple[str, ...]] = {
    "": ("upsampler", "params", "input", "measure", "model"),
    "input": ("batch", "dtype", "seed"),
    "measure": ("device", "backend", "mode", "threads", "budget", "allocator"),
}
"""Section -> keys that a spec with a model can have; others are of one upsampler on one map."""


class ModelSpec(Strict):
    """A model, and what it is called with.

    Args:
        name: Its name, or package.module:callable.
        args: Keyword arguments of what builds it.
        weights: File of its weights; None for random ones.
        input: Height and width of the image; None where `inputs` makes the inputs.
        inputs: FILE:FUNCTION that makes the inputs; None where `input` says the image's size.
        where: Names or patterns of the upsampling calls that are replaced; None for all feature maps.
    """

    name: str = Field(min_length=1, description="a name (transformers/segformer-b1) or package.module:callable")
    args: dict[str, Any] = Field({}, description="a mapping of argument names to values")
    weights: str | None = Field(None, description="a file of weights")
    input: Size = Field(None, description="HxW of the image (512x512)")
    inputs: str | None = Field(None, pattern=r"^.+:[^:]+$", description="FILE:FUNCTION that makes the inputs")
    where: Many[str] | None = Field(None, min_length=1, description="a list of sites, as [decode_head*]")

    @model_validator(mode="after")
    def _one_way(self) -> ModelSpec:
        if (self.input is None) == (self.inputs is None):
            raise ValueError("needs inputs: give input (HxW of the image) or inputs (FILE:FUNCTION), one of them")
        return self

    @model_serializer
    def _written(self) -> dict[str, Any]:
        size = None if self.input is None else shapes.text(self.input)
        values = [self.name, self.args, self.weights, size, self.inputs, self.where and list(self.where)]
        return {key: value for key, value in zip(type(self).model_fields, values, strict=True) if value}

    def sources(self) -> dict[str, str]:
        """Return the hashes of the files that make the model and its inputs, installed libraries left out."""
        found: dict[str, str] = {}
        if self.inputs is not None and (path := Path(self.inputs.rpartition(":")[0])).is_file():
            found |= source_files.of_file(path, path.stem)
        if ":" in self.name:
            module = self.name.partition(":")[0]
            modules.search_here()
            try:
                spec = importlib.util.find_spec(module)
            except (ImportError, ValueError):
                spec = None
            if spec is not None and spec.origin and not _is_installed(Path(spec.origin)):
                found |= source_files.of_file(Path(spec.origin), module)
        return found


def _is_installed(file: Path) -> bool:
    paths = sysconfig.get_paths()
    return any(file.is_relative_to(paths[name]) for name in ("purelib", "platlib", "stdlib"))


def beside(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a section as a file has it, its own files named relative to the folder of that file."""
    found = dict(data)
    if isinstance(weights := found.get("weights"), str):
        found["weights"] = Path(os.path.normpath(folder / weights)).as_posix()
    if isinstance(inputs := found.get("inputs"), str) and ":" in inputs:
        path, _, name = inputs.rpartition(":")
        found["inputs"] = f"{Path(os.path.normpath(folder / path)).as_posix()}:{name}"
    return found


def misplaced(data: Mapping[str, Any]) -> Iterator[str]:
    """Give a sentence for each key of a spec with a model, as written, that is of one upsampler on one map."""
    for section, allowed in ALLOWED.items():
        written = data.get(section) if section else data
        for key, value in written.items() if isinstance(written, Mapping) else ():
            if key not in allowed and value is not None:
                name = f"{section}.{key}" if section else key
                yield f"{name}: does not go with model, whose maps have their own; leave it out"
    inputs = data.get("input")
    model = data.get("model")
    if (
        isinstance(model, Mapping)
        and model.get("inputs")
        and isinstance(inputs, Mapping)
        and inputs.get("batch", 1) != 1
    ):
        yield "input.batch: does not go with model.inputs, which have a batch of their own; leave it out"
    dtype = inputs.get("dtype", "float32") if isinstance(inputs, Mapping) else "float32"
    if dtype != "float32":
        yield f"input.dtype is {dtype}, but a model is measured in float32; leave it out"


def without_map(data: dict[str, Any]) -> dict[str, Any]:
    """Return a complete spec with a model without the keys that are of one map."""
    kept = {key: value for key, value in data.items() if key in ALLOWED[""]}
    kept["input"] = {key: value for key, value in data["input"].items() if key in ALLOWED["input"]}
    kept["measure"] = {key: value for key, value in data["measure"].items() if key in ALLOWED["measure"]}
    return kept
