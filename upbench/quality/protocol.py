"""What a study of quality fixes before it runs: task, host, data, seeds, steps, and how a network is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from pydantic import Field

from upbench.quality import kinds
from upbench.specs.strict import Strict

FULL, QUICK = 700, 250
"""Steps of a study, and of one that shows early learning only."""
VERSION = 1
"""Raised where the same protocol would give other scores: rows of another version are run again."""
TOGETHER = 6
"""How many seeds are trained together in one batched call. It is part of a result, since sums are taken in its order."""
NUMBER = "an integer of at least 1"


class Protocol(Strict):
    """How every upsampler of a study is trained and scored.

    Args:
        task: What the network learns, a module of `tasks`.
        host: The network around the upsampler, a module of `hosts`.
        data: The kind of data, a module of `data`.
        folder: Where the data are, for a kind that is read.
        pictures: At most so many pictures to train on and to test with; null for all.
        seeds: How many seeds, from 0: 6 or 12, fixed before the first run.
        steps: Steps of training.
        size: Rows and columns of a picture, a multiple of 8.
        batch: Pictures of a step.
        channels: Channels of the neck, which the upsamplers work on.
        rate: Learning rate of AdamW, the same for every upsampler.
        decay: Weight decay.
        warm_up: Steps in which the learning rate rises; after them it falls as a cosine to 0.
        clip: Greatest norm of the gradient.
        device: Where it runs: auto, cpu, cuda or cuda:N.
    """

    task: str = Field("seg", description="the name of a task")
    host: str = Field("fpn", description="the name of a host")
    data: str = Field("scenes", description="scenes, or the path of a folder")
    folder: str | None = Field(None, description="the path of a folder, or null")
    pictures: tuple[int, int] | None = Field(None, strict=False, description="two integers, or null")
    seeds: Literal[6, 12] = Field(6, description="6 or 12, fixed beforehand")
    steps: int = Field(FULL, ge=1, description=NUMBER)
    size: int = Field(48, ge=16, multiple_of=8, description="a multiple of 8, at least 16")
    batch: int = Field(8, ge=1, description=NUMBER)
    channels: int = Field(32, ge=8, multiple_of=8, description="a multiple of 8")
    rate: float = Field(3e-3, gt=0, description="a number above 0")
    decay: float = Field(1e-4, ge=0, description="a number of at least 0")
    warm_up: int = Field(20, ge=0, description="an integer of at least 0")
    clip: float = Field(1.0, gt=0, description="a number above 0")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N")

    def check(self) -> None:
        """Raise UnknownName where task, host or data name nothing."""
        for kind in ("task", "host", "data"):
            kinds.check(kind, getattr(self, kind))

    @property
    def early(self) -> bool:
        """Whether it ends so soon that it shows how fast an upsampler learns, not how good it is."""
        return self.steps < FULL

    def identity(self) -> dict[str, Any]:
        """Return what decides a run's score, without what only says how many runs there are or where."""
        return self.model_dump(mode="json", exclude={"seeds", "device", "folder"})

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        rising = min(1.0, (step + 1) / (self.warm_up + 1))
        return self.rate * rising * (1 + math.cos(math.pi * step / self.steps)) / 2


@dataclass(frozen=True)
class Candidate:
    """An upsampler with its settings that takes part in a study.

    Args:
        upsampler: Its name, or package.module:Class.
        params: All of its params.
        label: What a table calls it.
        guide: What guides it: feature, image, or None.
        guide_channels: Channels of the guide; None without one.
        backend: Which backend computes its ops in training.
    """

    upsampler: str
    params: dict[str, Any]
    label: str
    guide: Literal["feature", "image"] | None
    guide_channels: int | None
    backend: str

    @cached_property
    def key(self) -> str:
        """A text that is the same for the same upsampler with the same params."""
        settings = ",".join(f"{name}={value!r}" for name, value in sorted(self.params.items()))
        return f"{self.upsampler}({settings})"


@dataclass(frozen=True)
class Run:
    """One training: an upsampler with a seed.

    Args:
        candidate: The upsampler.
        seed: Fixes the host's weights, the order of pictures and their flips, and generated training pictures.
        repeat: 0, or 1 for the same upsampler with other weights of its own, which is the A/A of a study. An upsampler
            without weights has those of its host moved by a hundred-thousandth instead.
    """

    candidate: Candidate
    seed: int
    repeat: int = 0

    @property
    def key(self) -> tuple[str, int, int]:
        """What tells it from other runs of a protocol."""
        return self.candidate.key, self.repeat, self.seed


@dataclass(frozen=True)
class Setting:
    """Where a study runs and on what.

    Args:
        about: What the pictures are.
        classes: How many classes they have.
        trained: Pictures to train on.
        tested: Pictures of the test.
        digest: Their checksum.
        torch: Version of torch.
        device: Type of the device.
    """

    about: str
    classes: int
    trained: int
    tested: int
    digest: str
    torch: str
    device: str
