"""Classes of users' own: what their constructors may look like, and what is said of those that cannot be taken."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import upbench as package
from tests.command_line import refused, upbench
from upbench import registry
from upbench.records import store

FAST = ["--shape", "8x6x5", "--budget", "0.01", "--device", "cpu"]
HEAD = """
import dataclasses, enum, functools, math, pathlib
import torch
from torch import nn
import torch.nn.functional as F

class Mode(enum.Enum):
    fast = 1

class Number(enum.IntEnum):
    two = 2

@dataclasses.dataclass
class Options:
    size: int = 3

def twice(x):
    return 2 * x

class Base(nn.Module):
    def __init__(self, channels, scale):
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return F.interpolate(x, scale_factor=self.scale) * self.weight

"""
_numbers = itertools.count()
Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a file of the user's with some classes after HEAD, and gives the name of its module."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def writer(text: str) -> str:
        name = f"users_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(HEAD + text)
        return name

    return writer


def with_default(default: str) -> str:
    return (
        f"class Up(Base):\n    def __init__(self, channels, scale, option={default}):\n"
        "        super().__init__(channels, scale)\n        self.option = option\n        self.kept = [option]\n"
    )


OBJECTS = [
    ("nn.ReLU", "torch.nn.modules.activation.ReLU"),
    ("nn.ReLU()", "ReLU()"),
    ("twice", ".twice"),
    ("lambda x: x", ".Up.<lambda>"),
    ("F.relu", "torch.nn.functional.relu"),
    ("math.sqrt", "math.sqrt"),
    ("torch.float16", "torch.float16"),
    ("torch.zeros(2, 3)", "torch.Tensor[2, 3]"),
    ("Mode.fast", ".Mode.fast"),
    ("Number.two", ".Number.two"),
    ("pathlib.Path('a/b')", "a/b"),
    ("Options()", "Options(size=3)"),
    ("object()", "<object object>"),
    ("functools.partial(nn.Conv2d, bias=False)", "functools.partial(torch.nn.modules.conv.Conv2d, bias=False)"),
    ("[nn.ReLU, nn.GELU]", "[torch.nn.modules.activation.ReLU, torch.nn.modules.activation.GELU]"),
    ("{'act': nn.ReLU}", "{'act': torch.nn.modules.activation.ReLU}"),
    ("{1: 2}", "{1: 2}"),
    ("(1, (2, nn.ReLU))", "(1, (2, torch.nn.modules.activation.ReLU))"),
    ("{'b', 'a', 'c'}", "{'a', 'b', 'c'}"),
    ("3j", "3j"),
    ("b'x'", "b'x'"),
    ("range(3)", "range(0, 3)"),
]


@pytest.mark.parametrize(("default", "text"), OBJECTS)
def test_a_default_that_is_an_object_is_written_as_text(write: Write, default: str, text: str) -> None:
    name = f"{write(with_default(default))}:Up"
    record = json.loads(upbench("profile", name, *FAST, "--format", "json").stdout)
    written = record["spec"]["params"]["option"]
    assert written.endswith(text)
    shown = yaml.safe_load(upbench("show", name).stdout)
    assert shown["params"]["option"] == written
    Path("spec.yaml").write_text(yaml.safe_dump(shown))
    again = upbench("profile", "spec.yaml", *FAST[2:], "--shape", "256x3x2", "--format", "json")
    assert json.loads(again.stdout)["spec"]["params"] == record["spec"]["params"]
    module = package.build(name, channels=8)
    assert "option" in vars(module) or "option" in module._modules
    assert not isinstance(module.option, str)
    said = refused("profile", name, *FAST, "--set", "option=other")
    assert "params.option cannot be set from YAML or --set, since its default" in said


@pytest.mark.parametrize("default", ["nn.ReLU", "(3, 3)", "float('inf')", "{'b', 'a'}", "torch.float16"])
def test_sweep_compare_and_list_go_on_with_such_defaults(write: Write, default: str) -> None:
    name = f"{write(with_default(default))}:Up"
    data = {
        "name": "tiny",
        "base": {"upsampler": name},
        "input": {"shape": "8x6x5"},
        "measure": {"budget": 0.01, "device": "cpu"},
        "grid": {"batch": [1, 2]},
    }
    Path("tiny.yaml").write_text(yaml.safe_dump(data))
    result = upbench("sweep", "tiny.yaml", "--output", "r.jsonl")
    assert result.exit_code == 0, result.output
    assert [r.status for r in store.load(Path("r.jsonl")).records] == ["ok", "ok"]
    assert "measured already" in upbench("sweep", "tiny.yaml", "--output", "r.jsonl", "--dry-run").stdout
    compared = upbench("compare", name, "bilinear", *FAST, "--exact", "--format", "json")
    assert json.loads(compared.stdout)["records"][0]["label"] == name
    assert upbench("list").exit_code == 0


def test_numbers_that_yaml_lacks_and_tuples_can_be_replaced(write: Write) -> None:
    name = f"{write(with_default('(3, 3)'))}:Up"
    assert package.build(name, channels=8).option == (3, 3)
    assert package.build(name, channels=8, option=[5, 7]).option == (5, 7)
    record = json.loads(upbench("profile", name, *FAST, "--set", "option=[5, 7]", "--format", "json").stdout)
    assert record["spec"]["params"]["option"] == [5, 7]
    assert "option is 5, but must be a list" in refused("profile", name, *FAST, "--set", "option=5")
    for default in ("float('inf')", "float('nan')", "-math.inf"):
        name = f"{write(with_default(default))}:Up"
        record = json.loads(upbench("profile", name, *FAST, "--format", "json").stdout)
        assert record["spec"]["params"]["option"] in ("inf", "nan", "-inf")
        assert isinstance(package.build(name, channels=8).option, float)
        assert package.build(name, channels=8, option=2.5).option == 2.5
        assert "must be a number" in refused("profile", name, *FAST, "--set", "option=x")


def test_a_required_argument_is_asked_for_and_never_none(write: Write) -> None:
    name = write(
        "class Up(Base):\n    def __init__(self, channels, scale, hidden: int, *, width):\n"
        "        super().__init__(channels, scale)\n        self.conv = nn.Conv2d(channels, hidden + width, 1)\n"
    )
    said = refused("profile", f"{name}:Up", *FAST)
    assert "params.hidden has no default: give --set hidden=" in said
    assert "params.width has no default: give --set width=" in said
    record = json.loads(
        upbench("profile", f"{name}:Up", *FAST, "--set", "hidden=3", "--set", "width=1", "--format", "json").stdout
    )
    assert record["params"] == 1 + 8 * 4 + 4
    assert "params.hidden is x, but must be an integer" in refused(
        "profile", f"{name}:Up", *FAST, "--set", "hidden=x", "--set", "width=1"
    ).replace("'x'", "x")
    shown = upbench("show", f"{name}:Up").stdout
    assert "# hidden:" in shown
    assert "params.hidden has no default" in refused_file(shown)
    assert "hidden" not in json.loads(upbench("show", f"{name}:Up", "--json").stdout)["params"]
    with pytest.raises(package.UpbenchError, match=r"params\.hidden has no default"):
        package.build(f"{name}:Up", channels=8)


def refused_file(text: str) -> str:
    Path("spec.yaml").write_text(text)
    return refused("profile", "spec.yaml", *FAST)


INITS = {
    "keyword-only options": "channels, scale, *, kernel=3",
    "positional-only options": "channels, scale, kernel=3, /",
    "positional-only sizes": "channels, scale, /, kernel=3",
    "keyword-only sizes": "*, channels, scale, kernel=3",
    "more arguments": "channels, scale, *args, kernel=3, **kwargs",
    "annotations as text": "channels: 'int', scale: 'NotThere', kernel: 'int | None' = 3",
    "self of another name": None,
}


@pytest.mark.parametrize("kind", INITS)
def test_every_kind_of_argument(write: Write, kind: str) -> None:
    arguments = INITS[kind]
    first = "self" if arguments else "this"
    name = write(
        f"class Up(Base):\n    def __init__({first}, {arguments or 'channels, scale, kernel=3'}):\n"
        f"        super({'' if arguments else 'Up, this'}).__init__(channels, scale)\n"
        f"        {first}.conv = nn.Conv2d(channels, kernel, 1)\n"
    )
    for options, params in (([], 1 + 3 * 9), (["--set", "kernel=5"], 1 + 5 * 9)):
        result = upbench("profile", f"{name}:Up", *FAST, *options, "--format", "json")
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["params"] == params
    said = refused("profile", f"{name}:Up", *FAST, "--set", "kernl=5")
    assert "did you mean 'kernel'?" in said
    assert ("**kwargs" in said) == (kind == "more arguments")


def test_arguments_of_base_classes_are_known(write: Write) -> None:
    name = write(
        "class Wide(Base):\n    def __init__(self, channels, scale, hidden=3):\n"
        "        super().__init__(channels, scale)\n        self.conv = nn.Conv2d(channels, hidden, 1)\n"
        "class Inherits(Wide):\n    pass\n"
        "class Passes(Wide):\n    def __init__(self, *args, **kwargs):\n        super().__init__(*args, **kwargs)\n"
        "class Adds(Wide):\n    def __init__(self, channels, scale, more=1, **kwargs):\n"
        "        super().__init__(channels, scale, **kwargs)\n        self.more = nn.Parameter(torch.ones(more))\n"
        "class Some(Wide):\n    def __init__(self, channels, **kwargs):\n        super().__init__(channels, **kwargs)\n"
        "class Outer:\n    class Inner(Wide):\n        pass\n"
        "def make():\n    class Hidden(Wide):\n        pass\n    return Hidden\nMade = make()\n"
    )
    for kind, more in (("Inherits", 0), ("Passes", 0), ("Adds", 1), ("Some", 0), ("Outer.Inner", 0), ("Made", 0)):
        result = upbench("profile", f"{name}:{kind}", *FAST, "--set", "hidden=4", "--format", "json")
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["params"] == 1 + 4 * 9 + more
        assert "did you mean 'hidden'?" in refused("profile", f"{name}:{kind}", *FAST, "--set", "hiden=4")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("Up = functools.partial(Base, scale=2)", "is a functools.partial of"),
        ("def Up(channels, scale):\n    return Base(channels, scale)", "is a function; it is not a class derived from"),
        ("Up = Base(8, 2)", "is an object of the class Base; it is not a class derived from torch.nn.Module"),
        ("Up = 3", "is of the type int; it is not a class derived from torch.nn.Module"),
        ("class Up:\n    def __init__(self, channels, scale): pass\n    def forward(self, x): return x", "is not a class derived from torch.nn.Module"),
        ("class Up(nn.Module):\n    pass", "must take (channels, scale, ...) as its first arguments, not (*args, **kwargs)"),
        ("class Up(Base):\n    def __init__(self, scale, channels): pass", "not (scale, channels)"),
        ("class Up(Base):\n    scales = 'some'", "scales of class"),
        ("class Up(Base):\n    __signature__ = 3", "cannot be read"),
    ],
)  # fmt: skip
def test_what_is_no_class_of_a_module_is_refused(write: Write, text: str, part: str) -> None:
    name = f"{write(text)}:Up"
    for command in ("profile", "compare") if "class Up:" in text else ("profile", "compare", "show"):
        said = refused(command, name, *(FAST if command != "show" else ()))
        assert part in said
        assert len(said.splitlines()) == 1


def test_an_integer_default_that_is_annotated_as_a_number_takes_numbers(write: Write) -> None:
    name = write(
        "class Up(Base):\n    def __init__(self, channels, scale, gain: float = 1, width: 'int | None' = 3):\n"
        "        super().__init__(channels, scale)\n        self.gain = gain, width\n"
    )
    assert package.build(f"{name}:Up", channels=8, gain=0.5, width=None).gain == (0.5, None)
    assert registry.get(f"{name}:Up").defaults() == {"gain": 1, "width": 3}


FAILING = {
    "raises": ("raise ValueError('no luck')", "ValueError: no luck", "raise ValueError('no luck')"),
    "misses a package": ("import timmm", "No module named 'timmm'", "import timmm"),
    "misses a name": ("from torch import nnn", "cannot import name 'nnn'", "from torch import nnn"),
    "is no Python": ("x = = 3", "SyntaxError: invalid syntax", "x = = 3"),
    "is indented wrongly": ("x = 3\n  y = 4", "IndentationError", "y = 4"),
    "exits": ("raise SystemExit(3)", "it ends the process, sys.exit(3)", "raise SystemExit(3)"),
    "lacks a name": ("print(nothing)", "NameError", "print(nothing)"),
}


@pytest.mark.parametrize("kind", FAILING)
def test_an_error_while_importing_names_the_line(write: Write, kind: str) -> None:
    text, message, line = FAILING[kind]
    name = write(text + "\n")
    lineno = len(HEAD.splitlines()) + (2 if "\n" in text else 1)
    said = refused("profile", f"{name}:Up", *FAST)
    assert f"{name}.py, line {lineno}: `{line}`" in said
    assert message in said
    assert "write package.module:Class" not in said
    inner = name
    outer = write(f"import {inner}\n")
    assert f"{inner}.py, line {lineno}: `{line}`" in refused("profile", f"{outer}:Up", *FAST)


def test_a_module_that_is_not_there_is_told_from_one_that_fails(write: Write) -> None:
    name = write("class Up(Base):\n    pass\n")
    assert "run this from the folder that holds not_there.py" in refused("profile", "not_there:Up", *FAST)
    assert f"write the module as Python imports it: {name}:Up" in refused("profile", f"{name}.py:Up", *FAST)
    assert "write the module as Python imports it: models.up:Up" in refused("profile", "./models/up.py:Up", *FAST)
    assert "did you mean 'ldaaqu'?" in refused("profile", "ldaqu:theta", *FAST)
    for module in ("neares:Up", "ldaaqu_up:Up", "carafe.up:Up"):
        assert "did you mean" not in refused("profile", module, *FAST)
