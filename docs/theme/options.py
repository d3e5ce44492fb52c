"""What mkdocs does with a finished page: options stay in one piece, where a browser would break a line behind their two hyphens."""

from __future__ import annotations

import re
from typing import Any

CODE = re.compile(r"<code>.*?</code>", re.DOTALL)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*(?=[^<>]*<)")
"""An option in text, and not in a tag."""


def on_page_content(content: str, **context: Any) -> str:
    """Return a page in which no line breaks within an option.

    Args:
        content: The page, as HTML.
        context: What mkdocs knows of it besides.
    """
    return CODE.sub(lambda code: OPTION.sub(r'<span class="option">\g<0></span>', code[0]), content)
