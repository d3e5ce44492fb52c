"""How long a comparison in a model takes, what makes it long, and what shortens it; said before it begins."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from upbench.measure import rounds
from upbench.models.job import ModelJob
from upbench.models.repeating import SHARE_CALLS, SHARE_S
from upbench.models.site import Site

COUNTED = 8
"""About as many calls each row takes to be built, counted, and for its memory, a backward as two of them."""
TRAINED = 3
"""A call with its backward, in calls."""
LONG_S = 60.0
"""Seconds from which on the length is said."""
RESIZED_S = 10.0
"""Seconds from which on it is said of a model that resizes its image, which nobody asked it to do."""


def told(job: ModelJob, model: nn.Module, sites: Sequence[Site], call_s: float) -> str | None:
    """Return how long a comparison takes, as a sentence; None for a short one.

    Args:
        job: The comparison.
        model: The model.
        sites: All of its upsampling calls, those on the image among them.
        call_s: Seconds of one call.
    """
    total_s = about_s(job, call_s)
    resized = next((s for s in sites if s.kind == "image" and len(s.input) == 4 and s.input[2:] != s.output[2:]), None)
    if total_s < (LONG_S if resized is None else RESIZED_S):
        return None
    shorter = ["a smaller --input", "fewer upsamplers"]
    if job.timed:
        more = 2 * rounds.SEVERAL.least * call_s < job.spec["measure"]["budget"]
        shorter += [
            "a smaller --budget" if more else "--exact, which counts alone; three rounds are the least of any --budget"
        ]
    sentence = f"one call of {job.model} takes {call_s:.1f} s, all of them about {_span(total_s)}"
    if resized is not None:
        sides = ["x".join(map(str, size[2:])) for size in (resized.input, resized.output)]
        sentence += f"; it resizes the image from {sides[0]} to {sides[1]} itself ({resized.name})"
        shorter = [*_kept_size(model, resized), *shorter[1:]]
    return f"{sentence}; what shortens it: {', '.join(shorter[:-1])}, or {shorter[-1]}"


def about_s(job: ModelJob, call_s: float) -> float:
    """Return about how many seconds a comparison takes.

    Args:
        job: The comparison.
        call_s: Seconds of one call.
    """
    rows, measure = len(job.rows) + 1, job.spec["measure"]
    counted_s = float(COUNTED * call_s * rows)
    if not job.timed:
        return counted_s
    one_s = call_s * (1 if measure["mode"] == "inference" else TRAINED)
    warm_s = max(2 * one_s, min(rounds.warmup_s(), 5 * one_s))
    sampled_s = max(rounds.PER_ROUND * rounds.SEVERAL.least * one_s, measure["budget"])
    share_s = min(SHARE_CALLS * call_s, max(SHARE_S, call_s))
    timed_s: float = (rows + 1) * (warm_s + sampled_s)  # one more: the twin of the first
    return counted_s + timed_s + rows * share_s


def _kept_size(model: nn.Module, resized: Site) -> list[str]:
    """Return the arguments with which a detector of torchvision leaves the image as large as it is."""
    if not hasattr(getattr(model, "transform", None), "min_size"):
        return ["an argument of the model that leaves the size (--model-arg)"]
    low, high = sorted(resized.input[2:])
    return [f"--model-arg min_size={low} --model-arg max_size={high}"]


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
