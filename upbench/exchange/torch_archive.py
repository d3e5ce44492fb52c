"""What is known of a file, in the zip archives that torch.export and AOTInductor write."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

ABOUT = "extra/upbench.json"
"""Name of the metadata inside an archive, in its folder: `extra_files` of torch.export.load reads it as upbench.json."""


def add_metadata(path: Path, about: Mapping[str, str]) -> None:
    """Write what is known of a file into it, once."""
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        root = archive.namelist()[0].partition("/")[0]
        archive.writestr(f"{root}/{ABOUT}", json.dumps(dict(about)))


def metadata(path: Path) -> dict[str, str]:
    """Read what was written into a file about it; nothing where nothing was."""
    with zipfile.ZipFile(path) as archive:
        name = next((n for n in archive.namelist() if n.endswith(f"/{ABOUT}")), None)
        return {} if name is None else dict(json.loads(archive.read(name)))
