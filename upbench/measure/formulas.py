"""The cost of operators that torch dispatches, in multiply-accumulates, from their arguments and results.

Convolutions and matrix products have the formulas of torch's own counter; this file holds those that it lacks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

Formula = Callable[[Sequence[Any], Any], int]
"""Multiply-accumulates from the arguments of an operator and its result."""

PRODUCTS: dict[str, tuple[int, int, Formula]] = {
    "aten::dot": (0, 1, lambda a, out: a[0].numel()),
    "aten::vdot": (0, 1, lambda a, out: a[0].numel()),
    "aten::mv": (0, 1, lambda a, out: a[0].numel()),
    "aten::addmv": (1, 2, lambda a, out: a[1].numel()),
    "aten::addmv_": (1, 2, lambda a, out: a[1].numel()),
    "aten::addmm_": (1, 2, lambda a, out: a[1].numel() * a[2].shape[1]),
    "aten::addbmm": (1, 2, lambda a, out: a[1].numel() * a[2].shape[2]),
    "aten::addbmm_": (1, 2, lambda a, out: a[1].numel() * a[2].shape[2]),
    "aten::baddbmm_": (1, 2, lambda a, out: a[1].numel() * a[2].shape[2]),
    "aten::linear": (0, 1, lambda a, out: out.numel() * a[0].shape[-1]),
    "aten::conv_tbc": (0, 1, lambda a, out: out.numel() * a[1].shape[0] * a[1].shape[1]),
    "aten::_cdist_forward": (0, 1, lambda a, out: out.numel() * a[0].shape[-1]),
    "aten::_euclidean_dist": (0, 1, lambda a, out: out.numel() * a[0].shape[-1]),
    "aten::_pdist_forward": (0, 0, lambda a, out: out.numel() * a[0].shape[-1]),
    "aten::affine_grid_generator": (0, 0, lambda a, out: out.numel() * a[0].shape[-1]),
    "aten::_trilinear": (0, 1, lambda a, out: _trilinear(a)),
    "aten::_sparse_mm": (0, 1, lambda a, out: _sparse(a[0], a[1])),
    "aten::_sparse_addmm": (1, 2, lambda a, out: _sparse(a[1], a[2])),
    "aten::_scaled_dot_product_flash_attention_for_cpu": (0, 1, lambda a, out: _attention(a)),
    "aten::_scaled_dot_product_fused_attention_overrideable": (0, 1, lambda a, out: _attention(a)),
    "quantized::linear": (0, 0, lambda a, out: out.numel() * a[0].shape[-1]),
    "quantized::linear_relu": (0, 0, lambda a, out: out.numel() * a[0].shape[-1]),
    "quantized::linear_dynamic": (0, 0, lambda a, out: out.numel() * a[0].shape[-1]),
    "quantized::linear_relu_dynamic": (0, 0, lambda a, out: out.numel() * a[0].shape[-1]),
}
"""Products that torch's counter has no formula for -> positions of the two factors, and the formula."""
_QUANTISED_CONVOLUTIONS = tuple(f"quantized::conv{n}d{end}" for n in (1, 2, 3) for end in ("", "_relu", "_dynamic"))
READS: dict[str, Formula] = {
    "upsample_linear1d": lambda a, out: 2,
    "upsample_bilinear2d": lambda a, out: 4,
    "upsample_trilinear3d": lambda a, out: 8,
    "upsample_bicubic2d": lambda a, out: 16,
    "_upsample_bilinear2d_aa": lambda a, out: 4,
    "_upsample_bicubic2d_aa": lambda a, out: 16,
    **dict.fromkeys(
        ("grid_sampler", "grid_sampler_2d", "grid_sampler_3d", "_grid_sampler_2d_cpu_fallback", "cudnn_grid_sampler"),
        lambda a, out: 4 if len(a) < 3 else {0: 2 ** (a[0].dim() - 2), 1: 0, 2: 16}[a[2]],
    ),
}
"""Interpolations and samplers -> multiply-accumulates for each value of the output. With antialiasing (_aa) that holds
where a map becomes larger; where it becomes smaller more is read, which is not counted here."""
NORMS = {
    "native_layer_norm": (2, False),
    "_fused_rms_norm": (2, False),
    "native_group_norm": (1, False),
    "_native_batch_norm_legit_no_training": (1, True),
    "native_batch_norm": (1, None),
    "cudnn_batch_norm": (1, None),
    "_native_batch_norm_legit": (1, None),
    "_batch_norm_with_update": (1, False),
    "_batch_norm_no_update": (1, True),
}
"""Norms -> position of their weight, and whether they are batch norms in evaluation, which only scale and shift; None
where argument 5 decides that."""
CONVOLUTIONS = {"aten::convolution", "aten::_convolution", "aten::convolution_overrideable", "aten::cudnn_convolution"}
"""Names under which torch dispatches a convolution."""


def product(func: Any, args: Sequence[Any], kwargs: Any, out: Any, first: Tensor) -> tuple[Any, Any, int] | None:
    """Return the two factors and the multiply-accumulates of a product.

    A product of complex numbers is four of real ones.

    Args:
        func: The operator.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        out: What it returned.
        first: The first tensor of what it returned.

    Returns:
        Both factors and the number; None for an operator that is no product.
    """
    name, packet = func._schema.name, func._overloadpacket
    each = 4 if first.is_complex() else 1
    sparse = [v for v in args if isinstance(v, Tensor) and v.layout != torch.strided]
    if sparse and name in ("aten::mm", "aten::addmm", "aten::mv", "aten::bmm"):
        left, right = args[-2:] if name != "aten::addmm" else args[1:3]
        return left, right, each * _sparse(left, right)
    if name in PRODUCTS:
        a, b, formula = PRODUCTS[name]
        return args[a], args[b], each * formula(args, first)
    if name in _QUANTISED_CONVOLUTIONS:
        weight = args[1].unpack()[0]
        return args[0], weight, first.numel() * weight[0].numel()
    if packet in flop_registry and "backward" not in name and len(args) > 1:
        macs = flop_registry[packet](*args, **kwargs, out_val=out) // 2
        added = name in ("aten::addmm", "aten::baddbmm")
        return args[1 if added else 0], args[2 if added else 1], each * macs
    return None


def is_product(args: Sequence[Any]) -> bool:
    """Return whether the first two arguments are dense tensors of more than one value."""
    return all(isinstance(v, Tensor) and v.numel() > 1 and v.layout == torch.strided for v in args[:2])


def norm(short: str, args: Sequence[Any]) -> int:
    """Return the multiply-accumulates of a norm for each element, as fvcore counts them.

    Args:
        short: Name of the operator in NORMS.
        args: Its positional arguments.
    """
    at, evaluation = NORMS[short]
    if evaluation is None:
        evaluation = not args[5]
    affine = len(args) > at and args[at] is not None
    return (2 if affine else 1) if evaluation else (5 if affine else 4)


def _sparse(left: Tensor, right: Tensor) -> int:
    """A product of matrices of which one is sparse: as many products as it has values, for each row or column."""
    if left.layout != torch.strided:
        return left._nnz() * (right.shape[-1] if right.dim() > 1 else 1)
    return right._nnz() * left.shape[-2]


def _attention(args: Sequence[Any]) -> int:
    query, key, value = args[:3]
    return query.shape[:-1].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _trilinear(args: Sequence[Any]) -> int:
    """Bilinear layers: torch multiplies the first two factors, sums what the third does not have, and multiplies again."""
    first, second, third, *expands = args[:6]
    summed = args[6]
    dims = max(t.dim() + len(e) for t, e in zip((first, second, third), expands, strict=True))
    sizes = [_expanded(t, e, dims) for t, e in zip((first, second, third), expands, strict=True)]
    alone = [n for n in summed if sizes[2][n] == 1]
    pair = math.prod(max(a, b) for a, b in zip(sizes[0], sizes[1], strict=True))
    left = [1 if n in alone else max(a, b) for n, (a, b) in enumerate(zip(sizes[0], sizes[1], strict=True))]
    return pair + math.prod(max(a, b) for a, b in zip(left, sizes[2], strict=True))


def _expanded(tensor: Tensor, new: Sequence[int], dims: int) -> list[int]:
    rest = iter(tensor.shape)
    return [1 if n in new else next(rest) for n in range(dims)]
