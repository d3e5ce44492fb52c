"""Generated scenes of two classes: textured figures before a background of plain figures, lines and noise.

What makes a figure an object is its texture alone: plain figures have the same outlines, colours and places. No file is
needed, and a seed gives the same pictures on every run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from upbench.quality.pictures import Pairs, Pictures

TRAIN, TEST = 1000, 200
"""Pictures of a seed to train on, and of the test."""
TEST_SEED = 2**31
"""The seed of the test pictures, which no seed of training has."""
Map = NDArray[np.float32]
Inside = NDArray[np.bool_]


def load(size: int, folder: str | None = None, pictures: tuple[int, int] | None = None) -> Pictures:
    """Return the scenes.

    Args:
        size: Rows and columns of a picture.
        folder: Not used: nothing is read.
        pictures: How many to train on and to test with; None for 1,000 and 200.
    """
    trained, tested = pictures or (TRAIN, TEST)

    @lru_cache(maxsize=16)
    def train(seed: int) -> Pairs:
        return _drawn(seed, trained, size)

    return Pictures(train, _drawn(TEST_SEED, tested, size), 2, trained, "generated scenes, two classes")


def _drawn(seed: int, number: int, size: int) -> Pairs:
    drawn = [scene(np.random.default_rng((seed, n)), size) for n in range(number)]
    return np.stack([image for image, _ in drawn]), np.stack([mask for _, mask in drawn])


def scene(random: Generator, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return one picture [3, size, size] and its mask [size, size], 1 where an object is.

    Args:
        random: The source of all of its randomness.
        size: Rows and columns.
    """
    x, y = _grid(size)
    image = _background(random, x, y)
    mask = np.zeros((size, size), np.uint8)
    figures = [True] * int(random.integers(1, 4)) + [False] * int(random.integers(1, 4))
    for textured in random.permutation(np.array(figures)):
        inside = _OUTLINES[int(random.integers(len(_OUTLINES)))](random, x, y)
        first, second = _two_colours(random)
        pattern = _TEXTURES[int(random.integers(len(_TEXTURES)))](random, x, y)
        if not textured:  # a plain figure has the mean colour of a textured one, and a slope of light
            pattern = np.float32(0.5) + np.float32(0.2) * (x * random.uniform(-1, 1) + y * random.uniform(-1, 1))
        colours = first[:, None, None] * pattern + second[:, None, None] * (1 - pattern)
        image = np.where(inside, colours, image)
        mask[inside] = 1 if textured else 0
    image += random.normal(0, random.uniform(0.02, 0.06), image.shape).astype(np.float32)
    return (image.clip(0, 1) * 255).round().astype(np.uint8), mask


@cache
def _grid(size: int) -> tuple[Map, Map]:
    """x and y of every pixel, from -1 to 1."""
    line = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    return np.broadcast_to(line, (size, size)), np.broadcast_to(line[:, None], (size, size))


def _two_colours(random: Generator) -> tuple[Map, Map]:
    """Two colours of any hue that can be told apart."""
    first = random.uniform(0, 1, 3).astype(np.float32)
    away = random.uniform(0.25, 0.6, 3).astype(np.float32)
    return first, np.where(first > 0.5, first - away, first + away)


def _background(random: Generator, x: Map, y: Map) -> Map:
    """A slope between two colours, soft blobs of a coarse noise, and a few thin lines."""
    first, second = _two_colours(random)
    angle = random.uniform(0, 2 * np.pi)
    slope = (0.5 + 0.35 * (x * np.cos(angle) + y * np.sin(angle))).astype(np.float32)
    image = first[:, None, None] * slope + second[:, None, None] * (1 - slope)
    for _ in range(3):
        middle, width = random.uniform(-1, 1, 2), random.uniform(0.1, 0.4)
        blob = np.exp(-((x - middle[0]) ** 2 + (y - middle[1]) ** 2) / width**2)
        image = image + random.uniform(-0.2, 0.2, 3).astype(np.float32)[:, None, None] * blob
    for _ in range(int(random.integers(0, 3))):
        line = _curve(random, x, y, thin=0.04)
        image = np.where(line, random.uniform(0, 1, 3).astype(np.float32)[:, None, None], image)
    return image.astype(np.float32)


def _placed(random: Generator, x: Map, y: Map) -> tuple[Map, Map]:
    """The coordinates of a figure of its own size, place and turn."""
    angle, size = random.uniform(0, 2 * np.pi), random.uniform(0.25, 0.6)
    dx, dy = x - random.uniform(-0.7, 0.7), y - random.uniform(-0.7, 0.7)
    cosine, sine = np.cos(angle) / size, np.sin(angle) / size
    return dx * cosine + dy * sine, dy * cosine - dx * sine


def _ellipse(random: Generator, x: Map, y: Map) -> Inside:
    u, v = _placed(random, x, y)
    return u * u + v * v * random.uniform(1, 4) < 1


def _box(random: Generator, x: Map, y: Map) -> Inside:
    u, v = _placed(random, x, y)
    return np.maximum(abs(u), abs(v) * random.uniform(1, 2.5)) < 0.9


def _triangle(random: Generator, x: Map, y: Map) -> Inside:
    u, v = _placed(random, x, y)
    return np.maximum(np.maximum(1.732 * u + v, -1.732 * u + v) / 2, -v) < 0.55


def _star(random: Generator, x: Map, y: Map) -> Inside:
    u, v = _placed(random, x, y)
    points = int(random.integers(3, 7))
    return np.hypot(u, v) < 0.65 + 0.35 * np.cos(points * np.arctan2(v, u))


def _ring(random: Generator, x: Map, y: Map) -> Inside:
    u, v = _placed(random, x, y)
    radius = np.hypot(u, v)
    return (radius < 1) & (radius > random.uniform(0.35, 0.65))


def _curve(random: Generator, x: Map, y: Map, thin: float = 0.1) -> Inside:
    u, v = _placed(random, x, y)
    wave = random.uniform(0.1, 0.5) * np.sin(u * random.uniform(1, 4))
    return (abs(v - wave) < thin * random.uniform(1, 2.5)) & (abs(u) < 1.6)


_OUTLINES: tuple[Callable[[Generator, Map, Map], Inside], ...] = (_ellipse, _box, _triangle, _star, _ring, _curve)


def _waves(random: Generator, x: Map, y: Map) -> Map:
    """A phase that grows across the picture, of a period of 3 to 6 pixels at a size of 48."""
    angle, period = random.uniform(0, 2 * np.pi), random.uniform(0.125, 0.25)
    phase = (x * np.cos(angle) + y * np.sin(angle)) * (2 * np.pi / period) + random.uniform(0, 2 * np.pi)
    return phase.astype(np.float32)


def _stripes(random: Generator, x: Map, y: Map) -> Map:
    return (np.sin(_waves(random, x, y)) > 0).astype(np.float32)


def _checks(random: Generator, x: Map, y: Map) -> Map:
    return (np.sin(_waves(random, x, y)) * np.sin(_waves(random, y, -x)) > 0).astype(np.float32)


def _dots(random: Generator, x: Map, y: Map) -> Map:
    return (np.sin(_waves(random, x, y)) + np.sin(_waves(random, y, -x)) > 0.7).astype(np.float32)


_TEXTURES: tuple[Callable[[Generator, Map, Map], Map], ...] = (_stripes, _checks, _dots)
