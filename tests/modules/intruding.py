"""Upsamplers of users that reach out of their module: they print, set, end, write to their inputs, keep state, draw."""

from __future__ import annotations

import atexit
import ctypes
import gc
import random
import secrets
import signal
import sys
import warnings
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

print("printed by the import")
warnings.simplefilter("error")
torch.set_num_threads(max(torch.get_num_threads() - 1, 1))
torch.set_default_dtype(torch.float64)
signal.signal(signal.SIGINT, signal.SIG_IGN)
atexit.register(print, "printed at the exit")


class Up(nn.Module):
    """A convolution over nearest neighbours, with what a subclass does before it."""

    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def first(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(self.first(x), scale_factor=2))


class Prints(Up):
    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__(channels, scale)
        print("printed by the constructor")

    def first(self, x: Tensor) -> Tensor:
        print("printed by forward", x.shape)
        sys.__stdout__.write("printed past sys.stdout\n")
        ctypes.CDLL(None).printf(b"printed by C\n")
        return x


class KeepsItsGrid(Up):
    """A tensor made in the first forward, and needed by every backward."""

    grid: Tensor | None = None

    def first(self, x: Tensor) -> Tensor:
        if self.grid is None:
            self.grid = torch.linspace(0.5, 1, x.shape[3], device=x.device, dtype=x.dtype)
        return x * self.grid


class KeepsItsLastOutput(Up):
    """State from call to call, detached as in a recurrent network."""

    last: Tensor | None = None

    def first(self, x: Tensor) -> Tensor:
        out = x if self.last is None else x * (1 + self.last.sigmoid())
        self.last = out.detach()
        return out


class InPlaceFirstLayer(Up):
    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__(channels, scale)
        self.relu = nn.ReLU(inplace=True)

    def first(self, x: Tensor) -> Tensor:
        return self.relu(x)


class WritesToX(Up):
    def first(self, x: Tensor) -> Tensor:
        return x.mul_(1.5)


class WritesUnseen(Up):
    """Past the version counter."""

    def first(self, x: Tensor) -> Tensor:
        x.detach().numpy()[...] *= 1.5
        return x


class WritesToGuide(nn.Module):
    guided = True

    def __init__(self, channels: int, guide_channels: int, scale: int = 2) -> None:
        super().__init__()

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        guide += 1
        return F.interpolate(x, scale_factor=2) * guide.mean(1, keepdim=True)


class Sets(Up):
    """Settings of the process, in every call."""

    def first(self, x: Tensor) -> Tensor:
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.set_default_dtype(torch.float64)
        torch.use_deterministic_algorithms(True)
        torch.manual_seed(7)
        gc.enable()
        return x


class SetsDevice(Up):
    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__(channels, scale)
        torch.set_default_device("meta")


class TurnsGradientsOff(Up):
    def first(self, x: Tensor) -> Tensor:
        torch.set_grad_enabled(False)
        return x


class Exits(Up):
    def first(self, x: Tensor) -> Tensor:
        sys.exit(3)


class ExitsWhileBuilt(Up):
    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__(channels, scale)
        raise SystemExit("no licence")


class Stop(BaseException):
    """What `except Exception` does not catch."""


class Stops(Up):
    def first(self, x: Tensor) -> Tensor:
        raise Stop("enough")


class Drops(Up):
    def first(self, x: Tensor) -> Tensor:
        return F.dropout2d(x, 0.5, self.training)


class StochasticDepth(Up):
    """A layer that half of all training calls skip; which ones, a generator of three decides."""

    def __init__(self, channels: int, scale: int = 2, draw: str = "torch") -> None:
        super().__init__(channels, scale)
        self.draw = draw
        self.extra = nn.Conv2d(channels, channels, 3, padding=1)

    def first(self, x: Tensor) -> Tensor:
        drawn = {"torch": lambda: float(torch.rand(())), "python": random.random, "numpy": np.random.rand}[self.draw]()
        return self.extra(x) if not self.training or drawn < 0.5 else x


class DrawsForItself(Up):
    """From a generator that no seed reaches."""

    def first(self, x: Tensor) -> Any:
        return x * (1 + secrets.randbelow(1000)) if self.training else x
