"""Multiply-accumulates, counted by fvcore on a trace of the module, with a handle for every op that does arithmetic.

One multiply-accumulate is one FLOP, as in fvcore and in the papers. Four classes:

- conv: convolutions and linear layers, as fvcore counts them
- gather: the ops of `upbench.ops` as they declare it (sampling at 4 per value, similarity, assembly); in modules from
  elsewhere grid_sample (bilinear 4, bicubic 16, nearest 0), interpolation (the same), einsum and batched products
- norm: as fvcore counts it (layer, group and instance norm 5 per element with affine parameters, 4 without;
  batch norm in evaluation 2 or 1)
- elementwise: arithmetic and activations 1 per output value, softmax 3, reductions 1 per input value, resizing of
  auxiliary maps 4 per output value

Whatever is in none of them and is not mere data movement is listed in `uncounted`.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from fvcore.nn import FlopCountAnalysis
from fvcore.nn.jit_handles import (
    addmm_flop_jit,
    batchnorm_flop_jit,
    bmm_flop_jit,
    conv_flop_jit,
    einsum_flop_jit,
    get_shape,
    linear_flop_jit,
    norm_flop_counter,
)
from torch import Tensor, nn

from upbench.measure.operators import ELEMENTWISE, MOVEMENT, REDUCTIONS
from upbench.ops import OPS, whole_ops

KINDS = ("conv", "gather", "norm", "elementwise")
Handle = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Macs:
    """MACs of one call by class and by operator, and operators that the counter did not know, with their number."""

    by_kind: dict[str, int]
    by_op: dict[str, int]
    uncounted: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.by_kind.values())


def _output(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """Output values; 0 for the scalars of size arithmetic, which a trace contains as well."""
    return math.prod(get_shape(outputs[0]) or [0])


def _interpolation(cost: int) -> Handle:
    return lambda inputs, outputs: cost * _output(inputs, outputs)


def _reduction(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    return math.prod(get_shape(inputs[0]) or [0])


def _softmax(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    return 3 * _output(inputs, outputs)


def _grid_sample(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    return {0: 4, 1: 0, 2: 16}[inputs[2].toIValue()] * _output(inputs, outputs)


def _product(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """A product of matrices or vectors: each output value is a sum over the last dimension of the first factor."""
    return math.prod(get_shape(outputs[0]) or []) * (get_shape(inputs[0]) or [0])[-1]


def _attention(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """scaled_dot_product_attention: the product of queries and keys, and that of weights and values."""
    query, key, value = (get_shape(v) for v in inputs[:3])
    pairs = math.prod(query[:-1]) * key[-2]
    return pairs * (query[-1] + value[-1])


def _declared(name: str) -> Handle:
    op = OPS[name]

    def handle(inputs: Sequence[Any], outputs: Sequence[Any]) -> Counter[str]:
        tensors = [v for v in inputs if v.isCompleteTensor() and v.type().kind() == "TensorType"]
        others = [v.toIValue() for v in inputs if not any(v is t for t in tensors)]
        shapes = [get_shape(v) for v in (*tensors, outputs[0])]
        return Counter(op.charge(shapes, others))

    return handle


def _handles() -> dict[str, tuple[str, Handle]]:
    """Operator -> (class, handle)."""
    table: dict[str, tuple[str, Handle]] = {}
    table |= {f"aten::{n}": ("conv", conv_flop_jit) for n in ("_convolution", "convolution")}
    table |= {"aten::addmm": ("conv", addmm_flop_jit), "aten::linear": ("conv", linear_flop_jit)}
    table |= {f"aten::{n}": ("gather", _product) for n in ("matmul", "mm")}
    table |= {"aten::bmm": ("gather", bmm_flop_jit), "aten::einsum": ("gather", einsum_flop_jit)}
    table |= {"aten::baddbmm": ("gather", lambda i, o: bmm_flop_jit(i[1:3], o))}
    table |= {"aten::scaled_dot_product_attention": ("gather", _attention)}
    table |= {"aten::grid_sampler": ("gather", _grid_sample), "aten::grid_sampler_2d": ("gather", _grid_sample)}
    table |= {"aten::upsample_bilinear2d": ("gather", _interpolation(4))}
    table |= {"aten::upsample_bicubic2d": ("gather", _interpolation(16))}
    table |= {"aten::batch_norm": ("norm", batchnorm_flop_jit)}
    table |= {f"aten::{n}": ("norm", norm_flop_counter(2)) for n in ("layer_norm", "group_norm")}
    table |= {"aten::instance_norm": ("norm", norm_flop_counter(1))}
    table |= {f"aten::{n}": ("elementwise", _output) for n in ELEMENTWISE}
    table |= {f"aten::{n}": ("elementwise", _reduction) for n in REDUCTIONS}
    table |= {f"aten::{n}": ("elementwise", _softmax) for n in ("softmax", "_softmax", "log_softmax")}
    table |= {name: (op.kind, _declared(name)) for name, op in OPS.items()}
    return table


def count(module: nn.Module, inputs: tuple[Tensor, ...]) -> Macs:
    """Trace one call of the module (which runs it once, without autograd) and count. The mode is left as it is."""
    table = _handles()
    analysis = FlopCountAnalysis(module, inputs)
    analysis.clear_op_handles()
    analysis.set_op_handle(**{name: _named(name, handle) for name, (_, handle) in table.items()})
    analysis.unsupported_ops_warnings(False).tracer_warnings("none").uncalled_modules_warnings(False)
    log = logging.getLogger("fvcore.nn.jit_analysis")
    level = log.level
    log.setLevel(logging.ERROR)
    torch.clear_autocast_cache()  # a weight that an earlier call has lowered would be unknown to the trace
    try:
        with torch.no_grad(), whole_ops(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            by_op = {name: int(macs) for name, macs in analysis.by_operator().items()}
            unknown = analysis.unsupported_ops()
    finally:
        log.setLevel(level)
    by_kind = Counter(dict.fromkeys(KINDS, 0))
    for name, macs in by_op.items():
        by_kind[table[name][0]] += macs
    moved = {f"aten::{name}" for name in MOVEMENT} | {"prim::Constant", "prim::NumToTensor"}
    return Macs(
        by_kind={kind: by_kind[kind] for kind in KINDS},
        by_op={name: macs for name, macs in sorted(by_op.items(), key=lambda item: -item[1]) if macs},
        uncounted={name: n for name, n in sorted(unknown.items()) if name not in moved},
    )


def _named(name: str, handle: Handle) -> Handle:
    """The handle with its result under the operator's full name; fvcore alone would drop the namespace."""

    def named(inputs: Any, outputs: Any) -> Counter[str]:
        result = handle(inputs, outputs)
        if name in OPS:
            return result
        return Counter({name: sum(result.values()) if isinstance(result, Counter) else result})

    return named
