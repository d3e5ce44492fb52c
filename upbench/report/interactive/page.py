"""The page: its sections, the plotting library, the style and the script, all in one file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

from upbench import __version__
from upbench.report.formats.html import GENERATOR
from upbench.report.interactive import machine, pictures, tables, verdicts
from upbench.report.tables.result_set import ResultSet

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
    "form-action 'none'; base-uri 'none'"
)
"""What a browser lets the page load: nothing that is not in it."""


@dataclass(frozen=True)
class Section:
    """The results of one sweep, or those without a sweep.

    Args:
        title: What they are.
        source: The file that they are from.
        results: The results.
    """

    title: str
    source: str
    results: ResultSet


def page(sections: Sequence[Section], title: str, library: str) -> str:
    """Return the page.

    Args:
        sections: The results, in their order.
        title: The title of the page.
        library: The source of plotly.js.
    """
    body = "\n".join(_section(section, n) for n, section in enumerate(sections))
    links = "".join(f'<li><a href="#s{n}">{escape(s.title)}</a></li>' for n, s in enumerate(sections))
    contents = f'<nav aria-label="Sections"><ul>{links}</ul></nav>' if len(sections) > 1 else ""
    data = [pictures.data(section.results) for section in sections]
    cells = sum(len(section.results.records) for section in sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{GENERATOR}\n<title>{escape(title)}</title>\n<style>{_own('page.css')}</style>\n</head>\n<body>\n"
        f"<header><h1>{escape(title)}</h1>\n"
        f"<p>{cells} results; made by upbench {escape(__version__)} from {escape(_sources(sections))}. "
        "Rows sort by a click on a head; series of a picture are hidden by a click on their name.</p>\n"
        '<label class="theme">Colours <select id="theme"><option value="">as the system</option>'
        '<option value="light">light</option><option value="dark">dark</option></select></label>\n'
        f"{contents}</header>\n<main>\n{body}\n</main>\n"
        f'<script type="application/json" id="data">{_embedded(data)}</script>\n'
        f"<script>{_script(library)}</script>\n<script>{_own('page.js')}</script>\n</body>\n</html>\n"
    )


def _section(section: Section, number: int) -> str:
    results = section.results
    return "\n".join(
        (
            f'<section id="s{number}" data-section="{number}">',
            f"<h2>{escape(section.title)}</h2>",
            tables.table(results, section.title, f"t{number}"),
            pictures.places(results),
            verdicts.table(results),
            machine.table(results),
            "</section>",
        )
    )


def _sources(sections: Sequence[Section]) -> str:
    return ", ".join(dict.fromkeys(section.source for section in sections))


def _own(name: str) -> str:
    return files("upbench.report.interactive").joinpath(name).read_text(encoding="utf-8")


def _embedded(data: Any) -> str:
    """JSON that cannot end its script element, whatever texts of users are in it."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _script(source: str) -> str:
    """A script that cannot end its element."""
    return source.replace("</script", "<\\/script").replace("<!--", "<\\!--")
