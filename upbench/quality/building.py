"""Builds the networks of runs: one seed gives every upsampler the same host."""

from __future__ import annotations

import zlib
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upbench import registry
from upbench.cards import Setting
from upbench.quality import kinds
from upbench.quality.candidates import SCALE
from upbench.quality.protocol import Protocol, Run

MOVED = 1e-5
"""By how much the weights of a host are moved where an upsampler has none of its own."""


class GuidedByImage(nn.Module):
    """An upsampler that the picture guides, brought to the size of the result; the network keeps the picture for it."""

    def __init__(self, upsampler: nn.Module) -> None:
        super().__init__()
        self.upsampler = upsampler
        self.image: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Upsample x, guided by the picture that was last given."""
        if self.image is None:
            raise ValueError("no picture to guide by; call the network, not its host")
        size = [SCALE * side for side in x.shape[2:]]
        out: Tensor = self.upsampler(x, F.interpolate(self.image, size, mode="area"))
        return out


class Network(nn.Module):
    """A host, which hands the picture to the upsamplers that want it."""

    def __init__(self, host: nn.Module) -> None:
        super().__init__()
        self.host = host

    def forward(self, images: Tensor) -> Tensor:
        """Return what the host makes of images."""
        for module in self.host.modules():
            if isinstance(module, GuidedByImage):
                module.image = images
        out: Tensor = self.host(images)
        return out


def network(run: Run, protocol: Protocol, classes: int) -> nn.Module:
    """Return the network of a run with its first weights.

    Args:
        run: The run.
        protocol: The protocol.
        classes: Classes of the data.
    """
    host = kinds.load("host", protocol.host)
    places = [_upsampler(run, protocol, place) for place in range(host.POINTS)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_seed("host", run.seed))
        built: nn.Module = host.build(classes, protocol.channels, places.__getitem__, run.candidate.guide == "feature")
    if run.repeat and not any(True for place in places for _ in place.parameters()):
        generator = torch.Generator().manual_seed(_seed("moved", run.seed, run.repeat))
        with torch.no_grad():
            for parameter in built.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=MOVED)
    return Network(built)


def _upsampler(run: Run, protocol: Protocol, place: int) -> nn.Module:
    one = run.candidate
    guide_channels = one.guide_channels or protocol.channels
    setting = Setting(protocol.channels, guide_channels, SCALE, one.params)
    seed = _seed("upsampler", run.seed, run.repeat, place)
    built = registry.construct(registry.get(one.upsampler), setting, seed, one.backend)
    return GuidedByImage(built) if one.guide == "image" else built


def _seed(what: str, *numbers: int) -> int:
    """A seed of its own for each purpose, so that none of them is used twice."""
    return zlib.crc32(f"{what} {numbers}".encode())


seed_of = partial(_seed, "run")
"""The seed of what a training itself draws."""
