"""Select, weigh, assemble: the three steps every upsampler is made of, as pure functions of tensors.

- select:   `lattice` and `parents` name low-resolution positions, `sample_points` reads the map there
            `read_windows` copies whole windows
- weigh:    `point_similarity` and `window_similarity` compare a query with keys, `affinity_logits` two maps
- assemble: `window_assemble`, `point_assemble` and `sample_window_assemble` sum with the weights, `modulate` scales,
            `gate_fuse` mixes the guide in
- resize:   `interpolate` for features, `resize_map` for auxiliary maps (queries, keys)
- methods:  `offset_attention`, `guided_attention`, `sample_moved`, `kernel_affinity`, `reassemble` and `attend_window` are whole
            methods or steps made of these

Each has its eager form, which is the truth. A backend (`dispatch`, `upbench.backends`) may compute it faster.
"""

from upbench.backends import MODULES
from upbench.ops.affinity import affinity_logits, kernel_affinity
from upbench.ops.attention import attention_assemble, attention_weights, averaged_attention, discard
from upbench.ops.bordered import mirrored_assemble, mirrored_similarity
from upbench.ops.box import box_mean, guided_filter
from upbench.ops.cell_attention import kernel_macs
from upbench.ops.cpu.native import kernels
from upbench.ops.cpu.products import in_dtype, slow_layers
from upbench.ops.deformable import (
    add_position,
    deform_assemble,
    deform_similarity,
    guided_attention,
    offset_attention,
)
from upbench.ops.differences import paired_difference
from upbench.ops.dilated import dilated_attention
from upbench.ops.dispatch import Backend, load, plain_in_pieces, recorded, select_backend
from upbench.ops.flop_formulas import register_formulas
from upbench.ops.gating import gate_fuse, modulate
from upbench.ops.layers import conv1x1, convolution, convolve, normed_conv1x1, softmax_over_taps
from upbench.ops.moved_samples import sample_moved, sample_moves, sub_pixel_centres
from upbench.ops.offsets import child_points, points_around
from upbench.ops.points import (
    lattice,
    parents,
    point_assemble,
    point_similarity,
    sample_points,
    sample_window_assemble,
)
from upbench.ops.reassembly import attend_window, reassemble
from upbench.ops.registration import OPS, Op, coordinate_dtype, exporting, tracing, whole_ops
from upbench.ops.resize import interpolate, output_size, pool_map, resize_map
from upbench.ops.unpool import max_unpool
from upbench.ops.window import (
    read_windows,
    window_assemble,
    window_head_similarity,
    window_similarity,
)

for _name in MODULES:
    load(_name)  # now, and not while torch.compile looks
register_formulas(OPS, {"upbench::cell_attention_fused": kernel_macs})

__all__ = [
    "Backend",
    "OPS",
    "Op",
    "add_position",
    "affinity_logits",
    "box_mean",
    "child_points",
    "conv1x1",
    "convolution",
    "convolve",
    "coordinate_dtype",
    "attend_window",
    "attention_assemble",
    "attention_weights",
    "averaged_attention",
    "deform_assemble",
    "deform_similarity",
    "dilated_attention",
    "discard",
    "exporting",
    "gate_fuse",
    "guided_attention",
    "guided_filter",
    "in_dtype",
    "interpolate",
    "kernel_affinity",
    "kernels",
    "lattice",
    "load",
    "max_unpool",
    "mirrored_assemble",
    "mirrored_similarity",
    "modulate",
    "normed_conv1x1",
    "offset_attention",
    "output_size",
    "paired_difference",
    "parents",
    "point_assemble",
    "point_similarity",
    "points_around",
    "pool_map",
    "read_windows",
    "reassemble",
    "plain_in_pieces",
    "recorded",
    "resize_map",
    "sample_moved",
    "sample_moves",
    "sample_points",
    "sample_window_assemble",
    "select_backend",
    "slow_layers",
    "softmax_over_taps",
    "sub_pixel_centres",
    "tracing",
    "whole_ops",
    "window_assemble",
    "window_head_similarity",
    "window_similarity",
]
