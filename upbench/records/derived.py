"""What is computed from the samples of a record besides their median: percentiles, throughput."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from upbench.records.readings import latency_summary

if TYPE_CHECKING:
    from upbench.records.record import Record


def _percentile(part: float) -> Callable[[Record], float | None]:
    """Read the sample below which a part of all samples lies, between two of them in proportion.

    Unknown of so few samples that less than one of them lies beyond it: it would be the first or the last one.
    """

    def read(record: Record) -> float | None:
        if record.latency is None or len(record.latency.samples_s) < max(1, least_samples(part)):
            return None
        ordered = sorted(record.latency.samples_s)
        at = part * (len(ordered) - 1)
        low, high = ordered[math.floor(at)], ordered[math.ceil(at)]
        return low + (high - low) * (at - math.floor(at))

    return read


def least_samples(part: float) -> int:
    """Return of how many samples on a percentile is known: that one of them lies beyond it. The least sample always is."""
    beyond = min(part, 1 - part)
    return math.ceil(round(1 / beyond, 6)) if beyond else 0


PERCENTILES = {"latency-p5": 0.05, "latency-p95": 0.95, "latency-p99": 0.99}
"""Name of a percentile of the samples -> the part of them that lies below it."""
SAMPLES: tuple[tuple[str, str, str, str, Callable[[Record], float | None]], ...] = (
    ("latency-min", "least", "Min", "", _percentile(0.0)),
    *(
        (
            name,
            f"{100 * part:.0f}th percentile",
            f"p{100 * part:.0f}",
            f", from {least_samples(part)} samples on",
            _percentile(part),
        )
        for name, part in PERCENTILES.items()
    ),
)
"""Name, title, head and condition of what is shown of the samples besides their median, and how it is read."""


def output_pixels(record: Record) -> int | None:
    """Return how many pixels a call puts out, over all images and, in a host, all stages; None where that is not known."""
    spec = record.settings
    batch = spec.input.batch
    if spec.host:
        sizes = [(s.get("out_height"), s.get("out_width"), s.get("batch", 1)) for s in spec.host.get("stages", ())]
        return batch * sum(h * w * n for h, w, n in sizes) if all(h and w for h, w, _ in sizes) else None
    if size := spec.input.value("output_size"):
        height, width = (int(part) for part in str(size).lower().split("x"))
        return batch * height * width
    if spec.sizes is None or spec.scale is None:
        return None
    _, height, width = spec.sizes
    return batch * round(height * spec.scale) * round(width * spec.scale)


def throughput(record: Record) -> float | None:
    """Return the output pixels a second at the median latency; None where it was not measured."""
    pixels, found = output_pixels(record), latency_summary(record)
    return None if pixels is None or found is None or not found.median else pixels / found.median
