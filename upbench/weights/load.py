"""Loading released weights into a module, whatever layout they were released in."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import IO, Any

from torch import Tensor, nn

from upbench.errors import WeightsError, first_line, no_module
from upbench.weights import choose, judge, read


def load_weights(
    module: nn.Module,
    source: str | PathLike[str] | IO[bytes] | Mapping[str, Any],
    prefix: str = "",
    key: str | None = None,
) -> nn.Module:
    """Load a checkpoint or a state dict into an upsampler that was built with the same settings.

    Every released layout is accepted: the module's own keys, those that its `adapt` translates, and either of them under
    "module.", "_orig_mod." or "model.". Nothing in a file is run; objects that are no tensors are ignored. A module that
    the weights do not fit is left unchanged.

    Args:
        module: An upsampler, or any other module.
        source: A file written by torch.save, by its path or opened with mode "rb", or a mapping in memory. Either holds a
            state dict of tensors or numpy arrays, or a checkpoint with one inside ("state_dict", "params", ...).
        prefix: Where the upsampler stands in a whole model, as "neck.upsamplers.0."; other keys are ignored.
        key: Which state dict of a checkpoint to take where it holds several, as "state_dict_ema" or "ema.params". Without
            it the one of training is preferred to an averaged one, and a warning says which was taken.

    Returns:
        The module.

    Raises:
        WeightsError: If a key is missing, unknown, of another shape, or its values would lose their meaning (integers or
            quantised values for weights, overflow, values that are not finite). The error names each such key.
    """
    if not isinstance(module, nn.Module):
        raise no_module("module", module)
    name = ""
    held: Any = source
    if isinstance(source, str | PathLike) or hasattr(source, "read"):
        held, name = read.read_checkpoint(source)  # type: ignore[arg-type]
    elif not isinstance(source, Mapping | nn.Module):
        raise WeightsError(f"weights are a path, an open file or a state dict, not {_a(source)}")
    if isinstance(held, Mapping) and not held and not module.state_dict():
        return module  # an upsampler without weights, and its state dict
    state = choose.find_state_dict(held, name, key, lambda found: _overlaps(module, found, prefix))
    if not state:
        raise WeightsError(f"{name or 'the weights given'}: is an empty dict, without any weights")
    if prefix:
        state = _inside(state, prefix)
    values, mistakes = judge.tensors(choose.unwrapped(state, module.state_dict()))
    where = f"{name}: " if name else ""
    if mistakes:
        raise WeightsError(where + "; ".join(mistakes))
    _load(module, values, where)
    return module


def _a(thing: object) -> str:
    """Return the full name of an object's class."""
    return f"{type(thing).__module__}.{type(thing).__qualname__}".removeprefix("builtins.")


def _inside(state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the keys under a prefix without it; its last dot may be missing. Raises WeightsError where there are none."""
    front = prefix if prefix.endswith(".") else f"{prefix}."
    for layout in (state, choose.unwrapped(dict(state), {})):
        if inside := {key[len(front) :]: value for key, value in layout.items() if key.startswith(front)}:
            return inside
    raise WeightsError(f"no key starts with {prefix!r}; the first keys are {', '.join(list(state)[:5])}")


def _overlaps(module: nn.Module, state: Mapping[str, Any], prefix: str) -> bool:
    """Return whether a state dict has all keys of the module, after its prefixes were removed."""
    own = module.state_dict()
    try:
        inside = _inside(state, prefix) if prefix else dict(state)
    except WeightsError:
        return False
    keys = choose.unwrapped(inside, own)
    return set(own) <= set(keys) or any(first in keys for first in list(own)[:1])


def _load(module: nn.Module, values: dict[str, Tensor], where: str) -> None:
    """Load tensors, or leave the module unchanged and raise WeightsError."""
    adapt = getattr(module, "adapt", dict)
    before = {k: v.clone() if isinstance(v, Tensor) else v for k, v in module.state_dict().items()}
    adapted: dict[str, Tensor] = values
    try:
        adapted = adapt(values)
        mistakes = judge.misfits(module, adapted)
        if not mistakes:
            module.load_state_dict(adapted)
            return
        said = "; ".join(mistakes) + _hint(module, adapted)
    except Exception as error:  # noqa: BLE001 - a user's module has hooks of its own
        said = first_line(error)
    adapt(before)
    module.load_state_dict(before)
    raise WeightsError(f"{where}the weights do not fit {type(module).__name__}: {said}")


def _hint(module: nn.Module, state: Mapping[str, Tensor]) -> str:
    """Return what to do: the prefix under which all keys fit, or to build the module with other settings; else ""."""
    own = module.state_dict()
    first = next(iter(own), None)
    for key in state:
        if first is not None and key.endswith(f".{first}"):
            prefix = key.removesuffix(first)
            if all(f"{prefix}{name}" in state for name in own):
                return f". They fit with prefix={prefix!r}"
    alike = set(own) == set(state) and all(state[k].shape == v.shape for k, v in own.items() if isinstance(v, Tensor))
    return "" if alike else ". Build the module with the settings that the weights were trained with"
