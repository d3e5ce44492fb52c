"""The table of upsamplers in the runtimes that ship them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from upbench import units
from upbench.deploy.cell import VERDICTS, Cell
from upbench.report.formats.table import CellIndex, Table

HEADS = [
    "Upsampler",
    "Runtime",
    "Verdict",
    "Sizes",
    "Error",
    "Other size",
    "Own",
    "In effect",
    "/ eager",
    "/ fused",
    "Nodes",
    "Left",
    "Opset",
    "File",
]
NUMERIC = [False] * 4 + [True] * 3 + [False] + [True] * 6
RAW = [
    "upsampler",
    "runtime",
    "variant",
    "version",
    "input",
    "verdict",
    "step",
    "reason",
    "left",
    "sizes",
    "error",
    "other_size",
    "other_error",
    "limit",
    "own_error",
    "precision_asked",
    "precision",
    "latency_to_eager",
    "latency_to_fused",
    "rounds",
    "nodes",
    "opset",
    "bytes",
]


def listing(cells: Sequence[Cell], title: str) -> Table:
    """Return one row for each upsampler and way to run it.

    Args:
        cells: The cells.
        title: The title.
    """
    footnotes = list(dict.fromkeys(_prose(cell) for cell in cells if cell.reason))
    refs: dict[CellIndex, list[int]] = {
        (row, 2): [footnotes.index(_prose(cell))] for row, cell in enumerate(cells) if cell.reason
    }
    return Table(
        title=title,
        headline=_headline(cells),
        heads=list(HEADS),
        rows=[_row(cell) for cell in cells],
        numeric=list(NUMERIC),
        raw_heads=list(RAW),
        raw_rows=[_raw(cell) for cell in cells],
        notes=_notes(cells),
        refs=refs,
        footnotes=footnotes,
        lead=2,
        label="deploy",
    )


def _headline(cells: Sequence[Cell]) -> str:
    """How many cells have each verdict."""
    found = Counter(cell.verdict for cell in cells)
    return f"{len(cells)} cells: " + ", ".join(f"{found[name]} {name}" for name in VERDICTS if found[name])


def _row(cell: Cell) -> list[str]:
    left = None if cell.left is None else sum(cell.left.values())
    return [
        cell.upsampler,
        f"{cell.runtime} {cell.variant}",
        cell.verdict if cell.step is None else f"{cell.verdict} ({cell.step})",
        _sizes(cell.sizes),
        _error(cell.error),
        _error(cell.other_error),
        _error(cell.own_error),
        cell.precision or units.DASH,
        units.ratio(cell.to_eager),
        units.ratio(cell.to_fused),
        units.exact(cell.nodes),
        units.exact(left),
        units.exact(cell.opset),
        units.mebibytes(cell.bytes),
    ]


def _sizes(sizes: list[list[int | str]] | None) -> str:
    """Whether a file is open, and in how far: "open", "open to 60x60", "64x30x30"."""
    if not sizes:
        return units.DASH
    first = sizes[0]
    if all(isinstance(n, int) for n in first):
        return "x".join(map(str, first[1:]))
    bounds = [str(n).removeprefix("<=") for n in first[2:] if str(n).startswith("<=")]
    return f"open to {'x'.join(bounds)}" if bounds else "open"


def _error(value: float | None) -> str:
    if value is None:
        return units.DASH
    return "shape" if value == float("inf") else f"{value:.1e}"


def _prose(cell: Cell) -> str:
    return str(cell.reason).rstrip(".")


def _raw(cell: Cell) -> list[Any]:
    own = {**cell.to_dict(), "latency_to_eager": cell.to_eager, "latency_to_fused": cell.to_fused}
    own["rounds"] = len(cell.runtime_s) or None
    for name in ("error", "other_error"):
        own[name] = str(own[name]) if own[name] == float("inf") else own[name]
    return [own[name] for name in RAW]


def _notes(cells: Sequence[Cell]) -> list[str]:
    seen = {cell.verdict for cell in cells}
    notes = [
        "Error: largest difference from eager float64 of the same weights and inputs, as a part of the largest value, at the "
        "traced size and at another; Own: what eager is off in the same precision. The limit is the larger of 1e-5 and 4 "
        "times Own. In effect: the precision that the runtime says it computes in.",
        "/ eager, / fused: processor time of all threads of the process, median of the ratios of rounds in random order; no "
        "speed is printed for wrong values.",
    ]
    if versions := dict.fromkeys(f"{cell.runtime} {cell.version}" for cell in cells if cell.version):
        notes.append(f"Versions: {', '.join(versions)}.")
    notes += [f"{name}: {VERDICTS[name]}." for name in VERDICTS if name in seen]
    left = dict.fromkeys(f"{name} ({cell.runtime})" for cell in cells for name in cell.left or ())
    if left:
        notes.append(f"Left: operators of no standard domain: {', '.join(left)}.")
    return notes
