"""torchinfo: parameters times output pixels, of layers without children."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from upbench.measure.counters._call import Calls, Shaped
from upbench.measure.counters._rule import Rule, Unpredicted, unseen


def _size(out: Any) -> tuple[int, ...]:
    first = out[0] if isinstance(out, tuple | list) and out else out
    if not isinstance(first, Shaped):
        raise Unpredicted(
            "torchinfo has rules of its own for layers that return no tensors, which are not repeated here"
        )
    return first.shape


def _layer(layer: nn.Module, out: Any) -> int:
    """Multiply-accumulates of a layer: by the names of its class and of its parameters."""
    parameters = list(layer.named_parameters())
    if not parameters:
        return 0
    size, total = _size(out), 0
    pixels = math.prod(size[:1] + size[2:])
    for name, parameter in parameters:
        if name in ("weight", "bias"):
            total += parameter.numel() * (pixels if "Conv" in type(layer).__name__ else size[0])
        elif "weight" in name or "bias" in name:
            total += parameter.numel() * math.prod(size[:2])
    return total


def _predict(calls: Calls) -> tuple[int, Mapping[str, int]]:
    call = calls.without_gradients
    leaves = [made for made in call.layers if not any(True for _ in made.layer.children())]
    counted = {made.layer: _layer(made.layer, made.out) for made in leaves}
    total = sum(_layer(made.layer, made.out) for made in leaves)
    return total, unseen(call, lambda operator: counted.get(operator.inside, 0) > 0)


RULES = (
    Rule(
        "torchinfo",
        "1.8.0",
        1,
        "weights and biases of layers without children, times output pixels in classes named Conv (a transposed one at every "
        "output pixel), once an image in others; no functions, no products",
        _predict,
        30,
    ),
)
