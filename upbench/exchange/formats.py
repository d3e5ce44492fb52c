"""The kinds of file that a module can be exported to: one module and one entry each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, cast

from upbench.errors import OutputError, UpbenchError, install
from upbench.exchange.capture import Captured

MODULES: dict[str, str] = {
    ".onnx": "upbench.exchange.onnx_file",
    ".aoti.pt2": "upbench.exchange.aoti_file",
    ".pt2": "upbench.exchange.pt2_file",
}
"""End of a file's name -> the module of its kind; the first that fits is taken."""


class Format(Protocol):
    """What the module of a kind of file defines.

    Attributes:
        SUFFIX: End of the names of such files.
        SAMPLING: How points are read in it where nobody says otherwise, see `ops.portable`.
        PACKAGES: Packages that writing and checking it needs.
        EXTRA: The extra of upbench that installs them.
    """

    SUFFIX: str
    SAMPLING: str
    PACKAGES: tuple[str, ...]
    EXTRA: str
    write: Callable[[Captured, Path, int | None], None]
    sizes: Callable[[Path], list[list[int | str]] | None]
    facts: Callable[[Path], dict[str, Any]]
    add_metadata: Callable[[Path, Mapping[str, str]], None]
    metadata: Callable[[Path], dict[str, str]]
    load: Callable[..., Callable[..., Any]]


def of(path: Path) -> Format:
    """Return the kind of file that a name stands for.

    Args:
        path: The file.

    Raises:
        OutputError: For a name of no kind.
        UpbenchError: Where a package is missing.
    """
    for suffix, module in MODULES.items():
        if path.name.endswith(suffix):
            found = cast(Format, import_module(module))
            if missing := [name for name in found.PACKAGES if find_spec(name) is None]:
                raise UpbenchError(
                    f"{path.name}: writing and checking a {suffix} file needs {', '.join(missing)}; "
                    f"{install(found.EXTRA)}"
                )
            return found
    listed = ", ".join(MODULES)
    raise OutputError(
        f"output {path} must end in one of {listed}, which says what is written; give such a name with --output"
    )
