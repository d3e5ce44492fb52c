"""The features that an upsampler is fed with."""

from __future__ import annotations

import torch
from torch import Tensor

from upbench.spec import RunSpec

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def make(spec: RunSpec, device: torch.device) -> tuple[Tensor, ...]:
    """(x,) or (x, guide): standard normal, drawn on the CPU from the seed, so that every device gets the same.

    x: [batch, channels, H, W]; guide: [batch, guide_channels, floor(H*scale), floor(W*scale)].
    """
    s = spec.setting
    shapes = [(s.batch, s.channels, s.height, s.width)]
    if spec.card.guided:
        shapes.append((s.batch, s.guide_channels, s.out_height, s.out_width))
    generator = torch.Generator().manual_seed(spec.input.seed)
    return tuple(
        torch.randn(shape, generator=generator).to(
            device, DTYPES[spec.input.dtype], memory_format=FORMATS[spec.input.memory_format]
        )
        for shape in shapes
    )
