"""Select, weigh, assemble: the three steps every upsampler is made of, as pure functions of tensors.

- select:   `lattice` and `parents` name low-resolution positions, `sample_points` reads the map there
            `read_windows` copies whole windows
- weigh:    `point_similarity` and `window_similarity` compare a query with keys, `affinity_logits` two maps
- assemble: `window_assemble`, `point_assemble` and `neighbour_assemble` sum with the weights, `modulate` scales,
            `gate_fuse` mixes the guide in
- resize:   `interpolate` for features, `resize_map` for auxiliary maps (queries, keys)
"""

from upbench.ops._why_not import resolve, why_not
from upbench.ops.affinity import affinity_logits
from upbench.ops.box import box_mean
from upbench.ops.cpu import points as _points  # noqa: F401 # registers its kernels
from upbench.ops.cpu import windows as _windows  # noqa: F401 # registers its kernels
from upbench.ops.cpu.native import kernels
from upbench.ops.deformable import (
    add_position,
    attends,
    deform_assemble,
    deform_similarity,
    guided_attend,
    offset_attend,
)
from upbench.ops.dispatch import BACKENDS, choose, recorded
from upbench.ops.gating import gate_fuse, gate_fuse_
from upbench.ops.modulate import modulate
from upbench.ops.nearby import nearby_assemble, nearby_similarity
from upbench.ops.neighbours import neighbour_assemble
from upbench.ops.offsets import moved_points, predicted_points
from upbench.ops.points import lattice, parents, point_assemble, point_similarity, sample_points
from upbench.ops.registration import OPS, Op, coordinate_dtype, exporting, tracing, whole_ops
from upbench.ops.resize import interpolate, output_size, pool_map, resize_map
from upbench.ops.similarity import read_windows, window_similarity
from upbench.ops.taps import rows_last, softmax_taps
from upbench.ops.window import window_assemble

__all__ = [
    "BACKENDS",
    "kernels",
    "OPS",
    "Op",
    "add_position",
    "affinity_logits",
    "box_mean",
    "choose",
    "coordinate_dtype",
    "attends",
    "deform_assemble",
    "deform_similarity",
    "exporting",
    "gate_fuse",
    "gate_fuse_",
    "guided_attend",
    "interpolate",
    "lattice",
    "modulate",
    "moved_points",
    "nearby_assemble",
    "nearby_similarity",
    "neighbour_assemble",
    "offset_attend",
    "output_size",
    "parents",
    "point_assemble",
    "point_similarity",
    "pool_map",
    "predicted_points",
    "read_windows",
    "recorded",
    "resize_map",
    "resolve",
    "rows_last",
    "sample_points",
    "softmax_taps",
    "tracing",
    "whole_ops",
    "why_not",
    "window_assemble",
    "window_similarity",
]
