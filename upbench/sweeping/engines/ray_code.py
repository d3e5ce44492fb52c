"""How a user's code gets to the nodes of a Ray cluster: as the working directory of Ray's own `runtime_env`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from upbench import registry
from upbench.errors import SpecError
from upbench.specs.run_spec import RunSpec
from upbench.user_code import modules, source_files

EXCLUDED = [".git", ".venv", "venv", "__pycache__", "results", "*.jsonl"]
"""What stays behind, since no module is imported from it; so does what .gitignore names."""


def runtime_env(specs: Sequence[RunSpec]) -> dict[str, Any]:
    """Return the environment of the actors: with the folder that the user's modules are imported from, if there are any.

    Args:
        specs: One spec of each upsampler of a sweep. Modules of installed packages are expected on every node.

    Raises:
        SpecError: If the modules are in several folders, of which Ray sends only one.
    """
    folders = dict.fromkeys(folder for spec in specs for folder in _folders(spec))
    if len(folders) > 1:
        listed = " and ".join(map(str, folders))
        raise SpecError([f"--engine ray sends one folder to the nodes, but the user's code is in {listed}"])
    if not folders:
        return {}
    return {"working_dir": str(next(iter(folders))), "excludes": EXCLUDED}


def _folders(spec: RunSpec) -> Iterator[Path]:
    """Yield the folders of a user's modules and files in a spec."""
    if ":" in spec.upsampler:
        registry.get(spec.upsampler)  # imports it
        module = spec.upsampler.partition(":")[0]
        yield from _folder(getattr(sys.modules.get(module), "__file__", None), module)
    if spec.model is not None and ":" in spec.model.name:
        module = spec.model.name.partition(":")[0]
        modules.search_here()
        found = importlib.util.find_spec(module)
        yield from _folder(found.origin if found else None, module)
    files = (spec.model.inputs, spec.model.weights) if spec.model is not None else ()
    if any(file is not None and not Path(file).is_absolute() for file in files):
        yield Path.cwd()  # what their paths start from


def _folder(file: str | None, module: str) -> Iterator[Path]:
    folder = source_files.folder_of(Path(file), module) if file else None
    if folder is not None:
        yield folder
