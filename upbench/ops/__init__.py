"""Select, weigh, assemble: the three steps every upsampler is made of, as pure functions of tensors.

- select:   `lattice` and `parents` name low-resolution positions, `sample_points` reads the map there
- weigh:    `point_similarity` compares a query with what was read
- assemble: `window_assemble` and `point_assemble` sum with the weights
- resize:   `interpolate` for features, `resize_map` for auxiliary maps (queries, keys)
"""

from upbench.ops._library import OPS, Op, coordinate_dtype
from upbench.ops.points import lattice, parents, point_assemble, point_similarity, sample_points
from upbench.ops.resize import interpolate, output_size, resize_map
from upbench.ops.window import window_assemble

__all__ = [
    "OPS",
    "Op",
    "coordinate_dtype",
    "interpolate",
    "lattice",
    "output_size",
    "parents",
    "point_assemble",
    "point_similarity",
    "resize_map",
    "sample_points",
    "window_assemble",
]
