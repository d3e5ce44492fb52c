"""Upsamplers of users whose modules upbench's instruments have trouble with. Each doubles height and width."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Up(nn.Module):
    """Nearest neighbours, then what a subclass does."""

    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Any:
        return self.conv(F.interpolate(x, scale_factor=2))


class ReadsValuesWhileBuilt(Up):
    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__(channels, scale)
        self.steps = [value.item() for value in torch.linspace(0, 0.1, 3)]


@lru_cache
def ramp(size: int) -> Tensor:
    return torch.linspace(0, 1, size)


class KeepsATensorForAllInstances(Up):
    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__(channels, scale)
        self.ramp = ramp(channels)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.ramp[:, None, None]


class Compiled(Up):
    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__(channels, scale)
        self.conv = torch.compile(self.conv, backend="aot_eager")


class Scripted(Up):
    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__(channels, scale)
        self.conv = torch.jit.script(self.conv)


class Traced(Up):
    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__(channels, scale)
        self.conv = torch.jit.trace(self.conv, torch.zeros(1, channels, 4, 4))


class Uncopyable(Up):
    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__(channels, scale)
        self.lock = threading.Lock()

    def forward(self, x: Tensor) -> Tensor:
        with self.lock:
            return super().forward(x)


class Untraceable(Up):
    """A call within a trace raises, as that of many an extension does."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.jit.is_tracing():
            raise RuntimeError("this kernel cannot be traced")
        return super().forward(x)


class Generates(Up):
    def rows(self, x: Tensor) -> Iterator[Tensor]:
        for row in x.unbind(2):
            yield row
            if float(row.sum()) > -1e9:
                yield row

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack(list(self.rows(x)), 2).repeat_interleave(2, 3)


class TellsDevicesApart(Up):
    """On the CPU a convolution, elsewhere none."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.device.type == "cpu" else F.interpolate(x, scale_factor=2)


class Lazy(Up):
    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__(channels, scale)
        self.conv = nn.LazyConv2d(channels, 1)


class RefusesDispatchModes(Up):
    def forward(self, x: Tensor) -> Tensor:
        if torch._C._len_torch_dispatch_stack():
            raise NotImplementedError("no dispatch modes")
        return super().forward(x)


class Returns(Up):
    def returned(self, out: Tensor) -> Any:
        return out

    def forward(self, x: Tensor) -> Any:
        return self.returned(super().forward(x))


class Complex(Returns):
    def returned(self, out: Tensor) -> Any:
        return torch.complex(out, out)


class Float8(Returns):
    def returned(self, out: Tensor) -> Any:
        return out.to(torch.float8_e4m3fn)


class Integer(Returns):
    def returned(self, out: Tensor) -> Any:
        return (100 * out).int()


class Boolean(Returns):
    def returned(self, out: Tensor) -> Any:
        return out > 0


class Half(Returns):
    def returned(self, out: Tensor) -> Any:
        return out.half()


class Pair(Returns):
    def returned(self, out: Tensor) -> Any:
        return out, out


class Mapping(Returns):
    def returned(self, out: Tensor) -> Any:
        return {"out": out}


class Nothing(Returns):
    def returned(self, out: Tensor) -> Any:
        return None


class TooSmall(Returns):
    def returned(self, out: Tensor) -> Any:
        return out[..., 1:]


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("cannot say")


class FailsSpeechless(Up):
    def forward(self, x: Tensor) -> Tensor:
        raise Mute


class FailsLater(Up):
    """The 25th call and all that follow fail."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls >= 25:
            raise RuntimeError("worn out")
        return super().forward(x)


class NotFinite(nn.Module):
    """Returns no number."""

    def __init__(self, channels: int, scale: int = 2) -> None:
        super().__init__()
        self.up = nn.Upsample(scale_factor=scale)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(x) * float("nan")


class Doubled(Up):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).double()  # type: ignore[no-any-return]


class ToFloat32(Up):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).float()  # type: ignore[no-any-return]
