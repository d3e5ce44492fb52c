"""The gradient of `deform_slope_fused`, which is itself a gradient: that of the eager form, differentiated twice."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from upbench.ops.double_gradient import recorded_slopes
from upbench.ops.fused import deform_slope_fused
from upbench.ops.points import point_assemble, sample_points
from upbench.ops.registration import LIBRARY


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs[:4])
    ctx.padding = inputs[4]


def _backward(ctx: Any, ddots: Tensor, dslopes: Tensor) -> tuple[Any, ...]:
    saved = ctx.saved_tensors
    weighted = saved[2] is not None

    def met(source: Tensor, x: Tensor, *others: Tensor) -> Tensor:
        """The gradients in weights and points, times those that are given."""
        points = others[-1]
        weight = others[0] if weighted else torch.ones_like(points[:, :1, ..., 0]).requires_grad_()
        total = (point_assemble(weight, sample_points(x, points, ctx.padding)) * source).sum()
        dots, slopes = torch.autograd.grad(total, (weight, points), create_graph=True)
        return (dots * ddots).sum() + (slopes * dslopes).sum()

    found = list(recorded_slopes(met, [t for t in saved if t is not None]))
    if not weighted:
        found.insert(2, None)  # type: ignore[arg-type]
    return *found, None


torch.library.register_autograd(deform_slope_fused, _backward, setup_context=_keep, lib=LIBRARY)
