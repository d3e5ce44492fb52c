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
    """Base of all errors that a user can correct. `str(error)` is the sentence that the user reads."""


class RenamedWarning(FutureWarning):
    """Warns of an old name that still works, and names the new one. The command line prints its text on stderr."""


class UnknownName(UpbenchError):
    """Raised for a name that is not among the known ones."""


class SpecError(UpbenchError):
    """Raised for one or more mistakes in a spec, which are collected before anything runs.

    Args:
        mistakes: A sentence for each mistake.
    """

    def __init__(self, mistakes: Sequence[str]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(self.mistakes))


class InputError(UpbenchError):
    """Raised for a tensor that the upsampler cannot take."""


class WeightsError(UpbenchError):
    """Raised for weights that do not fit the module."""


class DeviceError(UpbenchError):
    """Raised for a device that does not exist, or cannot do what the spec needs."""


class BackendError(UpbenchError):
    """Raised for a backend that cannot compute an op."""


class OutputError(UpbenchError):
    """Raised for a file that cannot be written."""


class StoreError(UpbenchError):
    """Raised for a results file that cannot be read."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name closest to `name`, or None when none is close."""
    lowered: dict[str, list[str]] = {}
    for k in known:
        lowered.setdefault(k.lower(), []).append(k)
    hits = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    return max(lowered[hits[0]], key=lambda k: difflib.SequenceMatcher(None, name, k).ratio()) if hits else None


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean x?", or the empty string when no known name is close."""
    close = nearest(name, known)
    return f"; did you mean {close!r}?" if close else ""


def known_names(name: str, known: Iterable[str]) -> str:
    """Return "did you mean x? Known: a, b, x", or "known: a, b" when no known name is close."""
    names = list(known)
    close, listed = nearest(name, names), ", ".join(names) if names else "none"
    return f"did you mean {close!r}? Known: {listed}" if close else f"known: {listed}"


def unknown(kind: str, name: object, known: Iterable[str]) -> UnknownName:
    """Make the error for a name that is not known; it names the kind, the nearest known name and all of them.

    Args:
        kind: What the name is of, as "format".
        name: The name that was given.
        known: All known names.
    """
    return UnknownName(f"unknown {kind} {str(name)!r}; {known_names(str(name), known)}")


def no_module(name: str, value: object) -> SpecError:
    """Make the error for what is given instead of a torch.nn.Module; it says what was given.

    Args:
        name: The argument.
        value: Its value: a class that was not called, a function, or anything else.
    """
    what = f"{value!r:.60}"
    made = ""
    if isinstance(value, type):
        what = f"the class {value.__name__}"
        made = f"; make one first, as {value.__name__}()" if hasattr(value, "state_dict") else ""
    elif callable(value) and hasattr(value, "__name__"):
        what = f"the function {value.__name__}"
        made = "; write it as the forward of one"
    return SpecError([f"{name} is {what}, but must be a torch.nn.Module{made}"])


def install(extra: str, pinned: bool = True) -> str:
    """Return the command that installs an extra of upbench, and where it runs: no package is published yet.

    Args:
        extra: The extra, as "plot".
        pinned: Whether the versions are those that were tested.
    """
    return f"in the clone of upbench run: pip install {'-c constraints.txt ' if pinned else ''}-e '.[{extra}]'"


def first_line(error: BaseException, located: bool = True) -> str:
    """Return the type of an error and the first line of its message, and the line of the user's files that it arose in.

    As in "ValueError: bad kernel (my_up.py, line 12: `raise ValueError('bad kernel')`)".

    Args:
        error: The error.
        located: Whether the line of the user's files is included.
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
    """Return the innermost line of the user's own code that an error passed through: "my_up.py, line 12: `source`".

    The user's code is what belongs neither to upbench, nor to Python, nor to an installed package. Where an error passed
    through none of it, the line is that of an installed package which upbench does not depend on, such as a plug-in.
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
    """Return the traceback of an error and of all its causes, including those that `from None` would hide."""
    seen: BaseException | None = error
    while seen is not None:
        if seen.__suppress_context__ and seen.__cause__ is None and seen.__context__ is not None:
            seen.__suppress_context__ = False
        seen = seen.__cause__ or seen.__context__
    return "".join(traceback.format_exception(error))
