"""Whether a file is one that upbench wrote: by the mark that its format has, or by the columns that stand in it."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from upbench.cli import markdown_files
from upbench.report.formats import latex_seal
from upbench.report.formats.html import GENERATOR
from upbench.report.formats.latex import NEEDS

TABLES: tuple[frozenset[str], ...] = tuple(
    map(
        frozenset,
        (
            ("params", "macs_conv"),  # records
            ("upsampler", "runs_left"),
            ("upsampler", "score", "pairs", "verdict"),
            ("upsampler", "runtime", "verdict", "latency_to_eager"),
            ("upsampler", "gate", "result", "sentence"),
            ("path", "type", "params", "output_shapes"),
            ("counter", "figure", "per_mac"),
            ("site", "module", "call", "op"),
            ("axis", "level", "reference", "metric"),
            ("on_front", "dominated_by"),
            ("stage", "guide_channels", "count"),
            ("table", "row", "printed", "verdict"),
            ("table", "title", "venue", "flops"),
            ("table", "upsampler", "settings", "ratio_here"),
            ("name", "macs_conv_per_pixel"),
            ("name", "shape", "image", "where"),
            ("name", "base_params", "base_flops"),
            ("cell", "state"),
            ("params_added", "macs_added"),
        ),
    )
)
"""Columns of tables of upbench in CSV and JSON: one of these sets is in each of them."""
_WHOLE = (["quantity", "value"], ["operator", "macs"])
"""The columns of tables which have no others."""
_ACROSS = re.compile(r"\w+ \w+=.+")
"""A column of a table with an axis across, as `latency_median_s theta=3`."""
_DOCUMENTS: tuple[frozenset[str], ...] = tuple(
    map(
        frozenset,
        (
            ("schema", "records"),
            ("schema", "findings"),
            ("schema", "tables"),
            ("schema", "environment"),
            ("upsampler", "input"),
            ("macs", "counters"),
        ),
    )
)
"""Keys of JSON documents of upbench, by which one is known."""
_TEX_TABLE = re.compile(r"\\begin\{(table\*?)\}.*?\\end\{\1\}", re.DOTALL)
_RULE = re.compile(r" *─{3}[─ ]*")
_NOTES = re.compile(r".+: where the paper and the released code differ")
_TEXTS = (b"tEXt", b"iTXt", b"zTXt")


def has_columns(heads: Iterable[str]) -> bool:
    """Return whether a table with these columns is one of upbench."""
    known = list(heads)
    return known in _WHOLE or any(each <= set(known) for each in TABLES) or any(_ACROSS.fullmatch(one) for one in known)


def is_document(data: Any) -> bool:
    """Return whether a value in a JSON file is one that upbench writes: a document, or rows of a table or record each."""
    if isinstance(data, Mapping):
        return any(keys <= set(data) for keys in _DOCUMENTS)
    rows = data if isinstance(data, list) else [None]
    return all(isinstance(row, Mapping) and (has_columns(row) or is_document(row)) for row in rows)


def is_text(text: str) -> bool:
    """Return whether a text is a table or page of upbench, in any of its formats but JSON.

    Args:
        text: The content of the file.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines or markdown_files.is_ours(text):
        return True
    if (unedited := latex_seal.is_unedited(text)) is not None:
        return unedited
    if lines[0].startswith(NEEDS):
        return all(line.startswith("%") for line in _TEX_TABLE.sub("", text).splitlines() if line.strip())
    if (first := lines[0].lower()).startswith(("<!doctype", "<?xml", "<svg", "<testsuites")):
        return _is_markup(first, text)
    if any(map(_RULE.fullmatch, lines)) or _NOTES.fullmatch(lines[0]):
        return True
    return has_columns(next(csv.reader(lines[:1])))


def is_binary(path: Path, content: bytes, form: str) -> bool:
    """Return whether a picture or Parquet file is one that upbench wrote, in the format that will be written.

    Args:
        path: of the file.
        content: What it holds.
        form: The format that will be written.
    """
    if form == "png" and content.startswith(b"\x89PNG"):
        # Those of before have no text at all, and their size in inches directly after the head.
        plain = content[37:41] == b"pHYs" and not any(text in content[:200] for text in _TEXTS)
        return b"Software\0upbench" in content[:1000] or plain
    if form == "pdf" and content.startswith(b"%PDF"):
        return b"/Creator (upbench)" in content or not (b"/Creator" in content or b"/Producer" in content)
    return form == "parquet" and content.startswith(b"PAR1") and _is_parquet(path)


def _is_markup(first: str, text: str) -> bool:
    """Whether a page, a picture or the results of gates are of upbench; pages and pictures of before have no mark."""
    if first.startswith("<!doctype html"):
        return GENERATOR in text or '<section class="wide">' in text or "; made by upbench " in text
    if "<testsuites" in text:
        return 'name="upbench"' in text
    return '<g id="figure_1">' in text and ("<dc:title>upbench</dc:title>" in text or "Matplotlib v" not in text)


def _is_parquet(path: Path) -> bool:
    from pyarrow import ArrowException, parquet  # where one is to be written it is there

    try:
        return b"upbench" in (parquet.read_metadata(path).metadata or {})
    except (ArrowException, OSError):
        return False
