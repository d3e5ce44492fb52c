"""A line in a LaTeX file by which an edit is known, so that a caption written by hand is never overwritten."""

from __future__ import annotations

import hashlib

_SEAL = "% upbench overwrites this file only while it is unedited: "


def sealed(text: str) -> str:
    """Return a LaTeX text with the checksum of its lines as its last line."""
    text = text if text.endswith("\n") else text + "\n"
    return f"{text}{_SEAL}{_checksum(text)}\n"


def is_unedited(text: str) -> bool | None:
    """Return whether a text is as `sealed` left it; None where it has no checksum, as tables that were printed.

    Args:
        text: The content of a LaTeX file.
    """
    before, seal, after = text.rpartition(_SEAL)
    if not seal:
        return None
    # The ends of lines are those of the machine that a repository was cloned on.
    return _checksum(before.replace("\r\n", "\n")) == after.strip()


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
