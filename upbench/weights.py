"""Loading released weights into a module, whatever layout they were released in."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

from upbench.errors import WeightsError, suggestion


def load_weights(module: nn.Module, source: str | PathLike[str] | Mapping[str, Tensor], prefix: str = "") -> nn.Module:
    """Load a path or a state dict into an upsampler built with the same settings; returns the module.

    source: a file written by torch.save (a state dict, or a checkpoint that holds one under "state_dict" or "model"),
    or a state dict. prefix: where the upsampler stands in a whole model, as "neck.upsamplers.0."; other keys are
    left aside. Every released layout is taken: the module's own keys, and those that its `adapt` translates.
    Raises WeightsError naming each key that is missing, unknown or of another shape; the module is then unchanged.
    """
    state = _read(Path(source)) if isinstance(source, str | PathLike) else dict(source)
    if prefix:
        inside = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        if not inside:
            raise WeightsError(f"no key starts with {prefix!r}; the first keys are {', '.join(list(state)[:5])}")
        state = inside
    adapt = getattr(module, "adapt", dict)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    state = adapt(state)
    if mistakes := _mistakes(module, state):
        name = type(module).__name__
        adapt(before)
        module.load_state_dict(before)
        raise WeightsError(f"the weights do not fit {name}: " + "; ".join(mistakes) + _hint(module, state))
    module.load_state_dict(state)
    return module


def _read(path: Path) -> dict[str, Tensor]:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"{path}: there is no such file") from None
    except (OSError, RuntimeError, UnpicklingError, EOFError) as error:
        raise WeightsError(
            f"{path}: cannot be read as weights written by torch.save ({str(error).splitlines()[0] if str(error) else error!r})"
        ) from None
    for key in ("state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise WeightsError(f"{path}: holds a {type(loaded).__name__}, not a state dict of tensors")
    return dict(loaded)


def _mistakes(module: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    own = module.state_dict()
    found = [f"{key} is missing" for key in own if key not in state]
    found += [f"{key} is not a key of the module{suggestion(key, own)}" for key in state if key not in own]
    found += [
        f"{key} has shape {list(state[key].shape)}, but the module's is {list(value.shape)}"
        for key, value in own.items()
        if key in state and state[key].shape != value.shape
    ]
    return found


def _hint(module: nn.Module, state: Mapping[str, Tensor]) -> str:
    """Where the keys end in the module's own, the prefix that would make them fit."""
    first = next(iter(module.state_dict()), None)
    for key in state:
        if first is not None and key.endswith(f".{first}"):
            return f". They fit with prefix={key.removesuffix(first)!r}"
    return ". Build the module with the settings that the weights were trained with"
