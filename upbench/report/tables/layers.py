"""The table of the layers of a module, as a tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from upbench import units
from upbench.report.formats.table import Table


class Layer(Protocol):
    """What the table reads of a layer, see `measure.layers.Layer`."""

    @property
    def path(self) -> str:
        """Dotted name in the module; "." for the module itself."""

    @property
    def kind(self) -> str:
        """Name of its class."""

    @property
    def params(self) -> int:
        """Parameters of it and of all inside of it."""

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates that are made in it; None where they are not known."""

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of what it returned; none where it was not called."""

    @property
    def depth(self) -> int:
        """How deep it is in the tree; 0 for the module itself."""


def table(layers: Sequence[Layer], title: str) -> Table:
    """Return the tree: a row for each layer, indented below what it is inside of.

    Args:
        layers: The layers, each before those inside of it.
        title: What the module is.
    """
    total = layers[0].macs if layers else None
    rows = [
        [
            "  " * layer.depth + layer.path.rpartition(".")[2] if layer.depth else title.partition(":")[0],
            layer.kind,
            units.exact(layer.params),
            units.count(layer.macs),
            units.percent(layer.macs / total) if layer.macs is not None and total else units.DASH,
            ", ".join("x".join(map(str, shape)) for shape in layer.shapes) or units.DASH,
        ]
        for layer in layers
    ]
    unknown = "MACs: unknown, because the call cannot be traced or has operators that are not counted."
    return Table(
        title=title,
        heads=["Layer", "Type", "Params", "MACs", "Share", "Output"],
        rows=rows,
        numeric=[False, False, True, True, True, False],
        raw_heads=["path", "type", "params", "macs", "output_shapes"],
        raw_rows=[[x.path, x.kind, x.params, x.macs, [list(shape) for shape in x.shapes]] for x in layers],
        notes=[
            "Each layer with all inside of it; what is in none of the layers below is of the layer's own forward.",
            *([unknown] if total is None else []),
        ],
        lead=1,
    )
