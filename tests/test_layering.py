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

HOUSE: tuple[tuple[str, ...], ...] = (
    ("errors", "interrupts", "units", "analysis", "backends"),
    ("conventions", "files", "runtimes", "cards", "ops", "weights", "user_code"),
    ("registry", "upsamplers"),
    ("specs",),
    ("records", "papers"),
    ("measure", "reproduce"),
    ("machine", "exchange"),
    ("metrics", "benchmark"),
    ("models",),
    ("gate", "sweeping", "accuracy"),
    ("deploy",),
    ("report", "versions", "session"),
    ("quality",),
    ("api", "cli"),
    ("__main__",),
)
"""The folders and modules of the package, bottom to top: each imports only from the rows below its own."""
RANKS = {room: rank for rank, row in enumerate(HOUSE) for room in row}
TORCH_FREE = {
    "accuracy",
    "analysis",
    "backends",
    "cards",
    "conventions",
    "errors",
    "files",
    "gate",
    "interrupts",
    "metrics",
    "papers",
    "records",
    "registry",
    "report",
    "reproduce",
    "runtimes",
    "session",
    "specs",
    "sweeping",
    "units",
    "user_code",
}
TORCH_FREE_FILES = {
    "machine/calibration.py",
    "machine/roofline.py",
    "machine/memory_limit.py",
    "machine/allocator.py",
    "measure/rounds.py",
    "benchmark/checked.py",
    "models/catalogue.py",
    "models/job.py",
    "deploy/cell.py",
    "deploy/run.py",
    "deploy/targets/__init__.py",
    "versions/checkout.py",
}
"""Files of the torch wing that both wings read."""


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


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if _room(p) in TORCH_FREE or str(p.relative_to(ROOT)) in TORCH_FREE_FILES],
    ids=lambda p: str(p.relative_to(ROOT)),
)
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


def test_few_modules_stand_beside_the_folders() -> None:
    modules = [path.stem for path in ROOT.glob("*.py")]
    assert len(modules) <= 12, modules
    stray = {str(p) for p in ROOT.iterdir() if any(p.glob("*.py")) and p.name not in RANKS}
    assert stray == set()
