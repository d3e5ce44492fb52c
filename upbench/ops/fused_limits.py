"""Where the fused ops cannot run, with the reason, and where the eager ones were measured to be faster."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from upbench.ops import thresholds
from upbench.ops.cpu import differences, map_kernels, steps, window_kernels
from upbench.ops.dispatch import autocasts, dtype_name

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
AUTOCASTED = (
    *("window_assemble", "window_similarity", "mirrored_assemble", "mirrored_similarity"),
    *("averaged_attention", "dilated_attention"),
)
"""Ops whose eager form is a product of matrices, which autocast takes in another dtype."""
CPU_ALONE = (
    *("conv1x1", "guided_attention", "kernel_affinity", "plane_rope", "reassemble", "attend_window", "box_mean"),
    *("paired_difference", "convolution", "guided_filter", "normed_conv1x1", "sample_moved"),
)
"""Ops that have no kernel for another device."""


def can_fuse_attention(*tensors: Tensor) -> bool:
    """Say whether a whole method can be one op on these tensors: on a CPU, where no gradient is recorded."""
    return tensors[0].device.type == "cpu" and not _recording(*tensors)


def unsupported_tensors(tensors: list[Tensor]) -> str | None:
    first = tensors[0]
    if first.dtype not in DTYPES:
        allowed = ", ".join(dtype_name(dtype) for dtype in DTYPES)
        return f"it computes in {allowed}, not in {dtype_name(first.dtype)}"
    for other in tensors[1:]:
        if other.dtype != first.dtype:
            return f"its inputs must have one dtype, but are {dtype_name(first.dtype)} and {dtype_name(other.dtype)}"
        if other.device != first.device:
            return f"its inputs must be on one device, but are on {first.device} and {other.device}"
    return None


def unsupported_here(op: str, x: Tensor) -> str | None:
    """What the device of x, and what is installed for it, stand in the way of."""
    if x.device.type == "cpu":
        return None
    if x.device.type != "cuda":
        return f"there are no fused kernels for {x.device.type}, only for cpu and cuda"
    if op in CPU_ALONE:
        # A convolution is as fast there, and keeps the precision (TF32) that convolutions are set to.
        return "it is for a CPU"
    try:
        from upbench.ops.triton import register  # only where a GPU asks: Triton takes seconds to import
    except ImportError as error:
        return f"its kernels for cuda need Triton, which cannot be imported ({error})"
    return register.unsupported_reason("deform_assemble" if op == "offset_attention" else op, x)


def unsupported_call(op: str, args: tuple[Any, ...]) -> str | None:
    """What a single op stands in the way of."""
    if op == "sample_points" and args[1].shape[2] != 1:
        return "it reads one point per output pixel and these are more"
    if op == "guided_attention" and args[2].dtype != args[0].dtype:
        dtypes = f"{dtype_name(args[0].dtype)} and {dtype_name(args[2].dtype)}"
        return f"the map and its guide must have one dtype, but are {dtypes}"
    if op == "plane_rope" and not can_fuse_attention(args[0], args[2]):
        return "it records no gradient"
    if op == "sample_moved":
        x, offset, scope = args[:3]
        learned = [t for layer in (offset, scope) if layer is not None for t in layer.parameters()]
        if not can_fuse_attention(x, *learned) or autocasts(x) or not window_kernels.can_run_native(x, *learned):
            return "it neither records gradients nor autocasts, and needs the C kernels"
    if op in ("reassemble", "attend_window"):
        tensors = [t for t in args if isinstance(t, Tensor)]
        if autocasts(tensors[0]) or not window_kernels.can_run_native(*tensors):
            return "it does not autocast, and needs the C kernels"
    if op == "box_mean" and not map_kernels.can_run_native(args[0]):
        return "it needs the C kernels, and float32 or float64"
    if op == "guided_filter" and not steps.can_filter(args[0]):
        return "it needs the C kernels, and a map that has pixels"
    if op == "paired_difference":
        key, query, _, weight, _, compressor, groups, _, _, _ = args
        if autocasts(key) or not differences.can_run(key, query, weight, groups, compressor):
            return "it does not autocast, needs the C kernels and whole lanes of outputs in every group"
    if op == "dilated_attention" and any(args[0].shape[n] % args[1].shape[n] for n in (2, 3)):
        return "the output's sides are no multiples of the map's, so that windows are no boxes of cells"
    if op == "dilated_attention" and args[3] > min(args[1].shape[2:]):
        return "its window is larger than the map"
    if op.startswith("mirrored") and min(args[0].shape[2:]) <= args[-2 if op == "mirrored_assemble" else -1] // 2:
        return "its border mirrors more pixels than the map has"
    if op == "gate_fuse" and not (args[3] and not torch.is_grad_enabled()):
        return "it writes over the upsampled map, which must not be needed any more"
    if op == "kernel_affinity":
        guide, *layers = args
        if autocasts(guide):
            return "it keeps its precision under autocast"
        if guide.shape[1] // layers[2][0].num_groups * guide.shape[2] * guide.shape[3] <= 4:
            return "groups of one value have nothing to sum"
    return None


FEW = 8
"""Channels of a group from which a fused assembly is faster backward too: before that the index of a row costs more than
the row. Measured on a CPU at scales 1 to 8; forward it is faster with two channels already."""


SMALL = {"sample_points": 2**18, "conv1x1": 2**18}
"""Op -> values of its largest map up to which the eager form is faster on a CPU: the fused one has more calls to start, which take
longer than a map of that size. See `docs/backends.md`."""
SMALL_IMAGES = {"paired_difference": 2**13, "normed_conv1x1": 2**13}
"""Op -> values of an image up to which the eager form is faster for `MANY` images or more: the fused one starts its calls image by image."""
MANY = 4
SMALL_WITH_GRADIENTS = SMALL | {"sample_points": 2**20}
"""`SMALL` where a gradient is recorded."""
SMALL_IMAGES_WITH_GRADIENTS = {"kernel_affinity": 6 * 2**10}
"""Op -> values of an image up to which the eager form is faster where a gradient is recorded, for any number of images."""


def slower(op: str, *args: Any) -> str | None:
    """Say where the eager form of an op was measured to be faster on some arguments.

    Args:
        op: the name of an op in `FORMS`.
        args: the arguments of the op, without `backend`.

    Returns:
        The reason as half a sentence, or None where the fused form is not slower.
    """
    tensors = [t for t in args if isinstance(t, Tensor)]
    known = (*SMALL, *SMALL_IMAGES, *SMALL_IMAGES_WITH_GRADIENTS, "window_assemble", "mirrored_assemble")
    if op not in known or tensors[0].device.type != "cpu":
        return None
    if op in SMALL_IMAGES_WITH_GRADIENTS:
        most = SMALL_IMAGES_WITH_GRADIENTS[op]
        learned = [t for layer in args if isinstance(layer, nn.Module) for t in layer.parameters()]
        few = tensors[0].numel() <= len(tensors[0]) * thresholds.scaled(most) and _recording(*tensors, *learned)
        return f"it is faster there with gradients for images of up to {most} values" if few else None
    if op in SMALL_IMAGES:
        images, most = len(tensors[0]), SMALL_IMAGES[op]
        few = images >= MANY and tensors[0].numel() <= images * thresholds.scaled(most)
        return f"it is faster there for {MANY} images or more of up to {most} values" if few else None
    if op in SMALL:
        x = tensors[0]
        if op == "conv1x1" and x.dtype not in (torch.float32, torch.float64):
            return None
        height, width = tensors[1].shape[3:5] if op == "sample_points" else x.shape[2:]
        most = (SMALL_WITH_GRADIENTS if _recording(*tensors) else SMALL)[op]
        if x.shape[0] * x.shape[1] * height * width <= thresholds.scaled(most):
            return f"it is faster there up to {most} values"
        return None
    x, weight = args[:2]
    groups = weight.shape[1] if op == "window_assemble" else 1
    if _recording(x, weight) and x.shape[1] // groups < FEW:
        return f"groups of less than {FEW} channels are faster there with gradients"
    return None


def _recording(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
