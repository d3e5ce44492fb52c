"""Select, weigh, assemble: the three steps every upsampler is made of, as pure functions of tensors.

- select:   `lattice` and `parents` name low-resolution positions, `sample_points` reads the map there
            `read_windows` copies whole windows
- weigh:    `point_similarity` and `window_similarity` compare a query with keys, `affinity_logits` two maps
- assemble: `window_assemble`, `point_assemble` and `neighbour_assemble` sum with the weights, `modulate` scales,
            `gate_fuse` mixes the guide in
- resize:   `interpolate` for features, `resize_map` for auxiliary maps (queries, keys)
"""

from upbench.ops._library import OPS, Op, coordinate_dtype
from upbench.ops.affinity import affinity_logits
from upbench.ops.box import box_mean
from upbench.ops.gate import gate_fuse
from upbench.ops.modulate import modulate
from upbench.ops.neighbours import neighbour_assemble
from upbench.ops.points import lattice, parents, point_assemble, point_similarity, sample_points
from upbench.ops.resize import interpolate, output_size, resize_map
from upbench.ops.similarity import read_windows, window_similarity
from upbench.ops.window import window_assemble

__all__ = [
    "OPS",
    "Op",
    "affinity_logits",
    "box_mean",
    "coordinate_dtype",
    "gate_fuse",
    "interpolate",
    "lattice",
    "modulate",
    "neighbour_assemble",
    "output_size",
    "parents",
    "point_assemble",
    "point_similarity",
    "read_windows",
    "resize_map",
    "sample_points",
    "window_assemble",
    "window_similarity",
]
