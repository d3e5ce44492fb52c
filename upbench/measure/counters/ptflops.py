"""ptflops, in both of its backends: hooks on layers and patched functions (pytorch), or dispatched operators (aten)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from upbench.measure.counters._call import Calls, OperatorCall, Shaped
from upbench.measure.counters._rule import Rule, applied, names, over_children, refuse_recurrent, unseen

RELEASE = "0.7.5"


def _convolution(layer: Any, given: Any, out: Any) -> int:
    transposed = isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)
    positions = given[0].shape[0] * math.prod((given[0] if transposed else out).shape[2:])
    kernel = math.prod(layer.kernel_size) * layer.in_channels * (layer.out_channels // layer.groups)
    return kernel * positions + (given[0].shape[0] * math.prod(out.shape[1:]) if layer.bias is not None else 0)


def _linear(layer: Any, given: Any, out: Any) -> int:
    each = given[0].shape[-1] * out.shape[-1] + (out.shape[-1] if layer.bias is not None else 0)
    return each * math.prod(given[0].shape[:-1])


def _norm(layer: Any, given: Any, out: Any) -> int:
    return given[0].numel() * (2 if getattr(layer, "affine", False) else 1)


def _attention(layer: Any, given: Any, out: Any) -> int:
    q, k, v = given
    n, batch = (1, q.shape[0]) if layer.batch_first else (0, q.shape[1])
    queries, keys, values = q.shape[n], k.shape[n], v.shape[n]
    q_dim, k_dim, v_dim = q.shape[2], k.shape[2], v.shape[2]
    assert q_dim == layer.embed_dim
    total = queries * q_dim + queries * q_dim**2 + keys * k_dim**2 + values * v_dim**2
    if layer.in_proj_bias is not None:
        total += (queries + keys + values) * q_dim
    heads = layer.num_heads
    total += heads * queries * keys * (q_dim // heads + 1 + v_dim // heads)
    return (total + queries * v_dim * (v_dim + 1)) * batch


_LAYERS: dict[type, Callable[[Any, Any, Any], int]] = {
    **dict.fromkeys(
        (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), _convolution
    ),
    **dict.fromkeys(
        (nn.ReLU, nn.PReLU, nn.ELU, nn.LeakyReLU, nn.ReLU6, nn.GELU), lambda layer, given, out: out.numel()
    ),
    **{
        getattr(nn, f"{kind}Pool{n}d"): lambda layer, given, out: given[0].numel()
        for kind in ("Max", "Avg", "AdaptiveMax", "AdaptiveAvg")
        for n in (1, 2, 3)
    },
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.LayerNorm), _norm),
    **dict.fromkeys((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), _norm),
    nn.Linear: _linear,
    nn.Upsample: lambda layer, given, out: math.prod(out.shape[1:]),
    nn.MultiheadAttention: _attention,
}
"""Exact class -> what a hook adds for one call."""


def _values(x: Any, *args: Any, **kwargs: Any) -> int:
    return x.numel()


def _resized(x: Any, size: Any = None, scale_factor: Any = None, *args: Any, **kwargs: Any) -> float:
    if size is not None:
        side = math.prod(size) if isinstance(size, tuple | list) else int(size) ** (x.dim() - 2)
        return side * math.prod(x.shape[:2])
    assert scale_factor is not None
    if isinstance(scale_factor, tuple) and len(scale_factor) == x.dim() - 2:
        return x.numel() * int(math.prod(scale_factor))
    return x.numel() * float(scale_factor ** (x.dim() - 2))


def _product(left: Any, right: Any, *args: Any, **kwargs: Any) -> int:
    return math.prod(left.shape) * right.shape[-1]


def _added_product(added: Any, left: Any, right: Any, *, beta: Any = 1, alpha: Any = 1, out: Any = None) -> int:
    return _product(left, right) + (math.prod(added.shape) if beta != 0 else 0)


def elementwise(left: Any, right: Any, *args: Any, **kwargs: Any) -> int:
    """Return the larger of two sizes in every dimension, counted from the first, multiplied.

    Args:
        left: One factor or term.
        right: The other.
        args: What is not read.
        kwargs: What is not read.
    """
    tensors = [value for value in (left, right) if isinstance(value, Shaped)]
    if len(tensors) < 2:
        return math.prod(tensors[0].shape) if tensors else 1
    dims = max(value.dim() for value in tensors)
    return math.prod(max(v.shape[n] if n < v.dim() else 1 for v in tensors) for n in range(dims))


_FUNCTIONS: dict[str, Callable[..., float]] = {
    **dict.fromkeys(names(["relu", "prelu", "elu", "relu6", "gelu", "silu", "softmax"]), _values),
    **dict.fromkeys(names(f"{kind}_pool{n}d" for kind in ("avg", "max") for n in (1, 2, 3)), _values),
    **dict.fromkeys(names(f"adaptive_{kind}_pool{n}d" for kind in ("avg", "max") for n in (1, 2, 3)), _values),
    **dict.fromkeys(names(("upsample", "interpolate")), _resized),
    **dict.fromkeys([f"{of}.{name}" for of in ("torch", "Tensor") for name in ("matmul", "mm", "bmm")], _product),
    **dict.fromkeys(("torch.addmm", "Tensor.addmm", "torch.baddbmm"), _added_product),
    **dict.fromkeys([f"{of}.{name}" for of in ("torch", "Tensor") for name in ("mul", "add")], elementwise),
}
"""Patched function -> what one call of it adds. Calls through operators, as a * b and a @ b, are not seen."""


def _by_hooks(calls: Calls) -> tuple[int, Mapping[str, int]]:
    call = calls.with_gradients
    refuse_recurrent(call, "ptflops")
    own: Counter[nn.Module] = Counter()
    for made in call.layers:
        if (rule := _LAYERS.get(type(made.layer))) is not None:
            own[made.layer] += applied("ptflops", rule, made.layer, made.given, made.out)
    # It divides by the batch of the first positional argument; two inputs it takes by keyword only.
    images = len(call.inputs[0]) if len(call.inputs) == 1 else 1
    hooked = over_children(call.module, own, lambda layer: type(layer) in _LAYERS) / max(images, 1)
    patched = sum(
        applied("ptflops", _FUNCTIONS[f.name], *f.args, **f.kwargs) for f in call.functions if f.name in _FUNCTIONS
    )

    def seen(operator: OperatorCall) -> bool:
        return own[operator.inside] > 0 or any(name in _FUNCTIONS for name in operator.functions)

    return int(hooked + patched), unseen(call, seen)


def _convolved(args: Any, out: Any) -> int:
    x, weight, bias, _, _, _, transposed, _, _ = args
    positions = math.prod((x if transposed else out).shape[2:])
    added = x.shape[0] * math.prod(out.shape[1:]) if bias is not None else 0
    return x.shape[0] * math.prod(weight.shape) * positions + added


def _added(args: Any, out: Any) -> int:
    return math.prod(args[1].shape) * args[2].shape[1] + (out.numel() if args[0] is not None else 0)


_OPERATORS: dict[str, Callable[[Any, Any], int]] = {
    **dict.fromkeys(("aten::mm", "aten::matmul", "aten::bmm"), lambda args, out: _product(*args)),
    "aten::addmm": _added,
    **dict.fromkeys(("aten::convolution", "aten::_convolution"), _convolved),
}


def _by_operators(calls: Calls) -> tuple[int, Mapping[str, int]]:
    call = calls.with_hooked_children
    counted = [o for o in call.operators if o.name in _OPERATORS]
    total = sum(applied("ptflops aten", _OPERATORS[o.name], o.args, o.out) for o in counted)
    return total, unseen(call, lambda operator: operator.name in _OPERATORS)


RULES = (
    Rule(
        "ptflops",
        RELEASE,
        1,
        "layers by their exact class: convolutions and linear layers with bias, norms at 1 or 2, activations and pooling at 1; "
        "patched functions: matmul (no einsum, no a @ b), torch.mul, softmax and interpolate at 1 a value, so that a layer that "
        "calls one counts twice",
        _by_hooks,
        50,
    ),
    Rule(
        "ptflops aten",
        RELEASE,
        1,
        "convolutions and addmm with bias, matrix products (einsum too); no fused op, no sampling",
        _by_operators,
        51,
    ),
)
