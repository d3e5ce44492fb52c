"""What a model is called with, made for an image size; or made by a function of the user's."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from upbench.errors import UpbenchError, first_line
from upbench.user_code import modules

Call = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments of a call."""


def for_image(model: nn.Module, height: int, width: int, batch: int = 1, seed: int = 0) -> Call:
    """Return random images as the model takes them.

    Detectors of torchvision take a list of images [3, H, W] of values in 0..1, models of transformers `pixel_values`, others
    one tensor [batch, 3, H, W].

    Args:
        model: The model.
        height: Rows of the image in pixels.
        width: Columns.
        batch: Number of images.
        seed: Seed of the values.

    Raises:
        UpbenchError: If the images do not fit into memory.
    """
    generator = torch.Generator().manual_seed(seed)
    try:
        images = torch.rand((batch, 3, height, width), generator=generator)
    except (RuntimeError, MemoryError):
        raise UpbenchError(
            f"{batch} x 3x{height}x{width}: images of {12 * batch * height * width / 2**30:,.0f} GiB do not fit into memory; give a "
            "smaller --input"
        ) from None
    module = type(model).__module__
    if module.startswith("torchvision.models.detection"):
        return (list(images),), {}
    name = getattr(model, "main_input_name", None)
    if module.startswith("transformers.") and isinstance(name, str):
        return (), {name: images}
    return (images,), {}


def from_file(text: str) -> Call:
    """Return what a function of the user's makes: a tensor, a tuple of positional or a dict of keyword inputs.

    Args:
        text: "inputs.py:make".

    Raises:
        UpbenchError: If the file or the function is missing, or fails.
    """
    path, _, name = text.rpartition(":")
    if not path or not name:
        raise UpbenchError(f"--model-input {text}: is not FILE:FUNCTION, as inputs.py:make")
    if not Path(path).is_file():
        raise UpbenchError(f"--model-input {text}: there is no file {path}")
    spec = importlib.util.spec_from_file_location("_model_inputs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    modules.search_here()
    try:
        spec.loader.exec_module(module)
        if not callable(getattr(module, name, None)):
            raise UpbenchError(f"--model-input {text}: {path} has no function {name!r}")
        made = getattr(module, name)()
    except UpbenchError:
        raise
    except Exception as error:  # whatever the user's file raises
        raise UpbenchError(f"--model-input {text}: {first_line(error)}") from error
    if made is None:
        raise UpbenchError(f"--model-input {text}: returned nothing, but must return what the model is called with")
    if isinstance(made, Mapping):
        return (), dict(made)
    return (made if isinstance(made, tuple) else (made,)), {}


def to(value: Any, device: torch.device) -> Any:
    """Return nested inputs with every tensor on a device."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {key: to(part, device) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(to(part, device) for part in value)
    return value
