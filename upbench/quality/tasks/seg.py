"""Semantic segmentation: cross-entropy, scored by the mean IoU of regions and of boundaries."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

METRICS = {"miou": "proxy mIoU", "biou": "proxy BIoU"}
"""Name of a score -> the head of its column; both are in percent, and higher is better."""
REACH = 2
"""Half the width of a boundary, in pixels: about 2 % of the diagonal at 48 to 64 pixels, as boundary IoU has it."""


def loss(logits: Tensor, masks: Tensor, runs: int) -> Tensor:
    """Return the loss of every run [runs].

    Args:
        logits: [batch * runs, classes, H, W], the runs of a picture one after another.
        masks: [batch * runs, H, W], class numbers.
        runs: How many runs are trained together.
    """
    each = F.cross_entropy(logits, masks, reduction="none")
    return each.view(-1, runs, *each.shape[1:]).mean(dim=(0, 2, 3))


class Scores:
    """Adds up what every run got right over the test pictures.

    Args:
        classes: How many classes there are.
        runs: How many runs.
    """

    def __init__(self, classes: int, runs: int) -> None:
        self.classes, self.runs = classes, runs
        # [region or boundary, intersection or union, run, class]
        self.counts = torch.zeros(2, 2, runs, classes, dtype=torch.int64)

    def add(self, logits: Tensor, masks: Tensor) -> None:
        """Count one batch.

        Args:
            logits: [batch * runs, classes, H, W], the runs of a picture one after another.
            masks: [batch, H, W].
        """
        guess = logits.argmax(1).view(-1, self.runs, *masks.shape[1:])
        for c in range(self.classes):
            found, there = guess == c, (masks == c).unsqueeze(1).expand_as(guess)
            for n, (one, other) in enumerate(((found, there), (rim(found), rim(there)))):
                self.counts[n, 0, :, c] += (one & other).sum((0, 2, 3)).cpu()
                self.counts[n, 1, :, c] += (one | other).sum((0, 2, 3)).cpu()

    def results(self) -> list[dict[str, float]]:
        """Return for every run mIoU, over all classes, and BIoU, over all but the background, in percent.

        A class that is neither there nor found counts for nothing.
        """
        return [
            {"miou": _mean(*self.counts[0, :, run]), "biou": _mean(*self.counts[1, :, run, 1:])}
            for run in range(self.runs)
        ]


def rim(region: Tensor) -> Tensor:
    """Return the pixels of a region that lie within REACH of its boundary; the edge of the picture is no boundary.

    Args:
        region: [..., H, W], true inside.

    Source: Cheng et al. 2021, boundary IoU, whose edge of the picture does count.
    """
    side = 2 * REACH + 1
    outside = (~region).flatten(0, -3).unsqueeze(1).float()
    near = F.max_pool2d(outside, side, stride=1, padding=REACH) > 0
    return region & near.view(region.shape)


def _mean(intersection: Tensor, union: Tensor) -> float:
    there = union > 0
    return float((intersection[there].double() / union[there].double()).mean() * 100) if bool(there.any()) else 0.0
