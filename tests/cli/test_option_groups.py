"""Options are declared once, laid into commands as groups; every command prints every format."""

from __future__ import annotations

import ast
import inspect
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import pytest
import typer
from typer.models import OptionInfo
from typer.testing import CliRunner

import upbench as package
from tests.command_line import refused, upbench
from tests.command_lines import forked
from upbench.cli import option_groups
from upbench.cli.app import app
from upbench.report.formats import render

FAST = ["--shape", "8x6x5", "--budget", "0.01", "--device", "cpu"]
ROOT = Path(package.__file__).parent
SHOWING = (
    "list",
    "profile",
    "compare",
    "sites",
    "deploy",
    "diff",
    "sweep",
    "quality",
    "table",
    "effects",
    "reproduce",
    "env",
)


def _declared() -> Iterator[tuple[str, str, Any, OptionInfo]]:
    """Command, name of the option, its type and its declaration, for every option of every command that --help lists."""
    for info in app.registered_commands:
        for parameter in inspect.signature(info.callback).parameters.values():
            if not hasattr(parameter.annotation, "__metadata__"):
                raise AssertionError(f"{info.name}: {parameter.name} is declared in the old way")
            kind, declaration = get_args(parameter.annotation)[:2]
            if isinstance(declaration, OptionInfo) and not declaration.hidden:
                written = [declaration.default, *(declaration.param_decls or ())]  # typer takes the first for a default
                names = [n for n in written if str(n).startswith("-")] or [f"--{parameter.name.replace('_', '-')}"]
                for name in names:
                    yield info.name, name, kind, declaration


def test_no_option_is_declared_twice() -> None:
    seen: dict[tuple[str, bool], set[int]] = {}
    commands: dict[str, int] = {}
    for _, name, kind, declaration in _declared():
        # A switch and an option with a value are two options: `list --metrics`, `effects --metrics latency`.
        seen.setdefault((name, kind is bool), set()).add(id(declaration))
        commands[name] = commands.get(name, 0) + 1
    assert {name: n for (name, _), n in ((k, len(v)) for k, v in seen.items()) if n > 1} == {}
    assert commands["--format"] == len(SHOWING)
    assert commands["--debug"] == len(app.registered_commands)
    assert commands["--shape"] == 5


def test_no_declaration_is_written_twice_in_the_sources() -> None:
    found: dict[str, list[str]] = {}
    for path in (ROOT / "cli").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "typer.Option":
                for argument in node.args:
                    if isinstance(argument, ast.Constant) and str(argument.value).startswith("--"):
                        found.setdefault(argument.value, []).append(path.name)
    assert {name: files for name, files in found.items() if len(files) > 1} == {
        "--metrics": found["--metrics"]  # a switch of list, a value of effects
    }


def test_a_group_is_one_object_for_its_command() -> None:
    @dataclass(frozen=True)
    class Colours:
        red: Annotated[int, typer.Option(help="How red.")] = 1
        names: Annotated[list[str] | None, typer.Option("--name")] = None

    got: list[object] = []

    def paint(item: Annotated[str, typer.Argument()], colours: Colours, loud: bool = False) -> None:
        got.append((item, colours, loud))

    paint.__annotations__ = {"item": Annotated[str, typer.Argument()], "colours": Colours, "loud": bool}
    own = typer.Typer()
    own.command()(option_groups.command(paint))
    result = CliRunner().invoke(own, ["wall", "--red", "3", "--name", "a", "--name", "b", "--loud"])
    assert result.exit_code == 0, result.output
    assert got == [("wall", Colours(3, ["a", "b"]), True)]
    assert "How red." in CliRunner().invoke(own, ["--help"]).stdout


@pytest.mark.parametrize(
    ("command", "refused_ones"),
    [
        (
            "export",
            ["mode", "device", "threads", "budget", "allocator", "compile", "memory-format", "backend", "runtime"],
        ),
        ("deploy", ["mode", "device", "batch", "dtype", "budget", "allocator", "compile", "memory-format", "backend"]),
    ],
)
def test_help_lists_no_option_that_the_command_refuses(command: str, refused_ones: list[str], tmp_path: Path) -> None:
    listed = {name for where, name, _, _ in _declared() if where == command}
    shown = upbench(command, "--help").stdout
    more = ["-o", tmp_path / "up.onnx"] if command == "export" else ["--to", "onnxruntime"]
    values = {"threads": "1", "budget": "1", "batch": "2", "allocator": "kept"}
    for name in refused_ones:
        assert f"--{name}" not in listed
        assert f"--{name} " not in shown
        sentence = refused(command, "bilinear", *more, f"--{name}", values.get(name, "off"))
        assert f"--{name}" in sentence
        assert "leave it out" in sentence
    assert {"--shape", "--set", "--scale", "--output-size", "--guide-size", "--seed", "--offsets"} <= listed


MARKS = {
    "latex": "\\begin{tab",
    "html": "<table",
    "markdown": "| ",
    "csv": ",",
    "json": "{",
    "table": "\n",
    "parquet": "PAR1",
}


@pytest.mark.parametrize("form", list(render.FORMATS))
@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["list", "--shapes"],
        ["list", "--hosts"],
        ["env"],
        ["profile", "bilinear", *FAST],
        ["profile", "carafe", "--by-op", *FAST],
        ["compare", "bilinear", "nearest", *FAST, "--exact"],
        ["reproduce", "--list"],
        ["reproduce", "lda-aqu/table1", "--row", "FADE"],
        ["reproduce", "lda-aqu/table1"],
    ],
    ids=lambda a: " ".join(a[:3]),
)
def test_every_command_prints_every_format(arguments: list[str], form: str, tmp_path: Path) -> None:
    if arguments == ["reproduce", "lda-aqu/table1"] and form not in ("latex", "html"):
        pytest.skip("counts for seconds; its other formats are tested in test_reproduce.py")
    file = tmp_path / "out"
    result = upbench(*arguments, "--format", form, "-o", file)
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    text = file.read_bytes().decode(errors="replace")
    assert MARKS[form] in text
    if form == "json":
        json.loads(text)


def test_a_baseline_and_its_difference_in_latex_and_html(tmp_path: Path) -> None:
    saved = tmp_path / "b.json"
    assert upbench("compare", "bilinear", *FAST, "--exact", "--save", saved).exit_code == 0
    for form in ("latex", "html"):
        assert MARKS[form] in upbench("diff", saved, saved, "--format", form).stdout


def test_an_unknown_format_is_refused_with_the_nearest() -> None:
    for command in (["list"], ["profile", "bilinear"], ["table", "x.jsonl"]):
        result = upbench(*command, "--format", "latx")
        assert result.exit_code == 2
        assert (
            "--format latx: unknown format 'latx'; did you mean 'latex'? Known: table, markdown, csv, latex, html, json, parquet"
            in result.stderr
        )
        assert "did you mean 'latex'?" in result.stderr


TOY = """
def render(tables, plain):
    return "".join(f"toy: {table.title}: {len(table.rows)} rows\\n" for table in tables)
"""
TOY_FORMAT = """
sys.path.insert(0, {folder!r})
from upbench.report.formats import render
import toy
render.FORMATS["toy"] = toy.render
"""


def test_one_more_format_is_one_file_and_one_entry(tmp_path: Path) -> None:
    (tmp_path / "toy.py").write_text(TOY)
    helps = [(command, "--help") for command in SHOWING]
    lines = [
        ("list", "--shapes", "--format", "toy"),
        ("profile", "bilinear", *FAST, "--format", "toy"),
        ("reproduce", "--list", "--format", "toy"),
    ]
    environment = {**os.environ, "COLUMNS": "200"}
    prepare = TOY_FORMAT.format(folder=str(tmp_path))
    found = forked(tmp_path / "printed", *lines, *helps, prepare=prepare, environment=environment)
    assert [one.returncode for one in found] == [0] * (3 + len(helps))
    for one in found[3:]:
        assert "table|markdown|csv|latex|html|json|parquet|toy" in one.stdout
    for one, begins in zip(found, ("toy: Named shapes", "toy: ", "toy: Published tables"), strict=False):
        assert one.stdout.startswith(begins)
