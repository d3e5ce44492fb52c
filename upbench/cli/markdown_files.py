"""Whether a Markdown file is one that upbench wrote, as it wrote it."""

from __future__ import annotations

import re

PAGES = (
    "# Published complexity figures of feature upsamplers, counted again",
    "# Where papers and released code differ",
    "# Measured quantities",
)
"""The first lines of pages that are prose: of `reproduce`, `list --notes` and `list --metrics`."""
_PARTS = re.compile(r"\*\*.*\*\*|\|.*|- .*|<!-- .* -->")
"""The lines of a table: its title, its rows and its notes."""


def is_ours(text: str) -> bool:
    """Return whether a text is a page of upbench, or tables of upbench and nothing besides.

    Args:
        text: The content of a Markdown file; a headline of a table stands directly above its title.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines or lines[0] in PAGES:
        return True
    titled = re.compile(r"\*\*.+\*\*")
    for n, line in enumerate(lines):
        is_headline = n + 1 < len(lines) and titled.fullmatch(lines[n + 1]) is not None and not line.startswith("#")
        if not _PARTS.fullmatch(line) and not is_headline:
            return False
    return any(titled.fullmatch(line) for line in lines[:2]) and any(line.startswith("|") for line in lines)
