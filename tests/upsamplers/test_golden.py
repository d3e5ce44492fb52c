"""Every upsampler equals what its authors released: output, and the gradients of inputs and parameters."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests import references
from upbench import registry


@pytest.mark.parametrize("path", references.paths(), ids=lambda p: p.stem)
def test_equals_the_release(path: Path) -> None:
    golden = references.load(path)
    module = golden.build()
    inputs = [golden.tensor(name).requires_grad_() for name in ("x", "guide") if name in golden.arrays]
    out = module(*inputs)
    assert references.error(out, golden.tensor("y")) <= references.OUTPUT
    (out * golden.tensor("r")).sum().backward()
    for name, tensor in zip(("grad_x", "grad_guide"), inputs, strict=False):
        if name in golden.arrays:
            assert tensor.grad is not None
            assert references.error(tensor.grad, golden.tensor(name)) <= references.GRADIENT, name
    own = dict(module.named_parameters())
    # What a vector of the original A2U has for its downsampling branch is no concern of ours.
    expected = {k: v for k, v in module.adapt(golden.meta["param_grad"]).items() if k in own}
    assert set(expected) == set(own)
    largest = max((v["l2"] for v in expected.values()), default=0.0)
    for name, value in expected.items():
        parameter = own[name]
        gradient = torch.zeros(1) if parameter.grad is None else parameter.grad.double()
        # A sum of n terms is known to the square root of n times their size; a norm to its own size.
        room = references.GRADIENT * max(value["l2"], 1e-3 * largest)
        assert abs(gradient.norm().item() - value["l2"]) <= room, name
        assert abs(gradient.sum().item() - value["sum"]) <= room * parameter.numel() ** 0.5, name


def test_there_is_a_vector_for_every_released_upsampler() -> None:
    """Interpolation is torch's own, and LA-AQU was never released."""
    covered = {references.load(path).name for path in references.paths()}
    assert set(registry.builtin()) - covered <= {"nearest", "bilinear", "bicubic", "laaqu"}
