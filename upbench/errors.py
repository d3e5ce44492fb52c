"""Every failure a user can cause, each as one sentence: what was asked, what is allowed, what to do.

The command line catches `UpbenchError` once, prints its sentences on stderr and exits with code 2.
"""

from __future__ import annotations

import difflib
import os
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path

DEBUG = "UPBENCH_DEBUG"
"""The environment variable that asks for whole tracebacks, also in worker processes."""


class UpbenchError(Exception):
    """Base of all errors that are the user's to mend. `str(error)` is what the user reads."""


class RenamedWarning(FutureWarning):
    """A name that still works, and what to write instead. The command line prints its text on stderr."""


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


def first_line(error: BaseException, located: bool = True) -> str:
    """The type of an error, the first line of its message, and where in the user's own files it arose.

    As in "ValueError: bad kernel (my_up.py, line 12: `raise ValueError('bad kernel')`)"; located: whether to say where.
    """
    try:
        text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    except Exception:  # noqa: BLE001 - an error of a user's own class may fail to say what it is
        text = ""
    if isinstance(error, SyntaxError) and error.msg:
        text = error.msg
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if isinstance(error, SystemExit):
        said = f"it ends the process, sys.exit({error.code!r})"
    where = user_line(error) if located else None
    return f"{said} ({where})" if where else said


def user_line(error: BaseException) -> str | None:
    """The innermost line of the user's own code that an error passed through: "my_up.py, line 12: `source`".

    The user's code is what belongs neither to upbench, nor to Python, nor to an installed package; where an error
    passed through none of it, that of an installed package other than those that upbench is made of, as a plug-in.
    """
    frames = _frames(error)
    own = [frame for frame in frames if not _is_installed(frame.filename)]
    plugins = [frame for frame in frames if _is_installed(frame.filename) and not _is_ours(frame.filename)]
    for frame in (*reversed(own), *reversed(plugins)):
        source = f": `{frame.line.strip()}`" if frame.line and frame.line.strip() else ""
        return f"{_short(frame.filename)}, line {frame.lineno}{source}"
    return None


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    """The frames of an error that are lines of files, outermost first; the line of a syntax error is the last."""
    frames = list(traceback.extract_tb(error.__traceback__))
    if isinstance(error, SyntaxError) and error.filename:
        frames.append(traceback.FrameSummary(error.filename, error.lineno, "", line=error.text or ""))
    return [frame for frame in frames if not frame.filename.startswith("<") and not _is_generated(frame.filename)]


_HERE = str(Path(__file__).resolve().parent)
_PYTHON = str(Path(os.__file__).parent) + os.sep
_PACKAGES = ("site-packages", "dist-packages")
_OURS = (
    "torch",
    "torchgen",
    "functorch",
    "fvcore",
    "iopath",
    "triton",
    "numpy",
    "pydantic",
    "typer",
    "yaml",
    "safetensors",
)


def _is_installed(file: str) -> bool:
    parts = Path(file).parts
    inside = any(name in parts for name in _PACKAGES)
    return inside or str(Path(file).resolve()).startswith(_HERE + os.sep) or file.startswith(_PYTHON)


def _is_ours(file: str) -> bool:
    """Whether an installed file is of Python, of upbench or of a package that upbench is made of."""
    parts = Path(file).parts
    at = max((n for n, part in enumerate(parts) if part in _PACKAGES), default=None)
    return at is None or at + 1 >= len(parts) or parts[at + 1].removesuffix(".py") in (*_OURS, "upbench")


def _is_generated(file: str) -> bool:
    """Whether a file was written by torch.compile."""
    return "torchinductor" in file or "torch_compile" in file


def _short(file: str) -> str:
    """A path as seen from the current folder, where it is inside."""
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return file


def whole_traceback(error: BaseException) -> str:
    """The traceback of an error and of all that it arose from, also of what `from None` would hide."""
    seen: BaseException | None = error
    while seen is not None:
        if seen.__suppress_context__ and seen.__cause__ is None and seen.__context__ is not None:
            seen.__suppress_context__ = False
        seen = seen.__cause__ or seen.__context__
    return "".join(traceback.format_exception(error))
