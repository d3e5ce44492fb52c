"""What a kind of data gives: pictures with masks, some to train on and others that are never trained on."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Pairs = tuple[Bytes, Bytes]
"""Images [N, 3, H, W] with values 0 to 255, and masks [N, H, W] of class numbers from 0, the background."""


@dataclass(frozen=True)
class Pictures:
    """Pictures for training and for the test.

    Args:
        train: Makes the training pictures of a seed; the same ones for every seed where the data are given.
        test: The test pictures, the same for every seed.
        classes: How many classes there are, the background included.
        trained: How many training pictures a seed has.
        about: What the pictures are, in a few words for a caption.
    """

    train: Callable[[int], Pairs]
    test: Pairs
    classes: int
    trained: int
    about: str

    @cached_property
    def digest(self) -> str:
        """A checksum of the test pictures and of the first training picture of seed 0, by which data are told apart."""
        images, masks = self.train(0)
        sums = [zlib.crc32(np.ascontiguousarray(part).tobytes()) for part in (*self.test, images[:1], masks[:1])]
        return "-".join(f"{one:08x}" for one in sums)
