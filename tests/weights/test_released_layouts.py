"""The upsamplers of 2017 to 2026 out of whole checkpoints, as their repositories write them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import upbench
from upbench.errors import WeightsError

OTHER = torch.zeros(3)


def under(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in module.state_dict().items()}


def check(name: str, settings: dict[str, Any], write: Any, **how: str) -> None:
    """A checkpoint that `write` makes of one module loads into another."""
    source, module = (upbench.build(name, seed=seed, **settings) for seed in (1, 2))
    upbench.load_weights(module, write(source), **how)
    own = module.state_dict()
    assert all(torch.equal(own[key], value) for key, value in source.state_dict().items())


def test_a_mask_decoder_of_sam() -> None:
    def whole(module: nn.Module) -> dict[str, Tensor]:
        return {
            **under("mask_decoder.", module),
            "image_encoder.pos_embed": OTHER,
            "mask_decoder.iou_token.weight": OTHER,
        }

    check("sam-mask", {"channels": 32}, whole)


def test_a_mask_decoder_of_sam_2() -> None:
    def whole(module: nn.Module) -> dict[str, Any]:
        return {"model": {**under("sam_mask_decoder.", module), "memory_attention.norm.weight": OTHER}}

    check("sam2-mask", {"channels": 32}, whole)


def test_the_mask_of_raft() -> None:
    """In the original repository, trained in parallel, and in torchvision."""

    def princeton(module: nn.Module) -> dict[str, Tensor]:
        names = {"convrelu.0.": "mask.0.", "conv.": "mask.2."}
        state = {}
        for key, value in module.state_dict().items():
            ours = next(front for front in names if key.startswith(front))
            state[f"module.update_block.{names[ours]}{key.removeprefix(ours)}"] = value
        return {**state, "module.fnet.conv1.weight": OTHER, "module.update_block.flow_head.conv1.weight": OTHER}

    def torchvision(module: nn.Module) -> dict[str, Tensor]:
        return {**under("mask_predictor.", module), "feature_encoder.convnormrelu.0.weight": OTHER}

    settings = {"channels": 2, "scale": 8, "guide_channels": 16}
    check("convex", settings, torchvision, prefix="mask_predictor")
    with pytest.raises(WeightsError, match="flow_head"):  # of the whole update block, the mask is one of several heads
        check("convex", settings, princeton, prefix="module.update_block")
    check("convex", settings, lambda m: {k: v for k, v in princeton(m).items() if "mask" in k}, prefix="update_block")


def test_the_upsampler_of_featup() -> None:
    def whole(module: nn.Module) -> dict[str, Any]:
        return {"state_dict": {**under("upsampler.", module), "downsampler.temp": OTHER, "model.0.cls_token": OTHER}}

    check("jbu-stack", {"channels": 16}, whole, prefix="upsampler")


def test_the_hub_models_of_loftup() -> None:
    """The upsampler stands beside the norm of its input, or alone."""

    def hub(module: nn.Module) -> dict[str, Tensor]:
        state = module.state_dict()
        return {key if key.startswith("channelnorm.") else f"upsampler.{key}": value for key, value in state.items()}

    check("loftup", {"channels": 32, "input_norm": True}, hub)
    check("loftup", {"channels": 32}, lambda module: under("upsampler.", module))


def test_checkpoints_of_training() -> None:
    """JAFAR's holds its state under its name, others under the usual ones; distributed training adds a prefix."""
    check("jafar", {"channels": 32}, lambda module: {"jafar": module.state_dict(), "epoch": 3}, key="jafar")
    check("jafar", {"channels": 128}, lambda module: {"jafar": under("module.", module)}, key="jafar")
    check("anyup", {"channels": 32}, lambda module: {"state_dict": under("module.", module)})
    check("naf", {"channels": 32}, lambda module: module.state_dict())
    check("lift", {"channels": 32}, lambda module: under("module.", module))
    check(
        "freqfusion",
        {"channels": 32, "resample": True},
        lambda m: under("neck.freqfusions.1.", m),
        prefix="neck.freqfusions.1",
    )
    check(
        "dlu",
        {"channels": 32},
        lambda module: under("neck.upsample_modules.0.", module),
        prefix="neck.upsample_modules.0",
    )


def test_one_checkpoint_serves_every_width() -> None:
    """No parameter of AnyUp and NAF depends on the number of channels."""
    for name in ("anyup", "naf"):
        check(
            name,
            {"channels": 32},
            lambda module, name=name: upbench.load_weights(
                upbench.build(name, 64, seed=5), module.state_dict()
            ).state_dict(),
        )
