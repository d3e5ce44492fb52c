"""The source files of a user's module: which belong to it, and what is done with a cell whose module was edited."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import Result

from tests import command_line
from upbench.records import store
from upbench.user_code import source_files

UP = """
import torch.nn.functional as F
from torch import nn

{imports}

class Up(nn.Module):
    def __init__(self, channels, scale):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return F.interpolate(x, scale_factor=self.scale) * {gain}
"""


def write(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize(
    ("files", "start", "expected"),
    [
        ({"up.py": "import torch, os, json", "other.py": ""}, "up", {"up.py"}),
        (
            {"up.py": "import a\nfrom b import c", "a.py": "", "b.py": "import d.e", "d/e.py": "", "d/f.py": ""},
            "up",
            {"up.py", "a.py", "b.py", "d/e.py"},
        ),
        (
            {
                "pkg/__init__.py": "from .top import thing",
                "pkg/top.py": "",
                "pkg/sub/__init__.py": "",
                "pkg/sub/up.py": "from . import near\nfrom ..other import name\nfrom .near import *",
                "pkg/sub/near.py": "",
                "pkg/other/__init__.py": "",
                "pkg/other/name.py": "import pkg.far",
                "pkg/far.py": "",
                "pkg/unused.py": "",
            },
            "pkg.sub.up",
            {
                "pkg/__init__.py", "pkg/top.py", "pkg/sub/__init__.py", "pkg/sub/up.py", "pkg/sub/near.py",
                "pkg/other/__init__.py", "pkg/other/name.py", "pkg/far.py",
            },
        ),
        (
            {
                "up.py": "def f():\n    import late\n    if 0:\n        from importlib import import_module\n"
                "        import_module('named')\n        __import__('older')",
                "late.py": "import up",
                "named.py": "",
                "older.py": "",
            },
            "up",
            {"up.py", "late.py", "named.py", "older.py"},
        ),
        (
            {"space/up.py": "from layers import conv\nfrom space import near", "space/near.py": "", "layers.py": ""},
            "space.up",
            {"space/up.py", "space/near.py", "layers.py"},
        ),
        ({"up.py": "import fast", "fast.abi3.so": b"\x7fELF", "kernel.cu": ""}, "up", {"up.py", "fast.abi3.so"}),
        ({"up.py": "load('x', sources=['kernel.cu', 'gone.cu'])", "kernel.cu": ""}, "up", {"up.py", "kernel.cu"}),
        ({"up.py": "this is no python", "a.py": ""}, "up", {"up.py"}),
        ({"up.py": "from ..... import a\nfrom . import b", "b.py": ""}, "up", {"up.py", "b.py"}),
    ],
)  # fmt: skip
def test_the_files_of_a_module_are_those_it_imports_from_its_package_and_folder(
    files: dict[str, str | bytes], start: str, expected: set[str], tmp_path: Path
) -> None:
    write(tmp_path, files)
    file = tmp_path / f"{start.replace('.', '/')}.py"
    found = source_files.of_file(file, start)
    assert set(found) == expected
    if not start.startswith("space"):  # a folder without __init__.py is a package only by the name of the import
        assert source_files.of_file(file, "a_name_of_its_own") == found, "loaded by its path"


def test_of_an_installed_module_only_its_own_package_counts(tmp_path: Path) -> None:
    site = tmp_path / "lib" / "site-packages"
    write(
        site, {"plug/__init__.py": "", "plug/up.py": "import big\nfrom . import near", "plug/near.py": "", "big.py": ""}
    )
    found = source_files.of_file(site / "plug" / "up.py", "plug.up")
    assert set(found) == {"plug/__init__.py", "plug/up.py", "plug/near.py"}


def test_torch_is_named_by_its_version_alone() -> None:
    """A class such as torch.nn:Upsample would else wait fifteen seconds for the hashes of 1,700 files."""
    import torch.nn  # noqa: F401

    assert source_files.of_loaded("torch.nn") == {}


def test_a_hash_is_of_the_bytes_and_what_changed_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"up.py": "import a, b", "a.py": "x = 1", "b.py": ""})
    old = source_files.of_file(tmp_path / "up.py", "up")
    write(tmp_path, {"up.py": "import a, c", "a.py": "x = 1  # a comment", "c.py": ""})
    new = source_files.of_file(tmp_path / "up.py", "up")
    assert source_files.changed(old, new) == ["a.py", "b.py (gone)", "c.py (new)", "up.py"]
    assert source_files.changed(old, dict(reversed(old.items()))) == []
    assert source_files.digest(old) == source_files.digest(dict(reversed(old.items()))) != source_files.digest(new)
    assert source_files.changed(None, new) == []
    assert str(tmp_path) not in json.dumps(new)


def forget() -> None:
    """Let the modules of these tests be imported anew."""
    for name in [name for name in sys.modules if name.split(".")[0] in ("nets", "two", "up")]:
        del sys.modules[name]


@pytest.fixture
def upbench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """The command line in the folder of the test, each time as in a process that has imported none of its files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def run(*arguments: str) -> Result:
        forget()
        return command_line.upbench(*arguments)

    yield run
    forget()


def gains(path: Path) -> list[tuple[object, float | None]]:
    """Of each record, its axes and what its output was scaled by."""
    records = store.load(path).records
    return [(r.axes["upsampler"], r.output and r.output.highest and round(r.output.highest, 3)) for r in records]


def test_edited_code_is_measured_again_and_the_file_is_named(tmp_path: Path, upbench: Callable[..., Result]) -> None:
    sweep = {
        "name": "mine", "input": {"shape": "8x6x5"}, "measure": {"budget": 0.02, "device": "cpu", "threads": 1},
        "base": {"upsampler": "two:Up"}, "grid": {"upsampler": ["nets.one:Up", "two:Up", "nearest"]},
    }  # fmt: skip
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(sweep))
    write(
        tmp_path,
        {
            "nets/__init__.py": "",
            "nets/one.py": UP.format(imports="from .parts import GAIN", gain="GAIN"),
            "nets/parts.py": "GAIN = 1",
            "two.py": UP.format(imports="", gain="2"),
        },
    )
    path = tmp_path / "results" / "mine.jsonl"
    first = upbench("sweep", "mine.yaml")
    assert first.exit_code == 0, first.stderr
    before = gains(path)
    assert len(before) == 3
    records = store.load(path).records
    assert [set(r.sources or ()) for r in records] == [
        {"nets/__init__.py", "nets/one.py", "nets/parts.py"}, {"two.py"}, set(),
    ]  # fmt: skip
    assert records[2].sources is None

    assert "changed" not in upbench("sweep", "mine.yaml").stderr
    assert gains(path) == before, "nothing was edited"

    write(tmp_path, {"nets/parts.py": "GAIN = 3"})
    dry = upbench("sweep", "mine.yaml", "--dry-run")
    assert "to measure: nets/parts.py changed" in dry.stdout
    assert dry.stdout.count("measured already") == 2
    again = upbench("sweep", "mine.yaml", "--format", "csv")
    assert again.exit_code == 0
    assert "upbench: nets/parts.py changed since it was measured; 1 cell is measured again" in again.stderr
    after = gains(path)
    assert [name for name, _ in after[3:]] == ["nets.one:Up"]
    assert after[3][1] == pytest.approx(3 * (before[0][1] or 0), rel=1e-2)
    assert len(again.stdout.splitlines()) == 4
    table = upbench("table", "results/mine.jsonl", "--format", "csv")
    assert len(table.stdout.splitlines()) == 4, "an edited cell is one cell"

    write(tmp_path, {"nets/parts.py": "GAIN = 1"})
    back = upbench("sweep", "mine.yaml")
    assert "changed" not in back.stderr
    assert gains(path) == [*after, before[0]], "code taken back is known, and its record is the one to show"
    assert upbench("sweep", "mine.yaml").exit_code == 0
    assert len(gains(path)) == 5


EDITS_ITSELF = """

class EditsItself(Up):
    def forward(self, x):
        import os, signal
        with open(__file__, "a") as file:
            file.write("# edited")
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_module_edited_while_a_sweep_runs_is_recorded_as_what_ran(
    tmp_path: Path, upbench: Callable[..., Result]
) -> None:
    sweep = {
        "name": "mine", "input": {"shape": "8x6x5"}, "measure": {"budget": 0.02, "device": "cpu", "threads": 1},
        "cells": [{"upsampler": "up:Up", "seed": 0}, {"upsampler": "up:EditsItself"}, {"upsampler": "up:Up", "seed": 1}],
    }  # fmt: skip
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(sweep))
    source = UP.format(imports="", gain="1") + EDITS_ITSELF
    write(tmp_path, {"up.py": source})
    path = tmp_path / "results" / "mine.jsonl"
    first = upbench("sweep", "mine.yaml", "--format", "csv")
    assert "up.py changed while the sweep ran; seed=1, upsampler=up:Up is of the new code" in first.stderr
    assert len(first.stdout.splitlines()) == 4
    records = store.load(path).records
    old, crashed, new = [r.sources for r in records]
    assert old == crashed
    assert source_files.changed(old, new) == ["up.py"]

    write(tmp_path, {"up.py": source})
    assert "1 cell is measured again" in upbench("sweep", "mine.yaml").stderr
    assert [r.axes["seed"] for r in store.load(path).records[3:]] == [1], "the others are of this code"
