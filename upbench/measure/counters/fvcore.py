"""fvcore: a trace, whose operators have handles or are listed as unsupported. The handles of upbench are not among them."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy

from upbench.measure import macs
from upbench.measure.counters._call import Calls
from upbench.measure.counters._rule import Rule, Unpredicted, applied
from upbench.measure.trace import inputs_of, outputs_of, shape

Handle = Callable[[Sequence[Any], Sequence[Any]], float]


def _linear(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    weight = _shape(inputs[1])
    return math.prod(_shape(inputs[0])) * weight[0]


def _matmul(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    left, right = (_shape(value) for value in inputs)
    assert left[-1] == right[-2]
    return math.prod(left) * right[-1]


def _convolution(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    x, weight, out = _shape(inputs[0]), _shape(inputs[1]), _shape(outputs[0])
    transposed = inputs[6].toIValue()
    return x[0] * math.prod(weight) * math.prod((x if transposed else out)[2:])


def _einsum(inputs: Sequence[Any], outputs: Sequence[Any]) -> float:
    """Half of the optimised FLOPs that numpy prints, with the four digits that it prints; bmm exactly."""
    equation = inputs[0].toIValue().replace(" ", "")
    operands = [_shape(value) for value in inputs_of(inputs[1].node())]
    letters = OrderedDict((letter, 0) for letter in equation if letter.isalpha())
    equation = equation.translate({ord(letter): 97 + n for n, letter in enumerate(letters)})
    if equation == "abc,abd->acd":
        return math.prod(operands[0]) * operands[-1][-1]
    if equation == "abc,adc->adb":
        return math.prod(operands[0]) * operands[-1][1]
    arrays = [numpy.broadcast_to(numpy.zeros(()), tuple(operand)) for operand in operands]
    printed = numpy.einsum_path(equation, *arrays, optimize="optimal")[1]
    line = next(line for line in str(printed).split("\n") if "optimized flop" in line.lower())
    return float(numpy.floor(float(line.split(":")[-1]) / 2))


def _norm(affine: int) -> Handle:
    return lambda inputs, outputs: math.prod(_shape(inputs[0])) * (5 if shape(inputs[affine]) is not None else 4)


def _batch_norm(inputs: Sequence[Any], outputs: Sequence[Any]) -> float:
    if inputs[5].toIValue():
        return _norm(1)(inputs, outputs)
    return math.prod(_shape(inputs[0])) * (2 if shape(inputs[1]) is not None else 1)


def _values(of_input: int, of_output: int) -> Handle:
    def handle(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
        given = of_input * math.prod(_shape(inputs[0])) if of_input else 0
        return given + (of_output * math.prod(_shape(outputs[0])) if of_output else 0)

    return handle


_HANDLES: dict[str, Handle] = {
    "aten::addmm": lambda inputs, outputs: math.prod(_shape(inputs[1])) * _shape(inputs[2])[1],
    "aten::bmm": lambda inputs, outputs: math.prod(_shape(inputs[0])) * _shape(inputs[1])[-1],
    "aten::_convolution": _convolution,
    "aten::einsum": _einsum,
    "aten::matmul": _matmul,
    "aten::mm": _matmul,
    "aten::linear": _linear,
    "aten::batch_norm": _batch_norm,
    "aten::group_norm": _norm(2),
    "aten::layer_norm": _norm(2),
    "aten::instance_norm": _norm(1),
    "aten::upsample_nearest2d": _values(0, 1),
    "aten::upsample_bilinear2d": _values(0, 4),
    "aten::adaptive_avg_pool2d": _values(1, 0),
    "aten::grid_sampler": _values(0, 4),
}


def _shape(value: Any) -> list[int]:
    known = shape(value)
    assert known is not None
    return known


def _predict(calls: Calls) -> tuple[int, Mapping[str, int]]:
    try:
        trace = calls.trace
    except Exception as error:  # torch.jit refuses with errors of many kinds
        raise Unpredicted(f"fvcore fails: the module cannot be traced ({type(error).__name__})") from error
    total = 0.0
    left_out: Counter[str] = Counter()
    for name, node in trace.nodes():
        if (handle := _HANDLES.get(name)) is not None:
            total += applied("fvcore", handle, inputs_of(node), outputs_of(node))
        else:
            left_out[name] += macs.of_node(trace, name, node) or 0
    return int(total), left_out


RULES = (
    Rule(
        "fvcore",
        "0.1.5.post20221221",
        1,
        "convolutions, matrix products and einsum (four digits), norms at 4 or 5, batch norm at 1 or 2, bilinear interpolation "
        "and grid_sample at 4 a value, nearest at 1; without the handles of upbench, so of what ops are made of",
        _predict,
        0,
    ),
)
