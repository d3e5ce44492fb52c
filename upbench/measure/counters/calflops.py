"""calflops, and DeepSpeed's profiler, which has the same ancestor: patched functions. Each prints MACs and FLOPs."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy
from torch import nn

from upbench.measure.counters._call import Calls
from upbench.measure.counters._rule import Rule, Unpredicted, applied, names, over_children, refuse_recurrent, unseen
from upbench.measure.counters.ptflops import elementwise

Both = tuple[int, int]
"""FLOPs and MACs."""


def _linear(x: Any, weight: Any, bias: Any = None) -> Both:
    macs = x.numel() * weight.shape[0]
    return 2 * macs, macs


def _each(value: Any, dims: int) -> tuple[int, ...]:
    return tuple(value) if type(value) is tuple else (value,) * dims


def _positions(x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> list[int]:
    dims = x.dim() - 2
    dilations = _each(dilation, dims)
    if padding == "valid":
        padding = 0
    elif padding == "same":
        padding = tuple(d * (k - 1) // 2 for d, k in zip(dilations, kernel, strict=True))
    return [
        (n + 2 * p - (d * (k - 1) + 1)) // s + 1
        for n, p, d, k, s in zip(x.shape[2:], _each(padding, dims), dilations, kernel, _each(stride, dims), strict=True)
    ]


def _convolution(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Both:
    assert weight.shape[1] * groups == x.shape[1]
    positions = x.shape[0] * math.prod(_positions(x, weight.shape[2:], stride, padding, dilation))
    macs = math.prod(weight.shape[2:]) * x.shape[1] * (weight.shape[0] // groups) * positions
    return 2 * macs + (weight.shape[0] * positions if bias is not None else 0), macs


def _transposed(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Both:
    # Biases at the positions that a plain convolution of the same settings would have, as they are there.
    outputs = math.prod(_positions(x, weight.shape[2:], stride, padding, dilation))
    macs = math.prod(weight.shape[2:]) * x.shape[1] * (weight.shape[1] // groups) * x.shape[0] * math.prod(x.shape[2:])
    return 2 * macs + (weight.shape[1] * x.shape[0] * outputs if bias is not None else 0), macs


def _values(x: Any, *args: Any, **kwargs: Any) -> Both:
    return x.numel(), 0


def _batch_norm(
    x: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: Any = 1e-5,
) -> Both:
    affine = weight is not None
    return x.numel() * ((5 if affine else 4) if training else (2 if affine else 1)), 0


def _norm(x: Any, shape: Any, weight: Any = None, bias: Any = None, eps: Any = 1e-5) -> Both:
    return x.numel() * (5 if weight is not None else 4), 0


def _instance_norm(x: Any, mean: Any = None, var: Any = None, weight: Any = None, *args: Any, **kwargs: Any) -> Both:
    return x.numel() * (5 if (weight if weight is not None else kwargs.get("weight")) is not None else 4), 0


def _resized(*args: Any, **kwargs: Any) -> Both:
    x = args[0]
    size = kwargs.get("size", args[1] if len(args) > 1 else None)
    if size is not None:
        # One plane, whatever the number of channels.
        return (math.prod(size) if isinstance(size, tuple | list) else int(size)), 0
    factor = kwargs.get("scale_factor", args[2] if len(args) > 2 else None)
    assert factor is not None
    if not (isinstance(factor, tuple) and len(factor) == len(x)):
        factor ** len(x)  # of no effect there either, but that it fails on a list
    return x.numel(), 0


def _nothing(*args: Any, **kwargs: Any) -> Both:
    return 0, 0


def _product(left: Any, right: Any, *, out: Any = None) -> Both:
    macs = math.prod(left.shape) * right.shape[-1]
    return 2 * macs, macs


def _added_product(added: Any, left: Any, right: Any, *, beta: Any = 1, alpha: Any = 1, out: Any = None) -> Both:
    flops, macs = _product(left, right)
    return flops + math.prod(added.shape), macs


def _einsum(equation: str, *operands: Any) -> Both:
    equation = equation.replace(" ", "")
    letters = OrderedDict((letter, 0) for letter in equation if letter.isalpha())
    equation = equation.translate({ord(letter): 97 + n for n, letter in enumerate(letters)})
    arrays = [numpy.broadcast_to(numpy.zeros(()), tuple(operand.shape)) for operand in operands]
    printed = numpy.einsum_path(equation, *arrays, optimize="optimal")[1]
    line = next(line for line in str(printed).split("\n") if "optimized flop" in line.lower())
    return int(float(line.split(":")[-1])), 0


def _elementwise(left: Any, right: Any, *, alpha: Any = 1, out: Any = None) -> Both:
    return elementwise(left, right), 0


_FUNCTIONS: dict[str, Callable[..., Both]] = {
    "functional.linear": _linear,
    **dict.fromkeys(names(("conv1d", "conv2d", "conv3d")), _convolution),
    **dict.fromkeys(names(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")), _transposed),
    **dict.fromkeys(names(["relu", "prelu", "elu", "leaky_relu", "relu6", "silu", "gelu", "softmax"]), _values),
    "functional.batch_norm": _batch_norm,
    **dict.fromkeys(names(("layer_norm", "group_norm")), _norm),
    "functional.instance_norm": _instance_norm,
    **dict.fromkeys(names(f"{kind}_pool{n}d" for kind in ("avg", "max") for n in (1, 2, 3)), _values),
    **dict.fromkeys(names(f"adaptive_{kind}_pool{n}d" for kind in ("avg", "max") for n in (1, 2, 3)), _values),
    **dict.fromkeys(names(("upsample", "interpolate")), _resized),
    "functional.embedding": _nothing,
    **dict.fromkeys(("torch.matmul", "Tensor.matmul"), _product),
    **dict.fromkeys(("torch.addmm", "Tensor.addmm", "torch.baddbmm"), _added_product),
    **dict.fromkeys([f"{of}.{name}" for of in ("torch", "Tensor") for name in ("mul", "add")], _elementwise),
    "torch.einsum": _einsum,
}
"""Patched function -> FLOPs and MACs of one call of it."""


def _predict(which: int, calls: Calls) -> tuple[int, Mapping[str, int]]:
    call = calls.with_gradients
    if next(call.module.parameters(), None) is None:
        raise Unpredicted("calflops fails with StopIteration on a module without parameters, and leaves torch patched")
    refuse_recurrent(call, "calflops")
    own: Counter[nn.Module] = Counter()
    kinds: set[str] = set()
    for made in call.functions:
        if (rule := _FUNCTIONS.get(made.name)) is not None:
            counted = applied("calflops", rule, *made.args, **made.kwargs)[which]
            own[made.inside] += counted
            kinds |= {made.name} if counted else set()
    total = over_children(call.module, own, lambda layer: False)
    return int(total), unseen(call, lambda operator: not kinds.isdisjoint(operator.functions))


def _macs(calls: Calls) -> tuple[int, Mapping[str, int]]:
    return _predict(1, calls)


def _flops(calls: Calls) -> tuple[int, Mapping[str, int]]:
    return _predict(0, calls)


RULES = (
    Rule(
        "calflops MACs",
        "0.3.2",
        1,
        "functional convolutions, linear layers and torch.matmul; no einsum, no bias, nothing else (DeepSpeed's profiler likewise)",
        _macs,
        60,
    ),
    Rule(
        "calflops FLOPs",
        "0.3.2",
        2,
        "2 for each MAC of convolutions, linear layers, matmul and einsum (four digits), biases and activations at 1, norms at 4 "
        "or 5, interpolation by its size without channels or its input (DeepSpeed's profiler likewise)",
        _flops,
        61,
    ),
)
