"""Multiply-accumulates, counted on a trace of the module by fvcore's handles and ours: one for every op that does
arithmetic.

One multiply-accumulate is one FLOP, as in fvcore and in the papers. Four classes:

- conv: convolutions, linear layers, and every other product with a learned weight, however it is spelled
- gather: the ops of `upbench.ops` as they declare it (sampling at 4 per value, similarity, assembly); in modules from
  elsewhere grid_sample (bilinear 4, bicubic 16, nearest 0; 8 for a volume), interpolation (the same), and products of
  two features: einsum, matrix products, convolutions by predicted kernels, value-by-value products that are summed
- norm: as fvcore counts it (layer, RMS, group and instance norm 5 per element with affine parameters, 4 without;
  batch norm in evaluation 2 or 1)
- elementwise: arithmetic and activations 1 per output value, softmax 3, reductions 1 per input value, resizing of
  auxiliary maps 4 per output value

`(a * b).sum(dim)` is one multiply-accumulate for each product, as the einsum of the same arithmetic is; a product that
goes anywhere else is elementwise. Whatever is in none of the classes and is not mere data movement is listed in
`uncounted`: there the number is too small.
"""

from __future__ import annotations

import functools
import math
import operator
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from fvcore.nn.jit_handles import (
    batchnorm_flop_jit,
    conv_flop_jit,
    norm_flop_counter,
)
from torch import Tensor, nn

from upbench.measure import einsum
from upbench.measure.operators import work_of
from upbench.measure.trace import PRODUCTS, Trace, class_of, inputs_of, is_product, numel, outputs_of, shape
from upbench.ops import OPS, whole_ops

KINDS = ("conv", "gather", "norm", "elementwise")
"""The classes of MACs."""
Charge = tuple[str, str, int]
"""Class, operator and multiply-accumulates of one operation."""
Handle = Callable[[Any, Any], Any]
"""Multiply-accumulates from the inputs and outputs of a node."""
SUMMED = "aten::mul+sum"
"""Name of value-by-value products that are summed, which torch's counter does not see."""
UNSUMMED = "aten::einsum (no sum)"
"""Name of an einsum that sums nothing, which torch's counter does not see."""


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates of one call.

    Args:
        by_kind: Class -> MACs.
        by_op: Operator -> MACs.
        uncounted: Operators that the counter did not know, with how often they occur.
        by_class_and_op: (class, operator) -> MACs, since an operator may have products of two classes.
        notes: Sentences on arithmetic that is counted as it is written, though another spelling of it would be counted
            otherwise.
        traced: Whether the numbers are of a trace, or else of the operators that torch dispatched.
        missing: Those of `uncounted` that ran without being charged by any counter; where there are any, the numbers
            are too small.
    """

    by_kind: dict[str, int]
    by_op: dict[str, int]
    uncounted: dict[str, int]
    by_class_and_op: dict[tuple[str, str], int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    traced: bool = True
    missing: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """MACs of all classes."""
        return sum(self.by_kind.values())

    @property
    def known(self) -> bool:
        """Whether there is a number to state; where nothing at all could be counted, 0 would be a false one."""
        return self.total > 0 or not self.missing


def gathered(
    charges: Sequence[Charge], uncounted: Counter[str], notes: Sequence[str] = (), traced: bool = True
) -> Macs:
    """Add up all charges of one call.

    Args:
        charges: The charges.
        uncounted: Operators that were not known, with how often they occur.
        notes: Sentences for `Macs.notes`.
        traced: Whether the charges are of a trace.
    """
    both: Counter[tuple[str, str]] = Counter()
    for kind, name, macs in charges:
        both[kind, name] += macs
    by_op: Counter[str] = Counter()
    for (_, name), macs in both.items():
        by_op[name] += macs
    return Macs(
        by_kind={kind: sum(n for (of, _), n in both.items() if of == kind) for kind in KINDS},
        by_op={name: macs for name, macs in sorted(by_op.items(), key=lambda item: -item[1]) if macs},
        uncounted=dict(sorted(uncounted.items())),
        by_class_and_op={key: macs for key, macs in both.items() if macs},
        notes=tuple(notes),
        traced=traced,
    )


class _Unknown(Exception):
    """An operator with a handle, of whose arguments the trace does not know enough."""


def _shape(value: Any) -> list[int]:
    """The shape of a tensor of real numbers."""
    known = shape(value)
    if known is None or (value.type().dtype() or torch.float32).is_complex:
        raise _Unknown
    return known


def _is_of_unknown_shape(value: Any) -> bool:
    return value.type().kind() == "TensorType" and not value.isCompleteTensor()


def _product(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """A product of matrices or vectors: each output value is a sum over the last dimension of the first factor."""
    return math.prod(_shape(outputs[0])) * _shape(inputs[0])[-1]


def _convolution(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    for value in (*inputs[:2], outputs[0]):
        _shape(value)
    return int(sum(conv_flop_jit(inputs, outputs).values()))


def _attention(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """scaled_dot_product_attention: the product of queries and keys, and that of weights and values."""
    query, key, value = (_shape(v) for v in inputs[:3])
    pairs = math.prod(query[:-1]) * key[-2]
    return pairs * (query[-1] + value[-1])


def _grid_sample(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    around = 2 ** (len(_shape(inputs[0])) - 2)
    return {0: around, 1: 0, 2: 16}[inputs[2].toIValue()] * numel(outputs[0])


def _interpolation(cost: int) -> Handle:
    return lambda inputs, outputs: cost * numel(outputs[0])


_PRODUCTS: dict[str, tuple[str, tuple[int, int], Handle]] = {
    **dict.fromkeys(("aten::_convolution", "aten::convolution"), ("conv", (0, 1), _convolution)),
    "aten::linear": ("conv", (0, 1), _product),
    "aten::addmm": ("conv", (1, 2), lambda i, o: _product(i[1:], o)),
    **dict.fromkeys(("aten::matmul", "aten::mm", "aten::bmm", "aten::mv", "aten::dot"), ("gather", (0, 1), _product)),
    "aten::baddbmm": ("gather", (1, 2), lambda i, o: _product(i[1:], o)),
    "aten::addmv": ("gather", (1, 2), lambda i, o: _product(i[1:], o)),
    "aten::affine_grid_generator": ("gather", (0, 0), lambda i, o: numel(o[0]) * _shape(i[0])[-1]),
    "aten::scaled_dot_product_attention": ("gather", (0, 1), _attention),
}
"""Operator -> the class where its factors do not decide it, the positions of its two factors, and its handle."""
_OTHERS: dict[str, tuple[str, Handle]] = {
    **dict.fromkeys(("grid_sampler", "grid_sampler_2d", "grid_sampler_3d"), ("gather", _grid_sample)),
    "upsample_linear1d": ("gather", _interpolation(2)),
    "upsample_bilinear2d": ("gather", _interpolation(4)),
    "upsample_trilinear3d": ("gather", _interpolation(8)),
    "upsample_bicubic2d": ("gather", _interpolation(16)),
    "batch_norm": ("norm", batchnorm_flop_jit),
    **dict.fromkeys(("layer_norm", "rms_norm", "group_norm"), ("norm", norm_flop_counter(2))),
    "instance_norm": ("norm", norm_flop_counter(1)),
}
"""Operator -> the class, and its handle."""
_WORK: dict[str, Handle] = {
    "elementwise": lambda inputs, outputs: numel(outputs[0]),
    "reduction": lambda inputs, outputs: numel(inputs[0]),
    "softmax": lambda inputs, outputs: 3 * numel(outputs[0]),
    "movement": lambda inputs, outputs: 0,
}


def count(module: nn.Module, inputs: tuple[Tensor, ...]) -> Macs:
    """Trace one call of a module and count. It runs once, without autograd; its mode is left as it is.

    Args:
        module: The module.
        inputs: The tensors of the call.

    Raises:
        Exception: Whatever torch.jit raises on a module that it cannot trace.
    """
    torch.clear_autocast_cache()  # a weight that an earlier call has lowered would be unknown to the trace
    with torch.no_grad(), whole_ops(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trace = Trace(module, inputs)
    charges: list[Charge] = []
    unknown: Counter[str] = Counter()
    for name, node in trace.nodes():
        try:
            charges += _charges(trace, name, node)
        except _Unknown:
            unknown[name] += 1
    notes = [
        f"a sum of {terms} products is written out (aten::mul, aten::add) and counts as element-wise; as one einsum "
        f"its {products} products would be gather, and {products - products // terms} additions less"
        for terms, products in sorted(set(trace.unrolled_sums()))
    ]
    return gathered(charges, unknown, notes)


def of_node(trace: Trace, name: str, node: Any) -> int | None:
    """Return the multiply-accumulates of one node of a trace.

    Args:
        trace: The trace.
        name: The node's operator.
        node: The node.

    Returns:
        Their number; None where they are not known.
    """
    try:
        return sum(macs for _, _, macs in _charges(trace, name, node))
    except _Unknown:
        return None


def slides(name: str, out: Sequence[int]) -> bool:
    """Return whether a convolution moves its kernel over a map; then it counts as conv also where it is predicted (A2U).

    At a single position it is a product of two features, spelled as a convolution.

    Args:
        name: Name of the operator.
        out: Shape of its result, [B, C, ...].
    """
    return name.endswith("convolution") and math.prod(out[2:]) > 1


def _charges(trace: Trace, name: str, node: Any) -> list[Charge]:
    """Return the charges of one node; raise _Unknown where they cannot be known."""
    inputs, outputs = inputs_of(node), outputs_of(node)
    if name in OPS:
        return _declared(name, inputs, outputs)
    if name in _PRODUCTS:
        default, (left, right), handle = _PRODUCTS[name]
        kind = class_of(default, trace.made_of(inputs[left]), trace.made_of(inputs[right]))
        if kind == "gather" and slides(name, shape(outputs[0]) or []):
            kind = "conv"
        return [(kind, name, handle(inputs, outputs))]
    if name == "aten::einsum":
        return _einsum(trace, inputs)
    if work_of(name) != "movement" and any(_is_of_unknown_shape(v) for v in (*inputs[:2], *outputs[:1])):
        raise _Unknown  # as in a scripted function: with nothing to multiply, it would count as 0
    if name in PRODUCTS and is_product(node) and trace.summed(outputs[0]):
        return [(class_of("gather", *map(trace.made_of, inputs[:2])), SUMMED, numel(outputs[0]))]
    if name == "aten::sum":
        return [("elementwise", name, max(numel(inputs[0]) - trace.products_of(inputs[0]), 0))]
    if (short := name.removeprefix("aten::")) in _OTHERS:
        kind, handle = _OTHERS[short]
        _shape(inputs[0])
        return [(kind, name, int(handle(inputs, outputs)))]
    if (work := work_of(name)) is None:
        raise _Unknown
    return [("elementwise", name, _WORK[work](inputs, outputs))]


def _declared(name: str, inputs: Sequence[Any], outputs: Sequence[Any]) -> list[Charge]:
    """Return the charges of an op of upbench from its node, see `declared`."""
    tensors = [v for v in inputs if v.isCompleteTensor() and v.type().kind() == "TensorType"]
    others = [v.toIValue() for v in inputs if not any(v is t for t in tensors)]
    return declared(name, [_shape(v) for v in (*tensors, outputs[0])], others)


def declared(name: str, shapes: Sequence[Sequence[int]], others: Sequence[Any]) -> list[Charge]:
    """Return the charges that an op of upbench declares, under the names and classes of the plain operators in it.

    Args:
        name: Name of the op.
        shapes: Shapes of its tensor arguments and of its result.
        others: Its other arguments.
    """
    return [(_kind_of(plain), plain, macs) for plain, macs in OPS[name].charge(shapes, others).items()]


def _kind_of(plain: str) -> str:
    if plain in OPS:
        return OPS[plain].kind
    if plain in _PRODUCTS:
        return _PRODUCTS[plain][0]
    short = plain.removeprefix("aten::")
    return _OTHERS[short][0] if short in _OTHERS else "elementwise"


def _einsum(trace: Trace, inputs: Sequence[Any]) -> list[Charge]:
    operands = inputs_of(inputs[1].node())
    path = inputs[2].toIValue() if len(inputs) > 2 else None
    steps, sums = einsum.contractions(inputs[0].toIValue(), [_shape(v) for v in operands], path)
    charges: list[Charge] = [("elementwise", "aten::sum", sums)]
    for step in steps:
        made_of = [_joined(trace.made_of(operands[n]) for n in part) for part in (step.left, step.right)]
        name = "aten::einsum" if step.summed else UNSUMMED
        charges.append((class_of("gather", *made_of), name, step.products))
    return charges


def _joined(bits: Iterable[int]) -> int:
    return functools.reduce(operator.or_, bits, 0)
