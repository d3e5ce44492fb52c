"""Every failure a user can cause, each as one sentence: what was asked, what is allowed, what to do.

The command line catches `UpbenchError` once, prints its sentences on stderr and exits with code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class UpbenchError(Exception):
    """Base of all errors that are the user's to mend. `str(error)` is what the user reads."""


class UnknownName(UpbenchError):
    """A name that is not among the known ones."""


class SpecError(UpbenchError):
    """One or more mistakes in a spec, collected before anything runs: `mistakes` holds a sentence for each."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(self.mistakes))


class InputError(UpbenchError):
    """A tensor that the upsampler cannot take."""


class WeightsError(UpbenchError):
    """Weights that do not fit the module."""


class DeviceError(UpbenchError):
    """A device that is not there or cannot do what was asked."""


class BackendError(UpbenchError):
    """A backend that cannot run what was asked."""


class OutputError(UpbenchError):
    """A file that cannot be written."""


class StoreError(UpbenchError):
    """A results file that cannot be read."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to `name`, or None when none is close."""
    lowered = {k.lower(): k for k in known}
    hits = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    return lowered[hits[0]] if hits else None


def suggestion(name: str, known: Iterable[str]) -> str:
    """'; did you mean x?' or the empty string."""
    close = nearest(name, known)
    return f"; did you mean {close!r}?" if close else ""


def unknown(kind: str, name: object, known: Iterable[str]) -> UnknownName:
    """The error for a name that is not in `known`: names the kind, the nearest known name and all of them."""
    names = list(known)
    listed = ", ".join(names) if names else "none"
    return UnknownName(f"unknown {kind} {str(name)!r}; known: {listed}{suggestion(str(name), names)}")
