"""A comparison in a model that will take long says so before it begins: how long, why, and what shortens it."""

from __future__ import annotations

import io
import re
import time

import pytest
import torch.nn.functional as F
from torch import Tensor, nn

from tests.command_line import upbench
from tests.models.hosts import Segmenter
from upbench.cli import progress
from upbench.models import length
from upbench.models.job import NOTICE, ModelJob

SPEC = {"measure": {"budget": 0.001, "mode": "inference"}}
CALLS: list[int] = []


class Transform(nn.Module):
    """As the transform of torchvision's detectors: it brings an image to a size of its own."""

    def __init__(self, min_size: int) -> None:
        super().__init__()
        self.min_size = (min_size,)

    def forward(self, image: Tensor) -> Tensor:
        return F.interpolate(image, size=(self.min_size[0], self.min_size[0]), mode="bilinear")


class Resizing(Segmenter):
    """A model that enlarges its image, and takes its time."""

    def __init__(self, min_size: int = 64, max_size: int = 64) -> None:
        super().__init__()
        self.transform = Transform(min_size)

    def forward(self, image: Tensor) -> Tensor:
        CALLS.append(1)
        time.sleep(0.01)
        return super().forward(self.transform(image))


HOST = ("--model", "tests.models.test_length:Resizing", "--input", "32x32", "--threads", "1", "--budget", "0.001")


@pytest.fixture(autouse=True)
def _calls() -> None:
    CALLS.clear()


def test_a_model_that_resizes_its_image_says_so_with_what_it_takes_and_what_shortens_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(length, "RESIZED_S", 0.1)
    done = upbench("compare", "bilinear", *HOST)
    assert done.exit_code == 0, done.output
    said = next(line for line in done.stderr.splitlines() if "one call of" in line)
    assert re.match(
        r"upbench: one call of tests\.models\.test_length:Resizing takes 0\.\d s, all of them about \d+ s; it resizes the "
        r"image from 32x32 to 64x64 itself \(transform:0\); what shortens it: --model-arg min_size=32 --model-arg "
        r"max_size=32, fewer upsamplers, or --exact, which counts alone; three rounds are the least of any --budget$",
        said,
    )


@pytest.mark.parametrize("more", [[], ["--exact"]])
def test_as_many_calls_are_foreseen_as_are_made(more: list[str]) -> None:
    done = upbench("compare", "bilinear", "nearest", *HOST, *more)
    assert done.exit_code == 0, done.output
    assert "one call of" not in done.stderr, "so short a comparison needs no warning"
    job = ModelJob("m", [{}, {}], SPEC, timed=not more)
    foreseen = length.about_s(job, 1000.0) / 1000.0
    assert 0.6 * len(CALLS) < foreseen < 1.6 * len(CALLS), f"{foreseen} foreseen, {len(CALLS)} made"


def test_a_budget_that_can_be_smaller_is_named() -> None:
    job = ModelJob("m", [{}], {"measure": {"budget": 900.0, "mode": "training"}})
    said = length.told(job, nn.Identity(), [], 2.0)
    assert said is not None
    assert said.startswith("one call of m takes 2.0 s, all of them about 46 min; what shortens it: a smaller --input, ")
    assert said.endswith("fewer upsamplers, or a smaller --budget")


def test_a_notice_is_printed_at_once_and_stays() -> None:
    shown = progress.Progress()
    shown.stream = io.StringIO()
    shown("a step", 0.1)
    shown("how long it takes", NOTICE)
    assert shown.stream.getvalue() == "upbench: how long it takes\n"
