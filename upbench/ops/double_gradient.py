"""The gradients of a fused op where they are themselves differentiated: those of its eager form, recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def recorded_slopes(
    form: Callable[..., Tensor], tensors: Sequence[Tensor], grad: Tensor | None = None
) -> tuple[Tensor, ...]:
    """Return the gradients of a form in some tensors, so that they can be differentiated again.

    Args:
        form: takes the tensors.
        tensors: each counts as given: where one was made of another, the way between them is none of the form's.
        grad: the gradient of what the form returns; None for a number, whose own gradients are asked for.
    """
    with torch.enable_grad():
        nodes = [t.view_as(t) if t.requires_grad else t.detach().requires_grad_() for t in tensors]
        return torch.autograd.grad(form(*nodes), nodes, grad, create_graph=True)
