"""Layers of a large map in place, some rows at a time: what is held is the map, and a few rows of what lies between layers.

A map of 128 channels and 2048x2048 pixels has 2 GiB, and a chain of layers called one after another holds several of them. Here
each layer reads a band of rows and writes over it. A group norm needs the whole map before its first value: what it norms is
computed twice, once for its mean and variance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upbench.ops import thresholds
from upbench.ops.memory_layout import empty_map
from upbench.ops.registration import coordinate_dtype, exporting, tracing

LARGE = 2**29
"""Bytes of a map from which memory is worth more than the time of what is computed twice."""
BYTES = 2**23
"""Bytes of a band."""
Step = Callable[[Tensor], Tensor]
"""A layer, or several, whose output pixels depend on the same pixels of what they are given."""


def in_bands(module: nn.Module, backend: str, values: int, *maps: Tensor) -> bool:
    """Say whether a module computes in bands: where maps are large, nobody asked for the eager form, and nothing is recorded.

    Neither gradients, nor a program, nor what hooks of layers see.

    Args:
        module: the module.
        backend: its backend.
        values: values of the largest map that lies between its layers.
        maps: what it is called with.
    """
    if backend == "eager" or torch.compiler.is_compiling() or tracing() or exporting():
        return False
    if torch.is_grad_enabled() and any(t.requires_grad for t in (*maps, *module.parameters())):
        return False
    if values * maps[0].element_size() < thresholds.scaled(LARGE):
        return False
    return not any(
        layer._forward_hooks or layer._forward_pre_hooks for layer in module.modules() if layer is not module
    )


def bands(height: int, row_bytes: int, most: int | None = None) -> Iterator[slice]:
    """Go through the bands of a map.

    Args:
        height: rows of the map.
        row_bytes: bytes of a row of all channels.
        most: bytes of a band; None for `BYTES`.
    """
    step = max((thresholds.scaled(BYTES) if most is None else most) // row_bytes, 1)
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))


def _parts(held: Float[Tensor, "1 C H W"]) -> Iterator[Tensor]:
    for rows in bands(held.shape[2], held[:, :, 0].nbytes):
        yield held[:, :, rows]


def write_(held: Float[Tensor, "1 C H W"], step: Step) -> None:
    """Write over a map what a step makes of it.

    Args:
        held: the map.
        step: the step, which keeps the number of channels.
    """
    write_rows_(held, lambda part, rows: step(part))


def write_rows_(held: Float[Tensor, "1 C H W"], step: Callable[[Tensor, slice], Tensor]) -> None:
    """Write over a map what a step makes of it that depends on where the rows lie.

    Args:
        held: the map.
        step: makes of a band and of its rows another band.
    """
    for rows in bands(held.shape[2], held[:, :, 0].nbytes):
        part = held[:, :, rows]
        part.copy_(step(part.contiguous(), rows))


def normed(norm: Any, held: Float[Tensor, "1 C H W"], step: Step | None = None) -> Step:
    """Prepare a group norm of what a step makes of a map.

    Args:
        norm: the group norm, with its weights.
        held: the map.
        step: the step, or None for the map itself.

    Returns:
        The norm as a step of what `step` returns, with mean and variance of the whole.
    """
    count, groups = 0, norm.num_groups
    mean = torch.zeros(groups, dtype=torch.float64, device=held.device)
    squares = torch.zeros_like(mean)
    for part in _parts(held):
        made = part.contiguous() if step is None else step(part.contiguous())
        values = made.to(coordinate_dtype(made.dtype)).reshape(groups, -1)
        spread, middle = (t.double() for t in torch.var_mean(values, 1, correction=0))
        # Of two parts: what each varies, and how far their means are apart.
        more, apart = values.shape[1], middle - mean
        squares += spread * more + apart.square() * (count * more / (count + more))
        mean += apart * (more / (count + more))
        count += more
    factor = (squares / count + norm.eps).rsqrt().repeat_interleave(norm.num_channels // groups)
    scale = norm.weight.double() * factor
    shift = norm.bias.double() - mean.repeat_interleave(norm.num_channels // groups) * scale

    def apply(part: Tensor) -> Tensor:
        wide = coordinate_dtype(part.dtype)
        columns = (t.to(wide).view(1, -1, 1, 1) for t in (scale, shift))
        factor, offset = columns
        return torch.addcmul(offset, part.to(wide), factor).to(part.dtype)

    return apply


def convolve_(held: Float[Tensor, "1 C H W"], weight: Float[Tensor, "C C k k"], after: Step) -> None:
    """Write over a map what a convolution with a border of zeros makes of it.

    Args:
        held: the map.
        weight: of the convolution, whose kernel has an odd side.
        after: a step of what it returns.
    """
    reach, (height, width) = weight.shape[2] // 2, held.shape[2:]
    above = held.new_zeros((1, held.shape[1], reach, width))
    start = 0
    for part in _parts(held):
        stop = start + part.shape[2]
        below = held[:, :, stop : stop + reach]
        missing = reach - (min(stop + reach, height) - stop)
        given = F.pad(torch.cat((above, part, below), 2), (reach, reach, 0, missing))
        # The last rows as they were, for the next band.
        above = given[:, :, given.shape[2] - 2 * reach : given.shape[2] - reach, reach : reach + width].clone()
        part.copy_(after(F.conv2d(given, weight)))
        start = stop


def stacked(call: Callable[..., Tensor], *maps: Tensor) -> Tensor:
    """Call a function with one image of every map at a time, and stack what it returns without holding that twice.

    Args:
        call: takes and returns maps of one image.
        maps: the maps, of at least one image each.
    """
    count = maps[0].shape[0]
    first = call(*(t[:1] for t in maps))
    if count == 1:
        return first
    out = empty_map(first, count, *first.shape[1:])
    out[:1] = first
    del first
    for n in range(1, count):
        out[n : n + 1] = call(*(t[n : n + 1] for t in maps))
    return out
