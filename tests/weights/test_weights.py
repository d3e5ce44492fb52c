"""Weights in every released layout, and what is said of those that do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import upbench
from upbench.errors import WeightsError


def test_a_path_a_checkpoint_and_a_state_dict(tmp_path: Path) -> None:
    source = upbench.build("carafe", 16, seed=1)
    state = source.state_dict()
    torch.save(state, tmp_path / "plain.pth")
    torch.save({"state_dict": state, "epoch": torch.tensor(3)}, tmp_path / "checkpoint.pth")
    for weights in (tmp_path / "plain.pth", str(tmp_path / "checkpoint.pth"), state):
        module = upbench.load_weights(upbench.build("carafe", 16, seed=2), weights)
        assert all(torch.equal(a, b) for a, b in zip(module.parameters(), source.parameters(), strict=True))


def test_a_prefix_takes_one_upsampler_out_of_a_model() -> None:
    source = upbench.build("ldaaqu", 32, seed=1)
    model = {f"neck.lau.0.{key}": value for key, value in source.state_dict().items()}
    model["backbone.conv1.weight"] = torch.zeros(1)
    module = upbench.load_weights(upbench.build("ldaaqu", 32, seed=2), model, prefix="neck.lau.0.")
    assert torch.equal(module.proj_q.weight, source.proj_q.weight)
    with pytest.raises(WeightsError, match=r"They fit with prefix='neck\.lau\.0\.'"):
        upbench.load_weights(module, {k: v for k, v in model.items() if k.startswith("neck")})
    with pytest.raises(WeightsError, match=r"no key starts with 'neck\.lau\.9\.'"):
        upbench.load_weights(module, model, prefix="neck.lau.9.")


@pytest.mark.parametrize("name", ["dysample+", "dysample-s+"])
def test_dysample_with_and_without_a_bias_on_scope(name: str) -> None:
    module = upbench.build(name, 32, seed=0)
    without = module.state_dict()
    assert "scope.bias" not in without
    bias = torch.full((without["scope.weight"].shape[0],), 0.5)
    upbench.load_weights(module, {**without, "scope.bias": bias})
    assert torch.equal(module.scope.bias, bias)
    upbench.load_weights(module, without)
    assert module.scope.bias is None


def test_a_bias_on_scope_is_gone_again_when_the_rest_does_not_fit() -> None:
    module = upbench.build("dysample+", 32, seed=0)
    state = {**module.state_dict(), "scope.bias": torch.zeros(32), "stray": torch.zeros(1)}
    with pytest.raises(WeightsError, match="stray is not a key"):
        upbench.load_weights(module, state)
    assert module.scope.bias is None


def test_pixel_shuffle_of_mmcv() -> None:
    module = upbench.build("pixelshuffle", 8, seed=0)
    state = {key.replace("0.", "upsample_conv."): value + 1 for key, value in module.state_dict().items()}
    upbench.load_weights(module, state)
    assert torch.equal(module[0].weight, state["upsample_conv.weight"])


def test_sapa_with_norm_does_not_take_weights_without() -> None:
    """GroupNorm is a setting of the module, not of the weights: built alike, both layouts load."""
    without = upbench.build("sapa-b", 32, norm=False).state_dict()
    upbench.load_weights(upbench.build("sapa-b", 32, norm=False), without)
    with pytest.raises(WeightsError, match=r"norm_y\.weight is missing; .*Build the module with the settings"):
        upbench.load_weights(upbench.build("sapa-b", 32), without)


def test_what_does_not_fit_is_named_and_nothing_is_loaded() -> None:
    module = upbench.build("carafe", 16, seed=0)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    state = upbench.build("carafe", 32, seed=1).state_dict()
    state["channel_compresor.bias"] = state.pop("channel_compressor.bias")
    with pytest.raises(WeightsError) as caught:
        upbench.load_weights(module, state)
    text = str(caught.value)
    assert "channel_compressor.bias is missing" in text
    assert "channel_compresor.bias is not a key of the module; did you mean 'channel_compressor.bias'?" in text
    assert "channel_compressor.weight has shape [64, 32, 1, 1], but the module's is [64, 16, 1, 1]" in text
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


@pytest.mark.parametrize("content", [b"", b"not weights", None])
def test_files_that_are_no_weights(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.pth"
    if content is None:
        with pytest.raises(WeightsError, match="there is no such file"):
            upbench.load_weights(upbench.build("carafe", 16), path)
        return
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        upbench.load_weights(upbench.build("carafe", 16), path)
    torch.save([1, 2], path)
    with pytest.raises(WeightsError, match="holds a list, not a state dict"):
        upbench.load_weights(upbench.build("carafe", 16), path)
