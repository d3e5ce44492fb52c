"""Two filters of one input channel at stride 2, and their gradients, plane by plane: by C kernels (`csrc/affinity_slopes.h`)."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from upbench.ops.cpu import map_kernels, structs

PIECE = 1
"""Planes that a thread takes at a time."""

Filters = structs.struct(
    "Filters",
    **dict.fromkeys(("guide", "filters", "grad", "out"), structs.ADDRESS),
    **dict.fromkeys(("height", "width", "kernel", "apart", "dtype"), structs.COUNT),
)


class PlaneFilters:
    """Both filters of one image. What they make are planes in the order of the pixels.

    Args:
        filters: of float32 or float64, as `map_kernels.can_run_native` has it.
        height: rows of output pixels, half of those of the guide.
        width: columns of them.
    """

    def __init__(self, filters: Float[Tensor, "2 k k"], height: int, width: int) -> None:
        self.filters, self.size = filters.contiguous(), (height, width)
        self.total = torch.zeros(filters.shape, dtype=torch.float64)

    def maps(self, guide: Float[Tensor, "C iH iW"]) -> Float[Tensor, "2 C pixels"]:
        """Return what the filters make of some planes of the guide."""
        out = self.filters.new_empty((2, len(guide), self.size[0] * self.size[1]))
        self._run("filtered", out, out.numel(), guide=guide.to(out.dtype).contiguous(), filters=self.filters)
        return out

    def guide_slope(self, dmaps: Float[Tensor, "2 C pixels"], guide: Float[Tensor, "C iH iW"], out: Tensor) -> None:
        """Write the gradient of the planes of a guide, given that of their maps; that of the filters is added up."""
        dmaps = dmaps.contiguous()
        slopes = self.filters.new_empty((len(guide), *self.filters.shape))
        self._run("filter_slopes", slopes, dmaps.numel(), guide=guide.to(slopes.dtype).contiguous(), grad=dmaps)
        self.total += slopes.sum(0, dtype=self.total.dtype)
        made = out if out.dtype == slopes.dtype and out.is_contiguous() else self.filters.new_empty(guide.shape)
        self._run("guide_slopes", made, dmaps.numel(), filters=self.filters, grad=dmaps)
        if made is not out:
            out.copy_(made)

    def filter_slope(self) -> Float[Tensor, "2 k k"]:
        """Return the gradient of the filters, of all that `guide_slope` was asked for."""
        return self.total.to(self.filters.dtype)

    def order(self, plane: Float[Tensor, "H W"]) -> Float[Tensor, " pixels"]:
        """Return the pixels of a plane in the order of the maps."""
        return plane.flatten()

    def plane(self, pixels: Float[Tensor, " pixels"]) -> Float[Tensor, "H W"]:
        """Return pixels in the order of the maps as a plane."""
        return pixels.view(self.size)

    def _run(self, entry: str, out: Tensor, values: int, **tensors: Tensor) -> None:
        (height, width), kernel = self.size, self.filters.shape[-1]
        planes = values // (2 * height * width)
        job: Any = Filters(height=height, width=width, kernel=kernel, apart=planes * height * width)
        job.dtype, job.out = map_kernels.DTYPES.index(out.dtype), out.data_ptr()
        for name, tensor in tensors.items():
            setattr(job, name, tensor.data_ptr())
        map_kernels.run(entry, job, planes, PIECE, values * kernel * kernel)
