"""thop: hooks on layers whose exact class it knows; functions and products are nothing to it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from upbench.measure.counters._call import Calls
from upbench.measure.counters._rule import Rule, over_children, refuse_recurrent, unseen

_UPSAMPLED = {"nearest": 1, "linear": 5, "bilinear": 11, "bicubic": 259}


def _convolution(layer: Any, given: Any, out: Any) -> int:
    # Of a transposed convolution the output is as well multiplied by the whole kernel: stride^2 times too much.
    return math.prod(out.shape) * (given[0].shape[1] // layer.groups) * math.prod(layer.weight.shape[2:])


def _norm(layer: Any, given: Any, out: Any) -> int:
    affine = getattr(layer, "affine", False) or getattr(layer, "elementwise_affine", False)
    return 2 * given[0].numel() * (2 if affine else 1)


def _softmax(layer: Any, given: Any, out: Any) -> int:
    features = given[0].shape[layer.dim]
    return given[0].numel() // features * (3 * features - 1)


def _adaptive_pool(layer: Any, given: Any, out: Any) -> int:
    cell = math.prod(a / b for a, b in zip(given[0].shape[2:], out.shape[2:], strict=True))
    return int((cell + 1) * out.numel())


_LAYERS: dict[type, Callable[[Any, Any, Any], int]] = {
    **dict.fromkeys(
        (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), _convolution
    ),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.LayerNorm), _norm),
    **dict.fromkeys((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), _norm),
    nn.PReLU: lambda layer, given, out: given[0].numel(),
    nn.Softmax: _softmax,
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), lambda layer, given, out: out.numel()),
    **dict.fromkeys((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d), _adaptive_pool),
    nn.Linear: lambda layer, given, out: layer.in_features * out.numel(),
    **dict.fromkeys(
        (nn.Upsample, nn.UpsamplingBilinear2d, nn.UpsamplingNearest2d),
        lambda layer, given, out: _UPSAMPLED.get(layer.mode, 0) * out.numel(),
    ),
}
"""Exact class -> multiply-accumulates of one call. Further classes are known and counted as nothing."""


def _predict(calls: Calls) -> tuple[int, Mapping[str, int]]:
    call = calls.without_gradients
    refuse_recurrent(call, "thop")
    own: Counter[nn.Module] = Counter()
    for made in call.layers:
        if (rule := _LAYERS.get(type(made.layer))) is not None:
            own[made.layer] += rule(made.layer, made.given, made.out)
    total = over_children(call.module, own, lambda layer: type(layer) in _LAYERS)
    return int(total), unseen(call, lambda operator: own[operator.inside] > 0)


RULES = (
    Rule(
        "thop",
        "0.1.1.post2209072238",
        1,
        "layers by their exact class: convolutions and linear layers without bias (a transposed one at every output pixel), "
        "norms but GroupNorm at 2 or 4, nn.Upsample at 1, 11 or 259 a value; no functions, no products",
        _predict,
        40,
    ),
)
