"""What trains and keeps models: DDP, save_pretrained, autocast of bf16, optimizers made after, EMA and checkpoints of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import upbench
from tests.models import torchvision_operators
from tests.models.hosts import image, segmenter

pytestmark = pytest.mark.filterwarnings("ignore")


def gradients(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    model(x).square().sum().backward()
    return {name.removeprefix("module."): p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_ddp_reduces_the_gradients_of_the_upsamplers_too(tmp_path: Path) -> None:
    model, x = upbench.replace(segmenter(), "carafe", inputs=image(), compressed=8), image()
    want = gradients(model, x)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(model)
        found = gradients(wrapped, x)
    finally:
        torch.distributed.destroy_process_group()
    assert any(name.startswith("upsamplers.") for name in want)
    assert found.keys() == want.keys()
    for name, value in want.items():
        torch.testing.assert_close(found[name], value)


def tiny() -> Any:
    torchvision_operators.available()  # transformers imports torchvision where that is installed
    transformers = pytest.importorskip("transformers")
    config = transformers.SegformerConfig(
        num_labels=3,
        hidden_sizes=[8, 8, 8, 8],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 1, 1],
        decoder_hidden_size=8,
    )
    torch.manual_seed(0)
    return transformers.SegformerForSemanticSegmentation(config).eval()


def logits(model: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(pixel_values=x).logits


def test_save_pretrained_keeps_host_and_upsamplers(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    model, x = tiny(), image(64, 64)
    plain = logits(model, x)
    upbench.replace(model, "dysample", inputs={"pixel_values": x}, seed=3)
    replaced = logits(model, x)
    model.save_pretrained(tmp_path)
    state = safetensors.load_file(tmp_path / "model.safetensors")
    assert any(name.startswith("upsamplers.") for name in state)
    # The library knows the host's weights, and leaves the others alone.
    host = type(tiny()).from_pretrained(tmp_path).eval()
    assert torch.equal(logits(host, x), plain)
    # Replaced again, it takes them; the file has the library's older names for the host's own weights.
    again = upbench.replace(host, "dysample", inputs={"pixel_values": x}, seed=4)
    own = {name.removeprefix("upsamplers."): value for name, value in state.items() if name.startswith("upsamplers.")}
    again.upsamplers.load_state_dict(own)
    assert torch.equal(logits(again, x), replaced)


def test_gradient_checkpointing_of_transformers_keeps_the_gradients() -> None:
    model, x = tiny(), image(64, 64)
    upbench.replace(model, "dysample", inputs={"pixel_values": x})
    calls: list[int] = []
    layer = next(m for m in model.modules() if type(m).__name__ == "SegformerLayer")
    next(layer.children()).register_forward_pre_hook(lambda *_: calls.append(1))

    def gradients() -> dict[str, Tensor]:
        model.zero_grad()
        model(pixel_values=x).logits.square().sum().backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    want = gradients()
    assert len(calls) == 1
    model.gradient_checkpointing_enable()
    model.train()  # checkpoints are of training alone; what draws or keeps statistics stays as it was
    for module in model.modules():
        if not list(module.children()):
            module.eval()
    found = gradients()
    assert len(calls) == 3  # the layer ran once more for its gradients
    assert any(name.startswith("upsamplers.") for name in want)
    assert found.keys() == want.keys()
    for name, value in want.items():
        torch.testing.assert_close(found[name], value)


def test_a_model_of_transformers_learns_by_its_own_loss() -> None:
    model, x = tiny(), image(64, 64)
    upbench.replace(model, "dysample", inputs={"pixel_values": x})
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    before = {name: p.clone() for name, p in model.upsamplers.named_parameters()}
    model.train()
    labels = torch.zeros(1, 64, 64, dtype=torch.long)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(pixel_values=x, labels=labels).loss
    loss.backward()
    optimizer.step()
    assert all(not torch.equal(before[name], p) for name, p in model.upsamplers.named_parameters())
