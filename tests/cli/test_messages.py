"""What is said of mistakes: the line of the user's code or file, the right name, and never what the user did not do."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
import yaml

from tests.command_line import refused, upbench
from upbench.cli.app import app

FAST = ["--shape", "8x6x5", "--budget", "0.01", "--device", "cpu"]
_numbers = itertools.count()
Write = Callable[..., str]
MODULE = """
import torch
from torch import nn
import torch.nn.functional as F

class Up(nn.Module):
    def __init__(self, channels, scale):
        super().__init__()
        self.scale = scale
        {init}

    def forward(self, x):
        {forward}
        return F.interpolate(x, scale_factor=self.scale)
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a module whose constructor or forward holds a line, and gives the name of its class."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def writer(init: str = "pass", forward: str = "pass") -> str:
        name = f"failing_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(MODULE.format(init=init, forward=forward))
        return f"{name}:Up"

    return writer


@pytest.mark.parametrize(
    ("where", "line", "message", "lineno"),
    [
        ("forward", "raise ValueError('odd\\nsizes')", "ValueError: odd", 13),
        ("forward", "x = F.conv2d(x, torch.ones(3, 9, 1, 1))", "RuntimeError: Given groups=1", 13),
        ("forward", "x = torch.cat([x, torch.ones(1, 2, 3)])", "RuntimeError: ", 13),
        ("forward", "x = undefined", "NameError: name 'undefined'", 13),
        ("forward", "return nn.Linear(3, 3)(x)", "RuntimeError: mat1 and mat2", 13),
        ("init", "raise KeyError('width')", "KeyError: 'width'", 10),
        ("init", "self.conv = nn.Conv2d(channels, 'x', 1)", "TypeError: ", 10),
    ],
)
def test_an_error_in_a_module_names_its_line(write: Write, where: str, line: str, message: str, lineno: int) -> None:
    name = write(**{where: line})
    file = name.partition(":")[0] + ".py"
    for command in ("profile", "compare"):
        said = refused(command, name, *FAST)
        assert message in said
        assert f"({file}, line {lineno}: `{line}`)" in said
        assert len(said.splitlines()) == 1


def test_a_sweep_keeps_the_line_in_its_record(write: Write) -> None:
    name = write(forward="raise ValueError('no')")
    data = {
        "name": "s",
        "base": {"upsampler": name},
        "input": {"shape": "8x6x5"},
        "measure": {"budget": 0.01, "device": "cpu"},
        "grid": {"batch": [1]},
    }
    Path("s.yaml").write_text(yaml.safe_dump(data))
    assert upbench("sweep", "s.yaml", "--output", "r.jsonl").exit_code == 1
    record = json.loads(Path("r.jsonl").read_text())
    assert record["status"] == "error"
    assert "line 13: `raise ValueError('no')`" in record["error"]


def test_debug_prints_the_whole_traceback(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UPBENCH_DEBUG", raising=False)
    for name in (write(forward="raise ValueError('no')"), write(init="raise ValueError('no')")):
        for arguments in (["--debug", "profile", name], ["profile", name, "--debug"], ["compare", name, "--debug"]):
            result = upbench(*arguments, *FAST)
            assert result.exit_code == 2
            assert result.stdout == ""
            assert "Traceback (most recent call last)" in result.stderr
            assert "raise ValueError('no')" in result.stderr
            assert result.stderr.strip().splitlines()[-1].startswith("upbench: ")
        assert "Traceback" not in upbench("profile", name, *FAST).stderr
        assert "UPBENCH_DEBUG" not in os.environ


def test_every_command_has_debug() -> None:
    group = typer.main.get_command(app)
    assert set(group.commands) >= {"list", "show", "profile", "compare", "diff", "sweep", "table", "effects", "plot"}
    for name, command in group.commands.items():
        assert [p.name for p in command.params if "--debug" in p.opts] == ["debug"], name
    for arguments in (
        ["show", "carafee", "--debug"],
        ["--debug", "table", "none.jsonl"],
        ["reproduce", "x", "--debug"],
    ):
        result = upbench(*arguments)
        assert result.exit_code == 2
        assert "Traceback" in result.stderr


SPEC = """# a comment
upsampler: carafe
params:
  k_up: 4

input:
  shape: 32x6x5
  dtype: fp16
  batch: 0
measure:
  mode: train
  devise: cpu
"""


def test_mistakes_in_a_spec_file_carry_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(SPEC)
    lines = refused("profile", file).splitlines()
    for line, part in (
        (4, "params.k_up is 4, but must be an odd integer"),
        (8, "input.dtype is fp16, but must be one of float32, float16"),
        (9, "input.batch is 0"),
        (11, "measure.mode is train"),
        (12, "measure.devise: unknown key"),
    ):
        assert any(said.startswith(f"upbench: {file}, line {line}: {part}") for said in lines), (line, lines)
    assert len(lines) == 5
    said = refused("compare", file, "carafe", "--batch", "0", "--set", "k_up=6")
    assert f"{file}, line 9" not in said
    assert f"{file}, line 4" not in said
    assert "command line: input.batch is 0" in said  # and not in the file
    assert "command line: params.k_up is 6" in said
    said = refused("profile", "carafe", "--batch", "0", "--set", "k_up=6").splitlines()
    assert [line.partition(",")[0] for line in said] == ["upbench: input.batch is 0", "upbench: params.k_up is 6"]
    assert refused("profile", "carafee").startswith("upbench: unknown upsampler 'carafee'; did you mean")


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("upsampler: carafe\ninput:\n  shape: 32x6\n", 3, "input.shape: shape '32x6' is not CxHxW"),
        ("upsampler: ldaqu\n", 1, "upsampler: unknown upsampler 'ldaqu'"),
        ("input: {shape: 32x6x5}\nupsampler: carafe\nscale: 1.5\n", 3, "scale is 1.5"),
        ("upsampler: carafe\n\nparams: 3\n", 3, "params is 3, but must be a mapping"),
        ("upsampler: carafe\n\n\ninput: 3\n", 4, "input is 3, but must be a mapping"),
        ("upsampler: carafe\nchannels: 8\ninput:\n  shape: 32x6x5\n", 2, "channels is 8"),
        ("upsampler: carafe\nguide_channels: 8\n", 2, "guide_channels is given"),
        (
            "upsampler: carafe\nmeasure:\n  # how long\n  budget: '1e-1'\n",
            4,
            "measure.budget is 1e-1, but must be a number of seconds above 0; it is text",
        ),
    ],
)
def test_each_mistake_in_a_spec_file_carries_its_line(tmp_path: Path, text: str, line: int, part: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text)
    assert f"{file}, line {line}: {part}" in refused("profile", file)


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("base:\n  upsampler: ldaaqu\ngrid:\n  theta: [5, x]\n", 5, "params.theta is 'x'"),
        ("base:\n  upsampler: ldaaqu\ngrid:\n  theta:\n  - 5\n  - x\n", 7, "params.theta is 'x'"),
        ("base:\n  upsampler: ldaaqu\ngrid:\n  theta:\n  - 5\n  dtype:\n  - fp16\n", 8, "input.dtype is fp16"),
        ("base:\n  upsampler: ldaaqu\ngrid:\n  thetta: [5]\n", 5, "grid.thetta: unknown axis"),
        (
            "base:\n  upsampler: ldaaqu\n  params:\n    thetta: 5\ngrid: {theta: [5]}\n",
            5,
            "base.params.thetta: unknown",
        ),
        ("base:\n  upsampler: ldaaqu\n  scale: 0\ngrid: {theta: [5]}\n", 4, "scale is 0"),
        ("base:\n  upsampler: ldaqu\ngrid: {theta: [5]}\n", 3, "upsampler: unknown upsampler"),
        ("base: {upsampler: ldaaqu}\ncells:\n- {theta: 5}\n- theta: 7\n  k_x: 3\n", 6, "cells[1].k_x: unknown axis"),
        ("base: {upsampler: ldaaqu}\ncells:\n- {theta: 5}\n- {}\n", 5, "cells[1] is empty"),
        ("base: {upsampler: ldaaqu}\ninput:\n  batch: 0\ngrid: {theta: [5]}\n", 4, "input.batch is 0"),
        ("base: {upsampler: ldaaqu}\ngrid:\n  theta: []\n", 4, "grid.theta has no values"),
        ("base: {upsampler: ldaaqu}\n\ngridd: 3\n", 4, "gridd: unknown key"),
        ("base: {upsampler: ldaaqu}\ngrid: {theta: [5]}\npublished: x/y\n", 4, "published: unknown"),
    ],
)
def test_mistakes_in_a_sweep_carry_their_lines(tmp_path: Path, text: str, line: int, part: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("name: a\n" + text)
    assert f"{file}, line {line}: {part}" in refused("sweep", file, "--output", tmp_path / "r.jsonl")


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("name: h\nstages:\n- name: a\n  channels: 8\n  stride: 2\n", 3, "stages[0] (a): needs an input"),
        ("name: h\nstages:\n- name: a\n  channels: x\n  height: 2\n  width: 2\n", 4, "stages[0].channels is x"),
        ("name: h\nstages:\n- name: a\n  chanels: 8\n", 4, "stages[0].chanels: unknown key"),
        ("name: h\nstages: []\n", 2, "stages is []"),
    ],
)
def test_mistakes_in_a_host_carry_their_lines(tmp_path: Path, text: str, line: int, part: str) -> None:
    file = tmp_path / "h.yaml"
    file.write_text(text)
    assert f"{file}, line {line}: {part}" in refused("compare", "carafe", "--host", file)


def test_mistakes_in_budgets_carry_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "b.yaml"
    file.write_text("max:\n  params: 40k\n  parms: 3\nmni: 3\nupsamplers:\n  carafe:\n    max:\n      macs: x\n")
    said = refused("compare", "carafe", *FAST, "--budgets", file)
    for line, part in ((3, "max.parms"), (4, "mni: unknown key"), (8, "upsamplers.carafe.max.macs")):
        assert f"{file}, line {line}: {part}" in said


@pytest.mark.parametrize(
    ("item", "part"),
    [
        ("ldaaqu:theta", "`theta` is not KEY=VALUE; write ldaaqu:theta=VALUE"),
        ("ldaaqu:theta=5,groups", "`groups` is not KEY=VALUE"),
        ("ldaaqu:groups=2,theta", "`theta` is not KEY=VALUE"),
        ("ldaaqu:", "`` is not KEY=VALUE"),
        ("ldaaqu:theta=", "`theta=` is not KEY=VALUE"),
        ("ldaaqu:theta=5,,groups=2", "ldaaqu: a parameter is empty, as between two commas"),
        ("ldaaqu:theta=5,", "a parameter is empty"),
        ("ldaaqu:theta=5:groups=2", "parameters are separated by commas; write ldaaqu:theta=5,groups=2"),
    ],
)
def test_an_argument_that_is_not_key_value(item: str, part: str) -> None:
    assert part in refused("compare", item, "carafe", *FAST)
    assert "`theta` is not KEY=VALUE; write --set theta=VALUE" in refused("profile", "ldaaqu", "--set", "theta")


def test_lists_may_stand_in_an_argument(write: Write) -> None:
    from upbench.cli import drafts

    assert drafts.draft("a.b:C:k=[1, 2],n={a: 1, b: 2},m=3", {}, {})[0] == {
        "upsampler": "a.b:C",
        "params": {"k": [1, 2], "n": {"a": 1, "b": 2}, "m": 3},
    }


@pytest.mark.parametrize(
    ("option", "value", "meant"),
    [
        ("--dtype", "fp16", "float16"),
        ("--dtype", "half", "float16"),
        ("--dtype", "torch.float16", "float16"),
        ("--dtype", "torch.half", "float16"),
        ("--dtype", "bf16", "bfloat16"),
        ("--dtype", "single", "float32"),
        ("--dtype", "float", "float32"),
        ("--dtype", "fp32", "float32"),
        ("--dtype", "FP32", "float32"),
        ("--dtype", "double", "float64"),
        ("--dtype", "amp", "autocast-float16"),
        ("--dtype", "bflaot16", "bfloat16"),
        ("--mode", "train", "training"),
        ("--mode", "eval", "inference"),
        ("--mode", "backward", "training-backward"),
        ("--device", "gpu", "cuda"),
        ("--memory-format", "nhwc", "channels_last"),
        ("--compile", "max_autotune", "max-autotune"),
        ("--offsets", "trianed", "trained"),
    ],
)
def test_what_others_call_a_value_is_answered_with_its_name(option: str, value: str, meant: str) -> None:
    said = refused("profile", "carafe", "--shape", "32x6x5", option, value)
    assert "but must be" in said
    assert f"did you mean {meant!r}?" in said


@pytest.mark.parametrize("value", ["int8", "uint8", "int32", "float8_e4m3fn", "qint8"])
def test_dtypes_that_are_not_measured_are_said_to_be_so(value: str) -> None:
    said = refused("profile", "carafe", "--dtype", value)
    assert "must be one of float32, float16, bfloat16, float64" in said
    assert "integers and 8-bit floats are not measured" in said
    assert "did you mean" not in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["profile", "bilinear", *FAST, "--output"],
        ["compare", "bilinear", *FAST, "--output"],
        ["compare", "bilinear", *FAST, "--save"],
        ["compare", "bilinear", *FAST, "--junit"],
        ["list", "--output"],
        ["show", "carafe", "--output"],
        ["env", "--output"],
        ["reproduce", "lda-aqu/table1", "--output"],
    ],
)
def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path, arguments: list[str]) -> None:
    path = tmp_path / "nowhere" / "deeper" / "a.txt"
    said = refused(*arguments, path)
    assert f"the folder {path.parent} does not exist; make it (mkdir -p {path.parent})" in said
    assert f"choose another with {arguments[-1]}" in said
    assert not (tmp_path / "nowhere").exists()


def test_the_folder_of_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("upbench.sweeping.worker.MODULE", "tests.sweeping.fake_worker")
    monkeypatch.chdir(tmp_path)
    data = {"name": "s", "base": {"upsampler": "ldaaqu"}, "input": {"shape": "32x6x5"}, "grid": {"theta": [5]}}
    Path("s.yaml").write_text(yaml.safe_dump(data))
    assert "the folder new does not exist" in refused("sweep", "s.yaml", "--output", "new/r.jsonl")
    assert not Path("new").exists()
    assert upbench("sweep", "s.yaml", "--output", "new/r.jsonl", "--dry-run").exit_code == 0
    result = upbench("sweep", "s.yaml")
    assert result.exit_code == 0
    assert "upbench: made the folder results for the results" in result.stderr
    assert "made the folder" not in upbench("sweep", "s.yaml").stderr


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        (
            "up.py",
            "class Up:\n    x: int = 3\n    y = [\n",
            "is Python source, not YAML; name a class in it, as up:Class",
        ),
        ("up.py", "x = 3\n", "is Python source, not YAML"),
        ("r.jsonl", '{"schema": 1}\n{"schema": 1}\n', "holds results, not a spec; `upbench table"),
        ("w.pth", b"PK\x03\x04\xff\xfe", "holds weights, not a spec"),
        ("notes.txt", "hello\n", "holds a str, but a spec is a mapping"),
    ],
)
def test_files_of_another_kind_are_not_called_bad_yaml(
    tmp_path: Path, name: str, content: str | bytes, part: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    said = refused("profile", file)
    assert part in said
    assert "not valid YAML" not in said


def test_a_folder_and_empty_sections(tmp_path: Path) -> None:
    assert "is a folder; name an upsampler, or a spec file in it" in refused("profile", tmp_path)
    file = tmp_path / "a.yaml"
    file.write_text("upsampler: bilinear\nparams:\ninput:\nmeasure:\n")
    assert upbench("profile", file, *FAST).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["sweep"], "a sweep"),
        (["compare", "carafe", "--host"], "a host"),
        (["compare", "carafe", "--budgets"], "a file of budgets"),
        (["reproduce"], "a published table"),
        (["profile"], "a spec"),
    ],
)
def test_what_a_file_should_hold_is_named_by_what_it_was_given_for(
    tmp_path: Path, arguments: list[str], what: str
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("- 1\n")
    assert f"{file}: holds a list, but {what} is a mapping" in refused(*arguments, file)
    file.write_text("")
    said = refused(*arguments, file)
    assert f"{file}: is empty" in said
    assert ("upbench show NAME" in said) == (what == "a spec")


def test_a_sweep_says_of_a_cell_that_it_cannot_be_built_as_profile_does(write: Write) -> None:
    name = write(init="raise ValueError('no such width')")
    said = refused("profile", name, *FAST)
    assert f"{name} cannot be built: ValueError: no such width" in said
    Path("cell.yaml").write_text(
        f"name: cell\nbase: {{upsampler: '{name}'}}\ninput: {{shape: 8x6x5}}\nmeasure: {{threads: 1}}\ngrid: {{seed: [0]}}\n"
    )
    done = upbench("sweep", "cell.yaml", "-o", "cell.jsonl")
    assert done.exit_code == 1
    assert said.removeprefix("upbench: ").strip() in " ".join(done.stdout.split())


def test_a_host_is_no_spec(tmp_path: Path) -> None:
    file = tmp_path / "h.yaml"
    file.write_text("name: h\nstages: [{name: a, channels: 8, height: 2, width: 2}]\n")
    assert f"is a host; name upsamplers, as `upbench compare carafe fade --host {file}`" in refused("profile", file)


def test_aliases_of_aliases_are_read_at_once(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    bomb = ["a0: &a0 {x: 1}", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))]
    file.write_text("upsampler: carafe\n" + "\n".join(bomb) + "\nscael: 2\n")
    assert f"{file}, line 32: scael: unknown key" in refused("profile", file)


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["{module}"], "{module} is a module here: a class in it is written {module}:Class"),
        (["{module}.Up"], "{module} is a module here: write {module}:Up"),
        (
            ["{module}x:Up"],
            "nor such a module in the environment (No module named '{module}x'); run this from the folder that holds {module}x.py; "
            "did you mean '{module}:Up'?",
        ),
        (["{module}:F.relu"], "{module}:F.relu is a function; it is not a class derived from"),
        (["Up"], "naf. A class of your own is written package.module:Class"),
        (["qqq"], "naf. A class of your own is written package.module:Class"),
        (["{module}:Up,kernel=3"], "the parameters of an upsampler follow a colon; write {module}:Up:kernel=3"),
        (["carafe", "--reduction", "2"], "a parameter of an upsampler is written --set reduction=VALUE"),
        (["carafe", "--shap", "8x6x5"], "--shape"),
        (["{module}:Up,carafe"], "separate names by spaces: {module}:Up carafe"),
        (["{module}:Up(kernel=3)"], "write {module}:Up:kernel=3"),
        (["carafe (k_up=3, k_enc=1)"], "write carafe:k_up=3,k_enc=1"),
        (["carafe", "--shape", "8,6,5"], "write 8x6x5"),
        (["carafe", "--shape", "8 6 5"], "write 8x6x5"),
        (["caraffe"], "unknown upsampler 'caraffe'; did you mean 'carafe'? Known: nearest"),
        (["carafe", "--shape", "2x8x6x5"], "the batch is an option of its own: shape 8x6x5, batch 2"),
        (["carafe", "--shape", "6x5"], "the channels come first, as 256x6x5"),
    ],
)
def test_what_a_first_user_writes_is_answered_with_what_is_right(
    write: Write, arguments: list[str], answer: str
) -> None:
    module = write().partition(":")[0]
    said = refused("profile", *(argument.format(module=module) for argument in arguments))
    assert answer.format(module=module) in " ".join(said.split())
    assert "--set" not in said or "reduction" in said


def test_channels_at_the_end_of_a_shape_are_asked_about_once() -> None:
    shape = ["--shape", "4x4x64", "--budget", "0.01", "--device", "cpu"]
    done = upbench("compare", "nearest", "bilinear", *shape, "--exact")
    assert done.exit_code == 0
    assert done.stderr.count("4 channels of a 4x64 map; channels come first: 64x4x4?") == 1
    assert "channels come first" not in upbench("profile", "nearest", "--shape", "64x4x4", *shape[2:]).stderr


def test_a_yaml_file_that_is_not_there_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "theta.yaml").write_text("name: theta")
    monkeypatch.chdir(tmp_path)
    assert "theta.yml: there is no such file; did you mean 'sweeps/theta.yaml'?" in refused("sweep", "theta.yml")
    assert refused("sweep", "nothing.yaml").rstrip().endswith("there is no such file")
