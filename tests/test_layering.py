"""A module imports only from a lower rank or its own folder; the paper wing and the CLI's surface need no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import upbench

ROOT = Path(upbench.__file__).parent

RANKS = {
    "errors": 0,
    "isolation": 0,
    "backends": 0,
    "units": 0,
    "stats": 0,
    "rounds": 1,
    "effects": 1,
    "scaling": 0,
    "files": 1,
    "shapes": 1,
    "source_files": 0,
    "cards": 1,
    "yaml_file": 1,
    "conventions": 1,
    "ops": 1,
    "upsamplers": 2,
    "registry": 2,
    "calibration": 2,
    "floor": 3,
    "specs": 3,
    "axes": 4,
    "comparable": 4,
    "grid": 5,
    "plan": 6,
    "origin": 2,
    "record": 3,
    "file_kinds": 0,
    "documents": 4,
    "papers": 4,
    "store": 5,
    "metrics": 5,
    "gate": 6,
    "reproduce": 5,
    "report": 7,
    "weights": 5,
    "measure": 4,
    "environment": 5,
    "runtimes": 1,
    "benchmark": 9,
    "versions": 1,
    "against": 11,
    "against_worker": 10,
    "memory_limit": 1,
    "resume": 6,
    "worker": 10,
    "sweeping": 11,
    "api": 12,
    "cli": 13,
    "__main__": 14,
}
TORCH_FREE = {
    "backends",
    "conventions",
    "metrics",
    "calibration",
    "floor",
    "errors",
    "units",
    "stats",
    "source_files",
    "effects",
    "scaling",
    "files",
    "shapes",
    "cards",
    "yaml_file",
    "registry",
    "specs",
    "axes",
    "comparable",
    "grid",
    "plan",
    "record",
    "origin",
    "file_kinds",
    "documents",
    "papers",
    "reproduce",
    "store",
    "gate",
    "versions",
    "report",
    "memory_limit",
    "isolation",
    "runtimes",
    "rounds",
    "resume",
    "worker",
    "sweeping",
}


def _room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def _imports(path: Path, everywhere: bool = False) -> set[str]:
    """Every module that a file imports at its top level, outside `if TYPE_CHECKING`; or everywhere in it."""
    tree = ast.parse(path.read_text())
    found: set[str] = set()
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{a.name}" if node.module == "upbench" else node.module for a in node.names}
    return found


FILES = sorted(p for p in ROOT.rglob("*.py") if p != ROOT / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_downward(path: Path) -> None:
    room = _room(path)
    for name in _imports(path, everywhere=True):
        if not name.startswith("upbench."):
            continue
        other = name.split(".")[1]
        if other in ("__version__", room):
            continue
        assert other in RANKS, f"{path} imports {name}, which has no rank"
        assert RANKS[other] < RANKS[room], f"{path} ({RANKS[room]}) imports {name} ({RANKS[other]})"


@pytest.mark.parametrize("path", [p for p in FILES if _room(p) in TORCH_FREE], ids=lambda p: str(p.relative_to(ROOT)))
def test_the_paper_wing_does_not_import_torch(path: Path) -> None:
    assert not {name for name in _imports(path) if name.split(".")[0] in ("torch", "fvcore")}


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["list"], ["list", "--shapes"], ["list", "--hosts"], ["show", "ldaaqu"], ["show", "fade", "--notes"]],
)
def test_the_surface_loads_neither_torch_nor_pandas_nor_fvcore(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from upbench.cli.app import app\n"
        "try:\n    app(sys.argv[1:])\nexcept SystemExit as end:\n    assert not end.code\n"
        "print([m for m in ('torch', 'pandas', 'fvcore', 'jaxtyping') if m in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert done.stdout


def test_the_help_is_printed_without_pydantic() -> None:
    code = "import sys, upbench.cli.app; print([m for m in ('pydantic', 'rich', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_file_outgrows_its_room() -> None:
    assert {str(p): n for p in FILES if (n := len(p.read_text().splitlines())) > 330} == {}


def _functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function of the package, with its place as `file:name`."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(ROOT)}:{node.name}", node


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function, those of its docstring not counted: what is explained well is not long for that."""
    text = node.body[0] if ast.get_docstring(node) is not None else None
    explained = (text.end_lineno or 0) - text.lineno + 1 if text else 0
    return (node.end_lineno or 0) - node.lineno + 1 - explained


def test_no_function_is_longer_than_a_screen() -> None:
    lengths = {where: _lines(node) for where, node in _functions()}
    assert len(lengths) > 500
    assert {where: lines for where, lines in lengths.items() if lines > 60} == {}
