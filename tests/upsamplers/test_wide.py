"""Upsamplers of torch's layers in half precision, on a CPU that has no fast products of it."""

from __future__ import annotations

import copy

import pytest
import torch

import upbench
from upbench.ops.cpu import products

GUIDES = {"lift": 3, "naf": 3, "anyup": 3, "loftup": 3, "deconv": 0, "pixelshuffle": 0}


@pytest.fixture
def _slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "SLOW", (torch.bfloat16, torch.float16))


def case(name: str, dtype: torch.dtype) -> tuple[torch.nn.Module, list[torch.Tensor]]:
    module = upbench.build(name, 32, 2, seed=0, **({"dim": 32} if name in ("naf", "anyup") else {})).to(dtype).eval()
    sides = {"lift": (160, 160), "loftup": (20, 20)}.get(name, (24, 24))
    guides = [torch.rand(1, GUIDES[name], *sides).to(dtype)] if GUIDES[name] else []
    return module, [torch.randn(1, 32, 10, 10).to(dtype), *guides]


@pytest.mark.usefixtures("_slow")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", GUIDES)
def test_it_is_float32_rounded_once(name: str, dtype: torch.dtype) -> None:
    module, tensors = case(name, dtype)
    with torch.no_grad():
        found = module(*tensors)
        expected = copy.deepcopy(module).float()(*(t.float() for t in tensors))
    assert found.dtype == dtype
    assert torch.equal(found, expected.to(dtype))
    assert {p.dtype for p in module.parameters()} == {dtype}


@pytest.mark.usefixtures("_slow")
def test_eager_is_left_to_torch() -> None:
    """Which rounds after every layer."""
    module, tensors = case("lift", torch.bfloat16)
    with torch.no_grad():
        wide = module(*tensors)
        module.backend = "eager"  # type: ignore[assignment]
        plain = module(*tensors)
    assert not torch.equal(plain, wide)
    torch.testing.assert_close(plain, wide, rtol=0, atol=0.05)


@pytest.mark.usefixtures("_slow")
def test_gradients_come_through_and_have_the_dtype() -> None:
    module, tensors = case("pixelshuffle", torch.float16)
    tensors[0].requires_grad_()
    module(*tensors).sum().backward()
    for tensor in (*tensors, *module.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.dtype == torch.float16


@pytest.mark.usefixtures("_slow")
def test_what_counts_in_training_is_counted_in_the_module() -> None:
    """The norms of LiFT write their statistics, which a copy of them would lose."""
    module, tensors = case("lift", torch.bfloat16)
    module.train()(*tensors)
    assert module.get_buffer("image_convs_1.1.num_batches_tracked") == 1
