"""The parts of a module's MACs and parameters, from which every counting convention is added up.

Gathers are told apart by their operator. An operator that is not in the table counts as assembly: matrix products
and attention of modules from elsewhere weigh and sum, and a trace does not say which of their factors are keys.

The parts that only hooks see (bias, norm at 2 per element, activation, pooling) are those of modules that were
called: a functional sigmoid or softmax, a functional convolution's bias, a pooling inside an op are not in them,
just as they were not in the numbers that papers printed. One exception: a module whose only child is a norm that it
does not call stands for that norm. It is a norm over another axis (LDA-AQU's channel norm), where the released class
calls its child.
"""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, nn
from torch.nn.modules import activation, batchnorm, conv, pooling

from upbench.conventions import Breakdown
from upbench.measure import macs

GATHERS: dict[str, dict[str, int]] = {
    "upbench::window_similarity": {"similarity": 1},
    "upbench::point_similarity": {"similarity": 1},
    "upbench::nearby_similarity": {"similarity": 1},
    "upbench::mirrored_similarity": {"similarity": 1},
    "upbench::local_similarity": {"similarity": 1},
    "upbench::attention_weights": {"similarity": 1},
    "upbench::dilated_weights": {"similarity": 1},
    "upbench::sample_points": {"sampling": 1},
    "upbench::interpolate": {"sampling": 1},
    "aten::grid_sampler": {"sampling": 1},
    "aten::grid_sampler_2d": {"sampling": 1},
    "aten::upsample_bilinear2d": {"sampling": 1},
    "aten::upsample_bicubic2d": {"sampling": 1},
    "upbench::neighbour_assemble": {"sampling": 4, "assembly": 1},
    "upbench::window_assemble": {"assembly": 1},
    "upbench::point_assemble": {"assembly": 1},
    "upbench::nearby_assemble": {"assembly": 1},
    "upbench::mirrored_assemble": {"assembly": 1},
    "upbench::attention_assemble": {"assembly": 1},
    "upbench::dilated_assemble": {"assembly": 1},
    "upbench::modulate": {"assembly": 1},
    "upbench::gate_fuse": {"fusion": 1},
}
"""Operator -> the shares of its MACs that belong to each part, as ratios."""

_WEIGHED = (conv._ConvNd, nn.Linear, nn.Bilinear)
_NORMS = (batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
_ACTIVATIONS = tuple(getattr(activation, name) for name in activation.__all__ if name != "MultiheadAttention")
_POOLINGS = tuple(getattr(pooling, name) for name in pooling.__all__ if "Unpool" not in name)


def count(module: nn.Module, inputs: tuple[Tensor, ...], counted: macs.Macs) -> Breakdown:
    """Count all parts of one call. Runs the module once, without autograd; its mode is left as it is.

    Args:
        module: The module.
        inputs: The tensors of the call.
        counted: The MACs that `counting.count` returned for the same call.
    """
    kinds = counted.by_kind
    return Breakdown(
        conv=kinds["conv"],
        norm=kinds["norm"],
        elementwise=kinds["elementwise"],
        **gathers(counted),
        **_hooked(module, inputs),
        **parameters(module),
    )


def gathers(counted: macs.Macs) -> dict[str, int]:
    """Return the MACs of gathers by part: similarity, sampling, assembly, fusion.

    Args:
        counted: The MACs of a call by operator and class.
    """
    parts = Counter(dict.fromkeys(("similarity", "sampling", "assembly", "fusion"), 0))
    for name, ratios in GATHERS.items():
        share = counted.by_op.get(name, 0) // sum(ratios.values())
        parts.update({part: share * ratio for part, ratio in ratios.items()})
    parts["assembly"] += counted.by_kind["gather"] - parts.total()
    return dict(parts)


def _hooked(module: nn.Module, inputs: tuple[Tensor, ...]) -> dict[str, int]:
    """Return the parts that hooks on modules see in one call: bias, hook_norm, activation, pooling."""
    read: Counter[nn.Module] = Counter()
    written: Counter[nn.Module] = Counter()

    def hook(layer: nn.Module, given: tuple[object, ...], out: object) -> None:
        read[layer] += sum(t.numel() for t in given if isinstance(t, Tensor))
        written[layer] += out.numel() if isinstance(out, Tensor) else 0

    handles = [layer.register_forward_hook(hook) for layer in module.modules()]
    try:
        with torch.no_grad():
            module(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    parts = Counter(dict.fromkeys(("bias", "hook_norm", "activation", "pooling"), 0))
    for layer in module.modules():
        if isinstance(layer, _WEIGHED) and layer.bias is not None:
            parts["bias"] += written[layer]
        elif isinstance(layer, _NORMS) or _wraps_a_norm(layer, written):
            parts["hook_norm"] += 2 * written[layer]
        elif isinstance(layer, _ACTIVATIONS):
            parts["activation"] += written[layer]
        elif isinstance(layer, _POOLINGS):
            parts["pooling"] += read[layer]
    return dict(parts)


def _wraps_a_norm(layer: nn.Module, written: Counter[nn.Module]) -> bool:
    children = list(layer.children())
    return len(children) == 1 and isinstance(children[0], _NORMS) and children[0] not in written


def parameters(module: nn.Module) -> dict[str, int]:
    """Return the numbers of weights, position biases, biases and affine parameters of norms.

    A parameter is judged by the type of its module, and in modules of no known type by its name; each counts once.

    Args:
        module: The module.
    """
    parts = Counter(dict.fromkeys(("weights", "position_bias", "biases", "norm_affine"), 0))
    counted: set[nn.Parameter] = set()
    for layer in module.modules():
        for name, parameter in layer.named_parameters(recurse=False):
            if parameter not in counted:
                counted.add(parameter)
                parts[_part(layer, name)] += parameter.numel()
    return dict(parts)


def _part(layer: nn.Module, name: str) -> str:
    if isinstance(layer, _NORMS):
        return "norm_affine"
    if "position" in name:
        return "position_bias"
    return "biases" if name.endswith("bias") else "weights"
