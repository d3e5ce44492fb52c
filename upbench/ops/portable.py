"""Forms of ops for files that another runtime runs: the same values, made of operators that runtimes compute fast and right.

A window is one gather of rows of channels, and its sum one product of matrices a pixel: onnxruntime and OpenVINO do that 2 to
6 times faster than an unfold and an einsum, of which OpenVINO 2026.4.1 returns wrong values where the einsum has a
dimension of groups and sizes are dynamic. Points are read by four gathers of whole rows where GridSample is
slow (onnxruntime 1.32: 2.9 to 3.8 times), and by grid_sample elsewhere. Nearest interpolation computes the index as torch does:
runtimes choose other pixels at some sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from upbench.ops.local_similarity import EPS
from upbench.ops.registration import coordinate_dtype, replaced_forms

SAMPLING = ("gathers", "gridsample")
"""Ways to read points bilinearly in a file."""


@contextmanager
def portable(sampling: str = "gathers") -> Iterator[None]:
    """Let programs that are exported inside hold the forms of this module.

    Args:
        sampling: how points are read, one of `SAMPLING`.
    """
    with replaced_forms(FORMS if sampling == "gathers" else WITHOUT_GATHERS):
        yield


def taps_last(
    x: Float[Tensor, "B C H W"],
    kernel: int,
    *,
    dilation: int = 1,
    stride: int = 1,
    mirrored: bool = False,
) -> Float[Tensor, "B oH oW T C"]:
    """Read the window around every pixel.

    Rows of channels are gathered, and not single values: of these OpenVINO 2026.4.1 returns wrong ones beyond 2^24, without
    an error, where sizes are dynamic, as they are in torch's own form of an unfold.

    Args:
        x: the map.
        kernel: side of the window in taps, odd.
        dilation: pixels between taps.
        stride: pixels between windows; a window is read around every such pixel.
        mirrored: whether the map goes on mirrored at its border; it is zero there otherwise.

    Returns:
        The T = kernel^2 taps of every window, channels last.
    """
    b, c, h, w = x.shape
    reach = (kernel - 1) // 2 * dilation
    wide = w + 2 * reach
    padded = F.pad(x, (reach,) * 4, mode="reflect" if mirrored else "constant")
    rows = padded.permute(0, 2, 3, 1).reshape(b, (h + 2 * reach) * wide, c)
    step = torch.arange(kernel, device=x.device) * dilation
    # The window of an even kernel ends inside of the map.
    out_h, out_w = ((n + 2 * reach - dilation * (kernel - 1) - 1) // stride + 1 for n in (h, w))
    row = (torch.arange(out_h, device=x.device).view(out_h, 1) * stride + step) * wide
    column = torch.arange(out_w, device=x.device).view(out_w, 1) * stride + step
    index = row.view(out_h, 1, kernel, 1) + column.view(1, out_w, 1, kernel)
    return rows.index_select(1, index.reshape(-1)).view(b, out_h, out_w, kernel * kernel, c)


def window_assemble(
    x: Float[Tensor, "B C H W"], weight: Float[Tensor, "B G T sH sW"], kernel: int, scale: int, mirrored: bool = False
) -> Float[Tensor, "B C sH sW"]:
    """Compute `upbench.ops.window_assemble` at a whole scale.

    Args:
        x: the low-resolution map.
        weight: for each of G groups of channels, the weights of the T = kernel^2 taps; G divides C.
        kernel: side of the window in low-resolution pixels, odd.
        scale: output pixels per low-resolution pixel.
        mirrored: whether the map goes on mirrored at its border; it is zero there otherwise.
    """
    b, c, h, w = x.shape
    groups = weight.shape[1]
    taps = taps_last(x, kernel, mirrored=mirrored)
    if groups == 1:
        rows = weight.reshape(b, kernel * kernel, h, scale, w, scale).permute(0, 2, 4, 3, 5, 1)
        out = rows.reshape(b, h, w, scale * scale, kernel * kernel) @ taps
        return out.view(b, h, w, scale, scale, c).permute(0, 5, 1, 3, 2, 4).reshape(b, c, h * scale, w * scale)
    rows = weight.reshape(b, groups, kernel * kernel, h, scale, w, scale).permute(0, 3, 5, 1, 4, 6, 2)
    taps = taps.view(b, h, w, kernel * kernel, groups, c // groups).transpose(3, 4)
    out = rows.reshape(b, h, w, groups, scale * scale, kernel * kernel) @ taps
    out = out.view(b, h, w, groups, scale, scale, c // groups).permute(0, 3, 6, 1, 4, 2, 5)
    return out.reshape(b, c, h * scale, w * scale)


def window_similarity(
    query: Float[Tensor, "B d sH sW"], keys: Float[Tensor, "B d H W"], kernel: int, scale: int
) -> Float[Tensor, "B T sH sW"]:
    """Compute `upbench.ops.window_similarity`.

    Args:
        query: the high-resolution map of queries.
        keys: the low-resolution map of keys.
        kernel: side of the window in low-resolution pixels, odd.
        scale: output pixels per low-resolution pixel.
    """
    b, d, h, w = keys.shape
    taps = taps_last(keys, kernel)
    rows = query.reshape(b, d, h, scale, w, scale).permute(0, 2, 4, 3, 5, 1).reshape(b, h, w, scale * scale, d)
    logits = (rows @ taps.transpose(3, 4)).view(b, h, w, scale, scale, kernel * kernel)
    return logits.permute(0, 5, 1, 3, 2, 4).reshape(b, kernel * kernel, h * scale, w * scale)


def mirrored_similarity(keys: Float[Tensor, "B D H W"], kernel: int) -> Float[Tensor, "B T H W"]:
    """Compute `upbench.ops.mirrored_similarity`.

    Args:
        keys: the map.
        kernel: side of the window in pixels, odd.
    """
    taps = taps_last(keys, kernel, mirrored=True)
    return (taps @ keys.permute(0, 2, 3, 1).unsqueeze(4)).squeeze(4).permute(0, 3, 1, 2)


def mirrored_assemble(
    x: Float[Tensor, "B C H W"], weight: Float[Tensor, "B T sH sW"], kernel: int, scale: int
) -> Float[Tensor, "B C sH sW"]:
    """Compute `upbench.ops.mirrored_assemble`.

    Args:
        x: the low-resolution map.
        weight: the weights of the T = kernel^2 taps.
        kernel: side of the window in low-resolution pixels, odd.
        scale: output pixels per low-resolution pixel.
    """
    return window_assemble(x, weight.unsqueeze(1), kernel, scale, mirrored=True)


def local_similarity(x: Float[Tensor, "B C H W"], kernel: int, dilation: int) -> Float[Tensor, "B T H W"]:
    """Compute `upbench.ops.local_similarity`.

    Args:
        x: the map.
        kernel: side of the window in taps, odd.
        dilation: steps between taps, in pixels.
    """
    unit = F.normalize(x, dim=1, eps=EPS)
    products = (taps_last(unit, kernel, dilation=dilation) @ unit.permute(0, 2, 3, 1).unsqueeze(4)).squeeze(4)
    centre = kernel * kernel // 2
    return torch.cat((products[..., :centre], products[..., centre + 1 :]), 3).permute(0, 3, 1, 2)


def read_windows(
    x: Float[Tensor, "B C H W"], kernel: int, out_height: int, out_width: int
) -> Float[Tensor, "B C T {out_height} {out_width}"]:
    """Compute `upbench.ops.read_windows`.

    Args:
        x: the low-resolution map.
        kernel: side of the window in low-resolution pixels, odd.
        out_height: rows of the output.
        out_width: columns of the output.
    """
    b, c = x.shape[:2]
    taps = taps_last(x, kernel).flatten(3).permute(0, 3, 1, 2)
    read = nearest(taps, out_height, out_width)
    return read.view(b, kernel * kernel, c, out_height, out_width).transpose(1, 2)


def nearest(
    x: Float[Tensor, "B C H W"], out_height: int, out_width: int
) -> Float[Tensor, "B C {out_height} {out_width}"]:
    """Copy the pixel that torch's nearest interpolation copies, floor(i * float32(H / out_height)) for row i.

    Args:
        x: the map.
        out_height: rows of the output.
        out_width: columns of the output.
    """
    b, c, h, w = x.shape
    rows, columns = _whole_ratio(out_height, h), _whole_ratio(out_width, w)
    if rows and columns:
        copies = x.view(b, c, h, 1, w, 1).expand(-1, -1, -1, rows, -1, columns)
        return copies.reshape(b, c, h * rows, w * columns)
    return x.index_select(2, _source(h, out_height, x)).index_select(3, _source(w, out_width, x))


def _whole_ratio(outputs: int, inputs: int) -> int:
    """outputs / inputs where that is known to be a whole number, whatever the sizes; else 0."""
    from torch.fx.experimental.symbolic_shapes import statically_known_true  # imports sympy

    for ratio in range(1, 17):
        if statically_known_true(outputs == ratio * inputs):
            return ratio
    return 0


def _source(inputs: int, outputs: int, like: Tensor) -> Tensor:
    """The pixel of `inputs` that each of `outputs` copies."""
    whole = torch.ones((), dtype=torch.float32, device=like.device)
    step = (whole * inputs) / (whole * outputs)
    index = (torch.arange(outputs, dtype=torch.float32, device=like.device) * step).floor().long()
    return index.clamp(max=inputs - 1)


def interpolate(
    x: Float[Tensor, "B C H W"], out_height: int, out_width: int, mode: str
) -> Float[Tensor, "B C {out_height} {out_width}"]:
    """Compute `upbench.ops.interpolate`.

    Args:
        x: the map.
        out_height: rows of the output.
        out_width: columns of the output.
        mode: nearest, bilinear or bicubic.
    """
    if mode == "nearest":
        return nearest(x, out_height, out_width)
    return F.interpolate(x, size=(out_height, out_width), mode=mode, align_corners=False)


def sample_points(
    x: Float[Tensor, "B C H W"], points: Float[Tensor, "B G P oH oW 2"], padding: str
) -> Float[Tensor, "B C P oH oW"]:
    """Compute `upbench.ops.sample_points` by four gathers of rows of C / G values.

    Args:
        x: the low-resolution map.
        points: P positions (x, y) for each of G groups of channels, in low-resolution pixels; G divides C.
        padding: "zeros" (the map is zero outside) or "border" (positions are clamped onto the map).
    """
    b, c, h, w = x.shape
    groups, count, out_h, out_w = points.shape[1:5]
    maps, channels = b * groups, c // groups
    dtype = coordinate_dtype(x.dtype)
    rows = x.reshape(maps, channels, h * w).transpose(1, 2).reshape(maps * h * w, channels).to(dtype)
    column, row = points.to(dtype).reshape(maps, count * out_h * out_w, 2).unbind(-1)
    if padding == "border":
        column, row = column.clamp(0, w - 1), row.clamp(0, h - 1)
    left, top = column.floor(), row.floor()
    right_share, bottom_share = column - left, row - top
    first = (torch.arange(maps, device=x.device) * (h * w)).unsqueeze(1)
    out = torch.zeros((), dtype=dtype, device=x.device)
    for down in (0, 1):
        for across in (0, 1):
            i, j = top + down, left + across
            share = (bottom_share if down else 1 - bottom_share) * (right_share if across else 1 - right_share)
            inside_i, inside_j = i.clamp(0, h - 1), j.clamp(0, w - 1)
            if padding == "zeros":
                share = share * ((i == inside_i) & (j == inside_j)).to(dtype)
            index = first + inside_i.long() * w + inside_j.long()
            out = out + rows.index_select(0, index.reshape(-1)) * share.reshape(-1, 1)
    out = out.view(maps, count, out_h, out_w, channels).permute(0, 4, 1, 2, 3)
    return out.reshape(b, c, count, out_h, out_w).to(x.dtype)


WITHOUT_GATHERS: Mapping[str, Callable[..., Any]] = {
    "window_assemble": window_assemble,
    "window_similarity": window_similarity,
    "mirrored_similarity": mirrored_similarity,
    "mirrored_assemble": mirrored_assemble,
    "local_similarity": local_similarity,
    "read_windows": read_windows,
    "interpolate": interpolate,
}
"""Name of a registered op -> its form."""
FORMS: Mapping[str, Callable[..., Any]] = {**WITHOUT_GATHERS, "sample_points": sample_points}
"""The same, with points read by gathers."""
