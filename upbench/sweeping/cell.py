"""A cell of a sweep, small in memory: its complete spec is made from its point each time that it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from upbench.specs import run_spec
from upbench.specs.run_spec import RunSpec
from upbench.sweeping import axes

Point = Mapping[str, Any]
"""The axes that are set at one point of a sweep; those that the base decides are left out."""


class Specs:
    """Makes the specs of points, and keeps the last one: what is asked of a cell is mostly asked in a row.

    Args:
        draft: Returns the spec of a point as written.
    """

    def __init__(self, draft: Callable[[Point], dict[str, Any]]) -> None:
        self.draft = draft
        self._last: tuple[Point, RunSpec] | None = None

    def of(self, point: Point) -> RunSpec:
        """Return the complete spec of a point.

        Args:
            point: The point; it is recognised as the same object, not by its values.

        Raises:
            SpecError: With the rules that it breaks.
        """
        if self._last is None or self._last[0] is not point:
            self._last = point, run_spec.load(self.draft(point), "")
        return self._last[1]


@dataclass(frozen=True, slots=True)
class Cell:
    """One point of a sweep.

    Args:
        axes: The value of every axis of the sweep, in their order; None where the upsampler has no such key.
        point: What the sweep sets at it.
        specs: Makes its spec.
        mistakes: The rules that it breaks, where it is impossible.
        draft: The spec of an impossible cell, with its defaults filled in, so that a record of it has every key.
    """

    axes: Mapping[str, Any]
    point: Point
    specs: Specs
    mistakes: tuple[str, ...] = ()
    draft: Mapping[str, Any] = field(default_factory=dict)

    @property
    def spec(self) -> RunSpec | None:
        """The complete spec; None where the cell is impossible."""
        return None if self.mistakes else self.specs.of(self.point)

    @property
    def label(self) -> str:
        """'theta=5, threads=null'; without the parameters that the upsampler does not have."""
        shown = {key: v for key, v in self.axes.items() if v is not None or axes.place(key)[0] != "params"}
        return ", ".join(f"{key}={'null' if value is None else value}" for key, value in shown.items())
