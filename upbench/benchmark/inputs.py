"""Makes the features that an upsampler is given, and sets the offsets that its weights predict from them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from upbench.specs.run_spec import RunSpec

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}
"""Name in a spec -> dtype."""
AUTOCAST = {"autocast-float16": torch.float16, "autocast-bfloat16": torch.bfloat16}
"""Name in a spec -> the lower dtype of autocast."""
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
"""Name in a spec -> memory format."""


def dtype_of(spec: RunSpec) -> torch.dtype:
    """Return the dtype of features and weights; under autocast both are float32."""
    return DTYPES.get(spec.input.dtype, torch.float32)


def cast_to(module: nn.Module, spec: RunSpec, device: torch.device) -> None:
    """Move a module to a device and into the dtype of a spec.

    Where that is the dtype in which modules are made, as float32 is, nothing is cast: a layer that its class made in
    another one stays as it is. Complex weights always do.

    Args:
        module: The module, changed in place.
        spec: The spec.
        device: The device.
    """
    module.to(device)
    dtype = dtype_of(spec)
    if dtype == torch.get_default_dtype():
        return
    casts = {torch.float16: "half", torch.bfloat16: "bfloat16", torch.float64: "double", torch.float32: "float"}
    getattr(module, casts[dtype])()


def make(spec: RunSpec, device: torch.device) -> tuple[Tensor, ...]:
    """Return x and its guides: standard normal, drawn on the CPU from the seed, so that every device gets the same.

    x: [batch, channels, H, W]; the guides have the shapes that the card names.
    """
    s = spec.setting
    shapes = [(s.batch, s.channels, s.height, s.width), *spec.card.guide_shapes(s)]
    generator = torch.Generator().manual_seed(spec.input.seed)
    return tuple(
        torch.randn(shape, generator=generator).to(
            device, dtype_of(spec), memory_format=FORMATS[spec.input.memory_format]
        )
        for shape in shapes
    )


def set_offsets(module: nn.Module, spec: RunSpec) -> None:
    """Give a sampling method the offsets that the spec names; other methods are left as they are.

    At initialisation offsets are zero or next to it, so that neighbouring outputs read neighbouring pixels and every
    cache helps as it never does for a trained model. "trained": offsets that vary from pixel to pixel within the
    range that the method is meant to use; "max": at the end of that range, or four times as far where it has none.
    Each module's `set_offsets(reach, generator)` says what it draws.

    Args:
        module: The module, changed in place.
        spec: The spec.
    """
    setter = getattr(module, "set_offsets", None)
    if spec.input.offsets != "init" and setter is not None:
        setter(spec.input.offsets, torch.Generator().manual_seed(spec.input.seed))
