"""Whether values can be loaded into a module without losing their meaning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy
import torch
from torch import Tensor, nn

from upbench.errors import suggestion
from upbench.weights.read import Unknown


def tensors(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], list[str]]:
    """Convert the values of a state dict to tensors.

    Args:
        state: Keys to tensors, numpy arrays or anything else.

    Returns:
        The tensors by key, and a sentence for each value that cannot be one.
    """
    converted: dict[str, Tensor] = {}
    mistakes: list[str] = []
    for key, value in state.items():
        if isinstance(value, Tensor):
            converted[key] = value.detach()
            continue
        if not isinstance(value, numpy.ndarray | numpy.generic):
            kind = value.origin if isinstance(value, Unknown) else type(value).__name__
            mistakes.append(f"{key} is a {kind}, not a tensor; leave it out")
            continue
        try:
            array = numpy.asarray(value)
            converted[key] = torch.from_numpy(numpy.array(array, dtype=array.dtype.newbyteorder("=")))
        except TypeError:
            mistakes.append(f"{key} is an array of {numpy.asarray(value).dtype}, which torch has no tensor of")
    return converted, mistakes


def misfits(module: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    """List every key that is missing, unknown, of another shape, or of values that the module cannot hold.

    Args:
        module: The module that the weights are for.
        state: The weights, with the keys of the module.

    Returns:
        A sentence for each such key.
    """
    own = module.state_dict()
    weights = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    sentences = [f"{key} is missing" for key in own if key not in state]
    sentences += [f"{key} is not a key of the module{suggestion(key, own)}" for key in state if key not in own]
    for key, value in own.items():
        if key not in state or not isinstance(value, Tensor):  # a module may keep other state
            continue
        given = state[key]
        if given.shape != value.shape:
            sentences.append(f"{key} has shape {list(given.shape)}, but the module's is {list(value.shape)}")
        else:
            sentences += _value_mistakes(key, given, value, key in weights)
    return sentences


def _value_mistakes(key: str, given: Tensor, own: Tensor, is_weight: bool) -> Iterator[str]:
    """Yield a sentence for each reason why the values of one key would not be the same in the module."""
    if given.device.type == "meta":
        yield f"{key} is on the meta device and has no values"
    elif given.layout != torch.strided:
        yield f"{key} is sparse ({_name(given.layout)}); give value.to_dense()"
    elif given.is_quantized:
        yield f"{key} is quantised ({_name(given.dtype)}); give value.dequantize()"
    elif kind := _another_kind(given, own):
        yield f"{key} has values of {_name(given.dtype)}, but the module's are {_name(own.dtype)}: {kind}"
    elif given.is_floating_point() or given.is_complex():
        yield from _lost(key, given, own, is_weight)
    elif given.numel() and own.dtype != torch.bool and not own.is_floating_point():
        limits = torch.iinfo(own.dtype)
        if int(given.min()) < limits.min or int(given.max()) > limits.max:
            yield f"{key} has values that {_name(own.dtype)} cannot hold (up to {int(given.max())})"


def _another_kind(given: Tensor, own: Tensor) -> str | None:
    """Return why numbers of one kind cannot stand for those of another; None when they are of the same kind."""
    if given.dtype.itemsize == 1 and given.is_floating_point() and given.dtype != own.dtype:
        return "they belong to a scale that is kept elsewhere; give them multiplied by it"
    kinds = [_kind(given.dtype), _kind(own.dtype)]
    if kinds[0] == kinds[1] or kinds == ["floating-point", "complex"]:
        return None
    if kinds == ["floating-point", "integer"] and bool((given == given.round()).all()):
        return None  # a counter that was averaged with the weights
    if kinds[0] == "integer" and kinds[1] == "floating-point":
        return "they look quantised, and without their scale they are other weights; give dequantised ones"
    return f"{kinds[0]} values are not {kinds[1]} ones"


def _kind(dtype: torch.dtype) -> str:
    """Return "complex", "floating-point", "boolean" or "integer"."""
    if dtype.is_complex:
        return "complex"
    if dtype.is_floating_point:
        return "floating-point"
    return "boolean" if dtype == torch.bool else "integer"


def _lost(key: str, given: Tensor, own: Tensor, is_weight: bool) -> Iterator[str]:
    """Yield what a cast to the module's dtype would lose, and weights that are not finite in the first place."""
    given = given.float() if given.dtype.itemsize == 1 else given  # few operators know 8-bit floats
    finite = torch.isfinite(given)
    if is_weight and not bool(finite.all()):
        n = int((~finite).sum())
        yield f"{key} has {n} value{'s' if n > 1 else ''} that {'are' if n > 1 else 'is'} not finite (NaN or infinity)"
    if given.dtype == own.dtype or own.dtype.itemsize == 1 or not own.is_floating_point():
        return
    cast = given.to(own.dtype)
    if not bool(torch.isfinite(cast[finite]).all()):
        largest = float(given[finite].abs().max())
        yield f"{key} has values up to {largest:.3g}, beyond what {_name(own.dtype)} can hold; load into a float32 module"
    lost = (cast == 0) & (given != 0)
    if given.numel() and bool(lost.any()) and int(lost.sum()) == int((given != 0).sum()):
        yield f"{key} has only values that {_name(own.dtype)} rounds to 0; load into a float32 module"


def _name(thing: object) -> str:
    return str(thing).removeprefix("torch.")
