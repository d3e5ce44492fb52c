"""The fused forms of the ops over windows: compositions of the ops of `fused`, under the names of the plain ones."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from upbench.ops.cpu import sample_windows
from upbench.ops.dispatch import autocasted
from upbench.ops.fused import deform_assemble_fused, window_assemble_fused, window_similarity_fused
from upbench.ops.points import sample_window_positions
from upbench.ops.registration import numel, register


def window_assemble(
    x: Float[Tensor, "B C H W"], weight: Float[Tensor, "B G T oH oW"], kernel: int, scale: int
) -> Float[Tensor, "B C oH oW"]:
    """Compute `ops.window_assemble`, whose scale the sizes of x and weight say already.

    Args:
        x: the low-resolution map.
        weight: for each of G groups of channels, the weights of the T = kernel^2 taps; G divides C.
        kernel: side of the window in low-resolution pixels, odd.
        scale: output pixels per low-resolution pixel.
    """
    return window_assemble_fused(*autocasted(x, weight), kernel)


def window_similarity(
    query: Float[Tensor, "B d oH oW"], keys: Float[Tensor, "B d H W"], kernel: int, scale: int
) -> Float[Tensor, "B T oH oW"]:
    """Compute `ops.window_similarity`, whose scale the sizes of query and keys say already.

    Args:
        query: the high-resolution map of queries.
        keys: the low-resolution map of keys.
        kernel: side of the window in low-resolution pixels, odd.
        scale: output pixels per low-resolution pixel.
    """
    return window_similarity_fused(*autocasted(query, keys), kernel, 1).squeeze(1)


@register(
    "nearby_similarity_fused(Tensor query, Tensor keys, int kernel, int heads) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: args[0] ** 2 * numel(shapes[0]),
    shares={"nearby_similarity": 1},
)
def window_head_similarity(
    query: Float[Tensor, "B C oH oW"], keys: Float[Tensor, "B C H W"], kernel: int, heads: int
) -> Float[Tensor, "B {heads} T oH oW"]:
    """Compute `ops.window_head_similarity`; registered, so that its MACs are counted under the name of the plain op.

    Args:
        query: the high-resolution map of queries.
        keys: the low-resolution map of keys.
        kernel: side of the window in low-resolution pixels, odd.
        heads: parts of the channels that are compared each for itself; divides C.
    """
    return window_similarity_fused(query, keys, kernel, heads)


@register(
    "nearby_assemble_fused(Tensor x, Tensor weight, int kernel) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: args[0] ** 2 * numel(shapes[-1]),
    shares={"nearby_assemble": 1},
)
def window_assemble_any(
    x: Float[Tensor, "B C H W"], weight: Float[Tensor, "B heads T oH oW"], kernel: int
) -> Float[Tensor, "B C oH oW"]:
    """Compute `ops.window_assemble` at any ratio; registered, so that its MACs are counted under the plain op's name.

    Args:
        x: the low-resolution map.
        weight: for each of the heads, groups of channels, the weights of the T = kernel^2 taps; their number divides C.
        kernel: side of the window in low-resolution pixels, odd.
    """
    return window_assemble_fused(x, weight, kernel)


@register(
    "neighbour_assemble_fused(Tensor x, Tensor weight, int kernel) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: 5 * args[0] ** 2 * numel(shapes[-1]),
    shares={"neighbour_assemble": 1},
)
def sample_window_assemble(
    x: Float[Tensor, "B C H W"], weight: Float[Tensor, "B T oH oW"], kernel: int
) -> Float[Tensor, "B C oH oW"]:
    """Compute `ops.sample_window_assemble` as one sum over points, or where a kernel does so over the pixels between them.

    Args:
        x: the low-resolution map.
        weight: the weights of the T = kernel^2 taps, shared by the channels.
        kernel: side of the window in low-resolution pixels, odd.
    """
    aligned, taps = sample_window_positions(x, weight.shape[2], weight.shape[3], kernel)
    weight = weight.to(aligned.dtype)
    if sample_windows.can_run(x, weight):
        return sample_windows.sample_windows_fused(x, weight, kernel)
    source = x.to(aligned.dtype)
    points = (aligned + taps[:, None, None]).expand(x.shape[0], 1, -1, -1, -1, -1)
    return deform_assemble_fused(source, weight.unsqueeze(1), points, "border").to(x.dtype)


@register(
    "mirrored_similarity_fused(Tensor keys, int kernel) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: args[0] ** 2 * numel(shapes[0]),
    shares={"mirrored_similarity": 1},
)
def _mirrored_similarity(keys: Tensor, kernel: int) -> Tensor:
    return window_similarity_fused(keys, keys, kernel, 1, True).squeeze(1)


def mirrored_similarity(keys: Float[Tensor, "B D H W"], kernel: int) -> Float[Tensor, "B K H W"]:
    """Compute `ops.mirrored_similarity`.

    Args:
        keys: the map of keys, each side larger than kernel // 2.
        kernel: side of the window in pixels, odd.
    """
    return _mirrored_similarity(*autocasted(keys), kernel)


@register(
    "mirrored_assemble_fused(Tensor x, Tensor weight, int kernel) -> Tensor",
    kind="gather",
    macs=lambda shapes, args: args[0] ** 2 * numel(shapes[-1]),
    shares={"mirrored_assemble": 1},
)
def _mirrored_assemble(x: Tensor, weight: Tensor, kernel: int) -> Tensor:
    return window_assemble_fused(x, weight.unsqueeze(1), kernel, True)


def mirrored_assemble(
    x: Float[Tensor, "B C H W"], weight: Float[Tensor, "B K sH sW"], kernel: int, scale: int
) -> Float[Tensor, "B C sH sW"]:
    """Compute `ops.mirrored_assemble`, whose scale the sizes of x and weight say already.

    Args:
        x: the low-resolution map, each side larger than kernel // 2.
        weight: the weights of the K = kernel^2 taps.
        kernel: side of the window in low-resolution pixels, odd.
        scale: output pixels per low-resolution pixel.
    """
    return _mirrored_assemble(*autocasted(x, weight), kernel)
