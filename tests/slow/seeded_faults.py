"""Faults as fused forms have them, to be put in on purpose: what a check is worth is how many of them it catches.

Each stands in for one kernel on the CPU: it calls the right one and spoils what it returns, at the places where tiles,
chunks, groups and borders go wrong.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from upbench.ops import thresholds
from upbench.ops.cpu import (
    affinity,
    affinity_slope,
    guided_attention,
    moved_samples,
    normed_projection,
    offset_attention,
    points,
    projection,
    rows,
    sample_windows,
    squares,
    steps,
    window_kernels,
    windows,
)

RIGHT: dict[str, Callable[..., Any]] = {
    "window_assemble_fused": windows.window_assemble,
    "window_similarity_fused": windows.window_similarity,
    "window_scatter_fused": windows.window_scatter,
    "deform_assemble_fused": points.deform_assemble,
    "deform_similarity_fused": points.deform_similarity,
    "deform_scatter_fused": points.deform_scatter,
    "deform_slope_fused": points.deform_slope,
    "offset_attend_fused": offset_attention.attend,
    "guided_attend_fused": guided_attention.attend,
    "affinity_fused": affinity.affinity,
    "affinity_slope_fused": affinity_slope.affinity_slope,
    "reassemble_fused": window_kernels.reassemble,
    "attend_window_fused": window_kernels.attend,
    "project_fused": projection.project,
    "convolve_fused": squares.convolve,
    "convolve_groups_fused": squares.convolve_groups,
    "convolve_groups_taps_fused": squares.convolve_groups_taps,
    "sample_windows_fused": sample_windows.assemble,
    "guided_filter_fused": steps.guided_filter,
    "normed_project_fused": normed_projection.normed_project,
    "sample_moved_fused": moved_samples.take_samples,
    "offset_moves_fused": moved_samples.offset_moves,
}
SHAPE = "32x56x52"
"""More pixels a side than any map that is compared as it is, with an incomplete tile at the end of each."""
POINTS = "96x56x52"
"""The same with more values than those up to which points are read eagerly, also where a gradient is recorded."""


@dataclass(frozen=True)
class Fault:
    """A wrong kernel. op: which; spoil: changes what the right one returned, in place; the others: what it shows in."""

    name: str
    op: str
    spoil: Callable[[Any], None]
    upsampler: str
    params: Mapping[str, Any] = field(default_factory=dict)
    shape: str = SHAPE
    offsets: str = "trained"
    seed: int = 0

    def __str__(self) -> str:
        """Its name, and what it shows in."""
        more = "" if self.offsets == "trained" else f", offsets {self.offsets}, seed {self.seed}"
        return f"{self.name} ({self.upsampler}{more})"

    def spec(self) -> dict[str, Any]:
        """A spec whose check must fail."""
        return {
            "upsampler": self.upsampler,
            "params": dict(self.params),
            "input": {"shape": self.shape, "offsets": self.offsets, "seed": self.seed},
            "measure": {"device": "cpu", "threads": 1, "budget": 0.1},
        }

    @contextmanager
    def put_in(self) -> Iterator[None]:
        """The fault is there inside."""

        def wrong(*given: Any) -> Any:
            found = RIGHT[self.op](*given)
            self.spoil(found)
            return found

        library = torch.library.Library("upbench", "IMPL")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch says that it overrides a kernel
            library.impl(self.op, wrong, "CPU", allow_override=True)
        try:
            yield
        finally:
            library._destroy()


def _last_row(out: Tensor) -> None:
    out[:, :, -1] = out[:, :, -2]


def _last_column(out: Tensor) -> None:
    out[..., -1] = 0


def _last_tile(out: Tensor) -> None:
    out[..., -8:, -8:] = 0


def _row_seam(out: Tensor) -> None:
    out[..., 8, :] = out[..., 7, :].clone()


def _column_seam(out: Tensor) -> None:
    out[..., 7::8] = out[..., 6::8][..., : out[..., 7::8].shape[-1]].clone()


def _first_row(out: Tensor) -> None:
    out[..., 0, :] = 0


def _first_column(out: Tensor) -> None:
    out[..., 0] = 0


def _groups(out: Tensor) -> None:
    out.copy_(out.roll(out.shape[1] // 2, 1).clone())


def _hundredth(out: Tensor) -> None:
    out.mul_(1.01)


def _taps_hundredth(out: tuple[Tensor, Tensor]) -> None:
    out[0].mul_(1.01)


def _one_tap(out: Tensor) -> None:
    out[:, :, 0] = 0


def _end_of_chunk(out: Tensor) -> None:
    height, width = out.shape[-2:]
    out[..., height // 2, width // 2 :] = 0


def _only_large(out: Tensor) -> None:
    if out.numel() * out.element_size() >= thresholds.scaled(rows.LARGE):
        out[..., -1, :] *= 1.1


def _only_wide(out: Tensor) -> None:
    if out.shape[-1] > 48:
        _last_tile(out)


def _swapped_slopes(found: tuple[Tensor, Tensor]) -> None:
    found[1].copy_(found[1].flip(-1).clone())


def _slopes_hundredth(found: tuple[Tensor, Tensor]) -> None:
    found[1].mul_(1.01)


def _guide_slope_row(found: tuple[Tensor, ...]) -> None:
    _last_row(found[0])


def _dots_at_border(found: tuple[Tensor, Tensor]) -> None:
    found[0][..., 0] = 0


WIDE = "the last tile of a gradient, on wide maps only"
CARAFE = {"groups": 2}
LDAAQU = {"heads": 2}
FAULTS = [
    Fault("the last row repeats the one before", "reassemble_fused", _last_row, "carafe"),
    Fault("the last column of a tile is missing", "reassemble_fused", _last_column, "carafe"),
    Fault("the seam of tiles reads its neighbour", "reassemble_fused", _column_seam, "fade"),
    Fault("the wrong group", "reassemble_fused", _groups, "carafe", CARAFE),
    Fault("the border is missing", "window_assemble_fused", _first_row, "a2u"),
    Fault("the last row of a gradient", "window_scatter_fused", _last_row, "carafe"),
    Fault("the gradient of x times 1.01", "window_scatter_fused", _hundredth, "carafe"),
    Fault("one tap has no gradient", "window_similarity_fused", _one_tap, "carafe"),
    Fault("a seam of similarities", "window_similarity_fused", _row_seam, "sapa-b"),
    Fault("the last tile of samples", "deform_assemble_fused", _last_tile, "dysample", shape=POINTS),
    Fault("the end of a chunk of samples", "deform_assemble_fused", _end_of_chunk, "dysample", shape=POINTS),
    Fault("a branch for large maps", "deform_assemble_fused", _only_large, "dysample", shape="128x132x130"),
    Fault("the wrong group of points", "deform_assemble_fused", _groups, "dysample", shape=POINTS),
    Fault("the border of a gradient", "deform_scatter_fused", _first_column, "dysample", shape=POINTS),
    Fault(WIDE, "deform_scatter_fused", _only_wide, "dysample", shape=POINTS),
    Fault("slopes along the other axis", "deform_slope_fused", _swapped_slopes, "dysample", shape=POINTS),
    Fault(
        "the gradient of the offsets' parameters times 1.01",
        "deform_slope_fused",
        _slopes_hundredth,
        "dysample",
        shape=POINTS,
    ),
    Fault("the gradient of weights at the border", "deform_slope_fused", _dots_at_border, "ldaaqu", LDAAQU),
    Fault("one point is never compared", "deform_similarity_fused", _one_tap, "ldaaqu", LDAAQU),
    Fault("the last row of attention", "offset_attend_fused", _last_row, "ldaaqu"),
    Fault("the border of guided attention", "guided_attend_fused", _first_row, "sapa-d"),
    Fault("the border of attention to windows", "attend_window_fused", _first_row, "sapa-b"),
    Fault("the end of a tile of a projection", "project_fused", _last_column, "fade"),
    Fault("a seam of affinities", "affinity_fused", _row_seam, "a2u"),
    Fault("the last row of a guide's gradient", "affinity_slope_fused", _guide_slope_row, "a2u"),
    Fault("the gradient of filters times 1.01", "affinity_slope_fused", _slopes_hundredth, "a2u"),
    Fault("the last row of squares", "convolve_fused", _last_row, "carafe"),
    Fault("a seam of squares", "convolve_fused", _column_seam, "fade"),
    Fault("the last squares of groups", "convolve_groups_fused", _last_row, "ldaaqu", shape="256x56x52"),
    Fault("taps of groups times 1.01", "convolve_groups_taps_fused", _taps_hundredth, "ldaaqu", shape="256x56x52"),
    Fault("the last tile of moved samples", "sample_moved_fused", _last_tile, "dysample"),
    Fault("the border of moved samples", "sample_moved_fused", _first_row, "dysample-s+"),
    Fault("moved samples of the wrong group", "sample_moved_fused", _groups, "dysample-s"),
    Fault("moves times 1.01", "offset_moves_fused", _hundredth, "dysample+"),
    *(
        Fault(WIDE, "deform_scatter_fused", _only_wide, "dysample", shape=POINTS, offsets="max", seed=seed)
        for seed in range(4)  # samples at the border make the tile a smaller part of every mask but its own
    ),
]

USERS = "tests.modules.two_forms"
OTHER_WAYS = [
    Fault("the last column of a tile is missing", "reassemble_fused", _last_column, f"{USERS}:Louder"),
    Fault("the gradient of x times 1.01", "window_scatter_fused", _hundredth, f"{USERS}:Louder"),
    Fault(WIDE, "deform_scatter_fused", _only_wide, f"{USERS}:Shifted", shape=POINTS),
    Fault("slopes along the other axis", "deform_slope_fused", _swapped_slopes, f"{USERS}:Shifted", shape=POINTS),
    Fault("a seam of similarities", "window_similarity_fused", _row_seam, f"{USERS}:Guided"),
    Fault("the last row of a gradient", "window_scatter_fused", _last_row, f"{USERS}:Guided"),
    Fault("the gradient of x times 1.01", "window_scatter_fused", _hundredth, "fade"),
    Fault("the last row of a gradient", "window_scatter_fused", _last_row, "freqfusion"),
    Fault("the last tile of samples", "deform_assemble_fused", _last_tile, "freqfusion", {"resample": True}),
    Fault("the seam of tiles reads its neighbour", "window_assemble_fused", _column_seam, "convex"),
    Fault("one tap has no gradient", "window_similarity_fused", _one_tap, "laaqu"),
    Fault("the border of a gradient", "deform_scatter_fused", _first_column, "resfu"),
    Fault("the border of samples in windows", "sample_windows_fused", _first_row, "resfu"),
    Fault("the last column of a normed projection", "normed_project_fused", _last_column, "resfu"),
    Fault("the last row of a guided filter", "guided_filter_fused", _last_row, "resfu"),
    Fault("the end of a chunk of samples", "deform_assemble_fused", _end_of_chunk, "dlu"),
]
"""The same faults in modules of users that have two forms, in upsamplers that are guided, and in newer ones."""
