"""What papers printed: tables and the host models behind them, as data. Reads YAML when asked; needs no torch."""

from __future__ import annotations

from upbench.papers.hosts import Base, BaseFigure, Host, HostInput, Stage, Variant, aliases, at, host, hosts, varied
from upbench.papers.published import (
    Figure,
    Formula,
    Metric,
    Published,
    Row,
    Section,
    Source,
    TimedInput,
    find,
    is_file,
    names,
    read_table,
    table,
)

__all__ = [
    "names",
    "table",
    "find",
    "is_file",
    "read_table",
    "Published",
    "Source",
    "Section",
    "Metric",
    "Row",
    "Figure",
    "Formula",
    "TimedInput",
    "hosts",
    "aliases",
    "host",
    "at",
    "varied",
    "Host",
    "Variant",
    "HostInput",
    "Base",
    "BaseFigure",
    "Stage",
]
