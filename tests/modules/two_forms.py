"""Upsamplers of users that have a plain and a fused form, as a class derived from one of upbench's has."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from upbench.upsamplers.carafe import CARAFE
from upbench.upsamplers.dysample import DySample
from upbench.upsamplers.sapa import SAPABase


class Louder(CARAFE):
    """CARAFE with a factor in front."""

    def upsample(self, x: Tensor) -> Any:
        return super().upsample(1.5 * x)


class Shifted(DySample):
    """DySample of a shifted map."""

    def upsample(self, x: Tensor) -> Any:
        return super().upsample(x + 0.25)


class Guided(SAPABase):
    """SAPA-B with a stronger guide."""

    def upsample(self, x: Tensor, guide: Tensor) -> Any:
        return super().upsample(x, 2 * guide)


class FusedWhereWide(CARAFE):
    """CARAFE whose small maps take the plain form."""

    def upsample(self, x: Tensor) -> Any:
        chosen, self.backend = self.backend, self.backend if x.shape[-1] > 48 else "eager"
        try:
            return super().upsample(x)
        finally:
            self.backend = chosen
