"""The C kernel for deformed points (`csrc/kernels.c`), shared out among torch's threads.

It is built when upbench is installed, where a C compiler is at hand; without it the same ops are made of torch's.
"""

from __future__ import annotations

import ctypes
import math
from typing import NamedTuple

import torch
from torch import Tensor

from upbench.ops import thresholds
from upbench.ops.cpu import compiled, threads
from upbench.ops.cpu.rows import blocked, even_pixels, laid_out, map_rows, point_rows, sliced, tap_rows
from upbench.ops.cpu.structs import ADDRESS, COUNT, REAL, struct
from upbench.ops.memory_layout import empty_map, empty_taps
from upbench.ops.registration import coordinate_dtype

INTERFACE = 16
"""Version of the C interface that this file expects. A kernel built by another upbench reports another, and is ignored."""

_kernels = compiled.load("_kernels", INTERFACE)
LANES = 16 if _kernels is None else _kernels.lanes
"""Numbers of float32 in a vector of the kernels, here: those of the C modules are the same, since they take the same vector units."""
FORMS = {torch.bfloat16: 1, torch.float16: 2}
"""Dtypes of half precision in which the kernel writes what it assembles, and its number for each."""
BFLOATS = 3
"""Its number where bfloat16 is read too."""
STREAMED = 2**22
"""Bytes of a result from which it is written past the caches: faster even where the next layer reads it at once."""
TILE, PIECE = 8, 8
"""Side of a tile of output pixels in the kernel, and tiles that a thread takes at a time."""

_SIZES = ("height", "width", "out_height", "out_width", "channels", "depth", "groups", "taps", "heads", "blocks")
_PITCHES = ("x_pitch", "x_slice", "x_step", "key_pitch", "key_step", "query_pitch")
Maps = struct(
    "Maps",
    **dict.fromkeys(("x", "keys", "query", "embedding", "out"), ADDRESS),
    **dict.fromkeys((*_SIZES, *_PITCHES), COUNT),
    factor=REAL,
    **dict.fromkeys(("border", "wide", "form", "streams", "narrow"), COUNT),
)
_Given = struct("Given", maps=Maps, **dict.fromkeys(("columns", "rows", "weights"), ADDRESS))
_Predicted = struct(
    "Predicted", maps=Maps, layers=ADDRESS, pairs=ADDRESS, kernel=COUNT, in_input_pixels=COUNT, theta=REAL, eps=REAL
)
_Moved = struct(
    "Moved",
    maps=Maps,
    **dict.fromkeys(("offsets", "guide", "projection"), ADDRESS),
    **dict.fromkeys(("offset_pitch", "scale", "spread", "guide_channels", "guide_step", "guide_pitch"), COUNT),
)


class Given:
    """Points [B, G, P, H', W', 2] that are at hand, and for an assembly without keys its weights [B, heads, P, H', W']."""

    entry = "given"

    def __init__(self, points: Tensor, weight: Tensor | None, dtype: torch.dtype) -> None:
        self.groups, self.taps, self.out_height, self.out_width = points.shape[1:5]
        self.columns, self.rows = point_rows(points.to(dtype))
        self.weights = None
        if weight is not None:
            rows = self.out_height * self.out_width * weight.shape[1]
            self.weights = tap_rows(weight, dtype).unflatten(0, (points.shape[0], rows))

    def struct(self, maps: ctypes.Structure, image: int) -> ctypes.Structure:
        """Return what the kernel takes for one image: the maps and these points."""
        columns, rows, weights = (address(t, image) for t in (self.columns, self.rows, self.weights))
        return _Given(maps=maps, columns=columns, rows=rows, weights=weights)


class Predicted(NamedTuple):
    """Points that the kernel works out itself, from a query of the size of the map. See `ops.offset_attention`."""

    out_height: int
    out_width: int
    groups: int
    taps: int
    kernel: int
    theta: float
    eps: float
    in_input_pixels: bool
    layers: Tensor
    pairs: Tensor | None = None
    """The last weights, see `layer_numbers.pairs`: keys and embedding are then bfloat16."""

    @property
    def entry(self) -> str:
        """Name of the entry of the kernel."""
        return "predicted"

    def struct(self, maps: ctypes.Structure, image: int) -> ctypes.Structure:
        """Return what the kernel takes for one image: the maps and these points."""
        return _Predicted(
            maps=maps,
            layers=self.layers.data_ptr(),
            pairs=None if self.pairs is None else self.pairs.data_ptr(),
            kernel=self.kernel,
            in_input_pixels=self.in_input_pixels,
            theta=self.theta,
            eps=self.eps,
        )


class Moved:
    """Points that are offsets from the parent of each output pixel, of a query that is a pointwise convolution.

    Args:
        offsets, scale: [B, H, W, 1 or scale^2, (x, y), G, P], and the output pixels per low-resolution pixel.
        guide, projection: [B, C, H', W'], and what `layer_numbers.layer` returns; None where queries are given.
        dtype: of what the kernel reads.
    """

    entry = "moved"

    def __init__(
        self, offsets: Tensor, scale: int, guide: Tensor | None, projection: Tensor | None, dtype: torch.dtype
    ) -> None:
        h, w, self.spread, _, self.groups, self.taps = offsets.shape[1:]
        self.scale, self.out_height, self.out_width = scale, scale * h, scale * w
        self.offsets, self.projection = map_rows(offsets.flatten(3), dtype), projection
        self.guide = None
        if guide is not None:
            self.guide = even_pixels(guide).to(dtype)

    def struct(self, maps: ctypes.Structure, image: int) -> ctypes.Structure:
        """Return what the kernel takes for one image: the maps and these points."""
        made = _Moved(
            maps=maps,
            offsets=address(self.offsets, image),
            offset_pitch=self.offsets.stride(1),
            scale=self.scale,
            spread=self.spread,
        )
        if self.guide is not None and self.projection is not None:
            made.guide, made.projection = address(self.guide, image), self.projection.data_ptr()
            made.guide_channels = self.guide.shape[1]
            made.guide_step, made.guide_pitch = self.guide.stride(1), self.guide.stride(3)
        return made


def address(tensor: Tensor | None, image: int) -> int | None:
    """Return where an image of a tensor begins in memory; None without a tensor."""
    if tensor is None:
        return None
    return tensor.data_ptr() + image * tensor.stride(0) * tensor.element_size()


def kernels() -> str:
    """Return what the fused ops over points are made of here: "c" or "torch"."""
    return "torch" if _kernels is None else "c"


def adds_products() -> bool:
    """Return whether the kernels multiply bfloat16 itself here: by the instruction that adds two products of it at once."""
    return bool(getattr(_kernels, "bfloat", False))


def has(entry: str) -> bool:
    """Return whether the kernel is there and has an entry, which one built earlier may not have."""
    return hasattr(_kernels, entry)


def can_run_native(*tensors: Tensor, entry: str = "given", half: bool = False) -> bool:
    """Return whether the kernel takes these: float32 or float64, all of one dtype.

    Args:
        tensors: what it would be given.
        entry: the entry of the kernel, which one built earlier may not have.
        half: whether it may be half precision as well, which is read as float32 and may be written.
    """
    taken = (torch.float32, torch.float64, *(FORMS if half else ()))
    return has(entry) and tensors[0].dtype in taken and len({t.dtype for t in tensors}) == 1


def attend(
    x: Tensor,
    keys: Tensor,
    query: Tensor,
    embedding: Tensor | None,
    points: Tensor,
    padding: str,
    heads: int,
    factor: float | None,
) -> Tensor:
    """Compute `attention.attend`.

    Args:
        x, keys, query: the low-resolution maps of values and keys, and the high-resolution one of queries.
        embedding: added to the keys of each point, or None.
        points, padding: positions (x, y) in low-resolution pixels, and what is read outside the map.
        heads, factor: attention heads, and the factor of the logits, None for 1.
    """
    return _run(x, keys, query, embedding, Given(points, None, coordinate_dtype(x.dtype)), padding, heads, factor)


def attend_predicted(
    x: Tensor,
    keys: Tensor,
    query: Tensor,
    embedding: Tensor | None,
    points: Predicted,
    heads: int,
    factor: float,
    dtype: torch.dtype,
) -> Tensor:
    """Compute `offset_attend` at points that the kernel predicts, as numbers of a dtype; zero outside the map.

    x and keys may lie in slices of channels, as `sliced` lays them out: [B, slices, H, W, channels of a slice], those of keys
    in as many as groups and heads divide the channels into.
    """
    return _run(x, keys, query, embedding, points, "zeros", heads, factor, dtype)


def attend_guided(x: Tensor, keys: Tensor, points: Moved, heads: int, query: Tensor | None = None) -> Tensor:
    """Compute `guided_attend` at moved points, whose guide gives the queries if none are given; zero outside the map."""
    return _run(x, keys, query, None, points, "zeros", heads, None)


def similarity(query: Tensor, keys: Tensor, points: Tensor, padding: str, heads: int) -> Tensor:
    """Compute `deform_similarity`, with its arguments."""
    return _run(None, keys, query, None, Given(points, None, coordinate_dtype(keys.dtype)), padding, heads, None)


def assemble(x: Tensor, weight: Tensor | None, points: Tensor, padding: str) -> Tensor:
    """Compute `deform_assemble`, and for no weight `sample_points` of one point."""
    heads = 1 if weight is None else weight.shape[1]
    return _run(x, None, None, None, Given(points, weight, coordinate_dtype(x.dtype)), padding, heads, None)


def value_dtype(x: Tensor, blocks: int) -> torch.dtype:
    """Return in which dtype the kernel reads values: bfloat16 where the CPU adds products of it, else at least float32.

    Args:
        x: the map of values.
        blocks: parts of the channels that are read at different points.
    """
    own = x.dtype == torch.bfloat16 and adds_products() and x.shape[1] // blocks % 32 == 0
    return x.dtype if own else coordinate_dtype(x.dtype)


def _run(
    x: Tensor | None,
    keys: Tensor | None,
    query: Tensor | None,
    embedding: Tensor | None,
    points: Given | Predicted | Moved,
    padding: str,
    heads: int,
    factor: float | None,
    stored: torch.dtype | None = None,
) -> Tensor:
    read = x if x is not None else keys
    assert read is not None
    b, (h, w), dtype = read.shape[0], read.shape[2:4], coordinate_dtype(read.dtype)
    out_h, out_w, groups, taps = points.out_height, points.out_width, points.groups, points.taps
    blocks = math.lcm(groups, heads)
    # The copy of those of moved points, which none is made of otherwise, would be memory at the peak.
    channels, depth = (0 if t is None else t.shape[1] * t.shape[4:].numel() for t in (x, keys))
    bfloats = adds_products() and all(t is not None and t.dtype == torch.bfloat16 for t in (keys, query))
    narrow = bfloats and isinstance(points, Moved) and embedding is None and depth // blocks % 32 == 0
    if keys is not None and keys.dim() == 4 and (keys.dtype != dtype or not isinstance(points, Moved)):
        keys = blocked(keys, blocks, taps, keys.dtype if narrow else dtype)
    key_rows, query_rows = (laid_out(t, torch.bfloat16 if narrow else dtype) for t in (keys, query))
    values = sliced(x, blocks, taps, value_dtype(x, blocks)) if x is not None and x.dim() == 4 else laid_out(x, dtype)
    pairs = isinstance(points, Predicted) and points.pairs is not None
    table = None if embedding is None else embedding.to(torch.bfloat16 if pairs else dtype).contiguous()
    if x is not None:
        like = read if stored in (None, read.dtype) else read.new_empty(0, dtype=stored)
        out = empty_map(like, b, channels, out_h, out_w)
        target = out.permute(0, 2, 3, 1)
    else:
        out = empty_taps(read.new_empty(0, dtype=dtype), b, heads, taps, out_h, out_w)
        target = out.permute(0, 3, 4, 1, 2)
    sizes = (h, w, out_h, out_w, channels, depth, groups, taps, heads, blocks)
    slices = (0, 1, 0) if values is None else (values.stride(2), values.shape[3], values.stride(1))
    key_pitch, query_pitch = (0 if t is None else t.stride(2) for t in (key_rows, query_rows))
    # Rows of all channels hold those of a block one after another.
    key_step = key_rows.stride(1) if key_rows is not None and key_rows.shape[1] == blocks else depth // blocks
    pitches = (*slices, key_pitch, key_step, query_pitch)
    lines = channels // blocks % 16 == 0 and target.data_ptr() % 64 == 0
    job_maps = Maps(
        **dict(zip(_SIZES, sizes, strict=True)),
        **dict(zip(_PITCHES, pitches, strict=True)),
        embedding=None if table is None else table.data_ptr(),
        factor=1.0 if factor is None else factor,
        border=padding == "border",
        wide=dtype == torch.float64,
        form=0 if values is None else BFLOATS if values.dtype == torch.bfloat16 else FORMS.get(out.dtype, 0),
        narrow=narrow,
        streams=lines and out.nbytes >= thresholds.scaled(STREAMED),
    )
    for image in range(b):
        read_from = (values, key_rows, query_rows, target)
        job_maps.x, job_maps.keys, job_maps.query, job_maps.out = (address(t, image) for t in read_from)
        run_tiles(
            points.entry, points.struct(job_maps, image), tiles(out_h, out_w), out_h * out_w * taps * (channels + depth)
        )
    return out if x is not None else out.to(read.dtype)


def tiles(height: int, width: int) -> int:
    """Return how many tiles an output has."""
    return math.ceil(height / TILE) * math.ceil(width / TILE)


def run_tiles(entry: str, job: ctypes.Structure, count: int, terms: int, piece: int = PIECE) -> None:
    """Run an entry of the kernel over all its tiles, a piece at a time, by as many threads as torch has here.

    Args:
        entry: its name.
        job: the struct that it takes.
        count: number of tiles.
        terms: as `threads.run` has them.
        piece: tiles that a thread takes at a time.
    """
    threads.run(_kernels, entry, job, count, piece, terms)
