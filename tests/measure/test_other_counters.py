"""Counters of others see modules in their default backend as they see the plain ones."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import upbench
from tests.upsamplers.test_contract import drawn, setting_of
from upbench import registry
from upbench.measure import counting, macs


def counted(name: str) -> macs.Macs:
    card = registry.get(name)
    setting = setting_of(card, None, 6, 8, batch=1)
    return counting.count(registry.construct(card, setting, 0, "auto").eval(), drawn(setting, card))


def flops(name: str, backend: str) -> int:
    card = registry.get(name)
    setting = setting_of(card, None, 6, 8, batch=1)
    module, tensors = registry.construct(card, setting, 0, backend).eval(), drawn(setting, card)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(*tensors)
    return int(counter.get_total_flops())


@pytest.mark.parametrize("name", [card.name for card in registry.builtin().values() if card.fused_ops])
def test_torchs_counter_sees_no_less_of_the_fused_form(name: str) -> None:
    """Of the plain form it sees products, and no sampling: CARAFE is the same, LDA-AQU was 0."""
    # Of the rotations of JAFAR and AnyUp the fused form makes no product: a sum of two angles is of known sines.
    angles = counted(name).by_op["aten::linear"] if name in ("jafar", "anyup") else 0
    assert flops(name, "auto") + 2 * angles >= flops(name, "eager") > 0


@pytest.mark.parametrize("name", ["ldaaqu", "sapa-d", "jafar", "anyup", "naf", "carafe", "dysample"])
def test_torchs_counter_sees_every_product_of_the_fused_form(name: str) -> None:
    """What our counter has as convolution and gather, the three counts of one call, is what torch's is told of."""
    ours = counted(name)
    angles = ours.by_op["aten::linear"] if name in ("jafar", "anyup") else 0
    assert flops(name, "fused") == 2 * (ours.by_kind["conv"] + ours.by_kind["gather"] - angles)


def test_carafe_is_the_same_whatever_backend() -> None:
    per_pixel = 32 * 64 + 64 * 9 * 100 + 25 * 4 * 32
    assert flops("carafe", "auto") == flops("carafe", "eager") == 2 * per_pixel * 6 * 8


@pytest.mark.parametrize("name", ["carafe", "ldaaqu", "sapa-d"])
def test_hooks_on_layers_are_called_in_the_default_backend(name: str) -> None:
    module = upbench.build(name, 32, seed=0).eval()
    x, guide = torch.randn(1, 32, 6, 8), torch.randn(1, 32, 12, 16)
    tensors = (x, guide) if registry.get(name).guided else (x,)
    with torch.no_grad():
        expected = module(*tensors)
        called: list[str] = []
        hooks = [
            layer.register_forward_hook(lambda *_, of=of: called.append(of))
            for of, layer in module.named_modules()
            if isinstance(layer, torch.nn.Conv2d)
        ]
        torch.testing.assert_close(module(*tensors), expected, rtol=1e-4, atol=1e-4)
    assert len(set(called)) == len(hooks) > 0


def test_torchinfo_and_thop_count_the_convolutions_of_carafe() -> None:
    torchinfo = pytest.importorskip("torchinfo", reason="needs torchinfo, the extra counters")
    thop = pytest.importorskip("thop", reason="needs thop, the extra counters")
    module, x = upbench.build("carafe", 32, seed=0).eval(), torch.randn(1, 32, 6, 8)
    conv = (32 * 64 + 64 * 9 * 100) * 48
    assert torchinfo.summary(module, input_data=(x,), verbose=0).total_mult_adds == conv + (64 + 100) * 48
    assert thop.profile(module, (x,), verbose=False)[0] == conv
