"""`upbench compare` as a gate and `upbench diff`, as they are used: exit codes, stderr, and the files written."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import Result

from tests.command_line import upbench
from upbench.benchmark import measurement
from upbench.measure import latency
from upbench.records import store
from upbench.records.record import from_json
from upbench.report import json_documents

FAST = ["--shape", "32x6x5", "--budget", "0.02", "--device", "cpu", "--threads", "1"]
MODULE = """
import torch
import torch.nn.functional as F
from torch import nn

class Up(nn.Module):
    def __init__(self, channels, scale):
        super().__init__()
        self.scale = scale
        self.gain = nn.Parameter(torch.ones(1))
        self.proj = nn.Conv2d(channels, channels, 1)
        {init}

    def forward(self, x):
        {forward}
        return F.interpolate(self.proj(x), scale_factor=self.scale) * {gain}
"""
OTHERS = {"op-count", "peak-memory", "workspace", "training-peak-memory", "saved-memory"}
_numbers = itertools.count()
Write = Callable[..., str]


@pytest.fixture(autouse=True)
def _short_aa_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurement, "AA_S", 0.1)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module of one name, anew each time, and gives the name of its class."""
    name = f"mine_{next(_numbers)}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for variable in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(variable, raising=False)

    def writer(init: str = "pass", forward: str = "pass", gain: str = "self.gain") -> str:
        (tmp_path / f"{name}.py").write_text(MODULE.format(init=init, forward=forward, gain=gain))
        sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return f"{name}:Up"

    yield writer
    sys.modules.pop(name, None)


def exact(result: Result) -> tuple[int, list[str]]:
    """Exit code, and the metrics that failed."""
    failed = [line for line in result.stderr.splitlines() if "FAILED" in line]
    return result.exit_code, [line.split(", ")[1].split(":")[0] for line in failed]


@pytest.mark.parametrize(
    ("change", "metric", "by", "others"),
    [
        ({"init": "self.more = nn.Parameter(torch.ones(1))"}, "params", "1, ", set()),
        # A product of one value: one MAC, one operator, and its result lies in memory while the output is made.
        ({"gain": "(self.gain * self.gain)"}, "macs", "1, ", OTHERS),
        (
            {"forward": "kept = torch.empty(1, dtype=torch.uint8)"},
            "peak-memory",
            "1 byte, ",
            {"op-count", "workspace", "training-peak-memory"},
        ),
    ],
)
def test_one_more_of_anything_fails_exactly_and_says_so(
    change: dict[str, str], metric: str, by: str, others: set[str], write: Write
) -> None:
    name = write()
    saved = upbench("compare", name, *FAST, "--exact", "--save", "base.json")
    assert saved.exit_code == 0, saved.output
    before = json.loads(Path("base.json").read_text())["upsamplers"][0]["exact"][metric.replace("-", "_")]
    assert exact(upbench("compare", name, *FAST, "--exact", "--baseline", "base.json")) == (0, [])
    assert exact(upbench("compare", name, *FAST, "--exact", "--max", f"{metric}={before}")) == (0, [])

    assert write(**change) == name
    bound = upbench("compare", name, *FAST, "--exact", "--max", f"{metric}={before}")
    assert exact(bound) == (1, [f"max {metric}"])
    assert f" (by {by}" in bound.stderr
    code, failed = exact(upbench("compare", name, *FAST, "--exact", "--baseline", "base.json"))
    assert code == 1
    assert f"baseline {metric}" in failed
    assert {gate.removeprefix("baseline ") for gate in failed} <= {metric, *others}


def test_a_baseline_judges_edited_code_and_says_which_file_changed(write: Write) -> None:
    name = write()
    file = f"{name.partition(':')[0]}.py"
    assert upbench("compare", name, "nearest", *FAST, "--exact", "--save", "base.json").exit_code == 0
    assert [set(one["sources"] or ()) for one in json.loads(Path("base.json").read_text())["upsamplers"]] == [
        {file},
        set(),
    ]
    same = upbench("compare", name, *FAST, "--exact", "--baseline", "base.json")
    assert "baseline code" not in same.stderr

    write(forward="pass  # edited")
    edited = upbench("compare", name, *FAST, "--exact", "--baseline", "base.json", "--strict", "--format", "json")
    assert edited.exit_code == 0
    assert f"NOTE {name}, baseline code: {file} changed since baseline base.json" in edited.stderr
    document = json.loads(edited.stdout)
    assert {f["gate"] for f in document["findings"] if f["result"] == "passed"} >= {"baseline params", "baseline macs"}
    Path("new.json").write_text(edited.stdout)
    assert upbench("compare", name, *FAST, "--exact", "--save", "new_base.json").exit_code == 0
    said = upbench("diff", "base.json", "new.json").stderr
    assert f"NOTE {name}, diff code: {file} changed since base.json" in said


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"gain": "float('nan')"}, "check finite: 3840 of 3840 values of the output are not finite"),
        ({"gain": "torch.rand(1)"}, "check repeat: "),
        ({"forward": "x = x[:, :, 1:]"}, "check shape: "),
    ],
)
def test_a_wrong_output_fails_before_any_timing(
    change: dict[str, str], check: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def timed(*_: object, **__: object) -> None:
        raise AssertionError("timed in spite of a red check")

    monkeypatch.setattr(latency, "warm_up", timed)
    result = upbench("compare", write(**change), "bilinear", *FAST, "--save", "base.json")
    assert result.exit_code == 1, result.output
    assert check in result.stderr
    assert "FAILED" in result.stderr
    assert result.stdout == ""
    assert not Path("base.json").exists()
    told = json.loads(upbench("compare", write(**change), "bilinear", *FAST, "--format", "json").stdout)
    assert (told["outcome"], told["records"], told["reference"]) == ("failed", [], None)
    assert [c["passed"] for c in told["checks"]].count(False) == 1


FUSED = """
import torch
from upbench.upsamplers.carafe import CARAFE
class Up(CARAFE):
    def __init__(self, channels, scale):
        super().__init__(channels, scale)
        self.idle = torch.nn.Parameter(torch.zeros(()))
    def forward(self, x, size=None):
        out = super().forward(x, size) + 0 * self.idle
        return out if self.backend == "eager" else {fused}
"""


OTHER_GRADIENT = "out * 1.01 - out.detach() * 0.01"


@pytest.mark.parametrize(
    ("fused", "failed"),
    [
        ("out", []),
        ("out * 1.01", ["forward", "backward"]),
        (OTHER_GRADIENT, ["backward"]),
        # In float32 alone, as where rounding moves a sample across a pixel; but by more than that can do, in the last.
        (f"({OTHER_GRADIENT}) if x.element_size() == 4 else out", []),
        # Of a parameter whose gradient is nothing beside the others', and one whose is not.
        ("out + 1e-9 * self.idle", []),
        ("out + self.idle", ["backward"]),
        ("out * 2 - out.detach() if x.element_size() == 4 else out", ["backward"]),
    ],
)
def test_a_fused_form_that_is_not_the_plain_one_is_not_timed(
    fused: str, failed: list[str], write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = write()
    Path(name.removesuffix(":Up") + ".py").write_text(FUSED.format(fused=fused))
    timed: list[object] = []
    warm_up = latency.warm_up
    monkeypatch.setattr(latency, "warm_up", lambda *a, **k: timed.append(1) or warm_up(*a, **k))
    result = upbench("compare", name, *FAST, "--format", "json")
    assert result.exit_code == bool(failed), result.output
    checks = {c["name"]: c["passed"] for c in json.loads(result.stdout)["checks"]}
    assert [n for n in ("forward", "backward") if not checks[f"backend {n}"]] == failed
    assert bool(timed) is not bool(failed)


def test_a_baseline_of_one_module_alone_says_that_its_latency_cannot_be_judged(write: Write) -> None:
    name = write()
    alone = upbench("compare", name, *FAST, "--save", "base.json")
    assert f"as `compare bilinear {name} --save base.json`" in alone.stderr
    for more in (["--exact"], ["nearest"]):
        assert "no gate can judge" not in upbench("compare", name, *more, *FAST, "--save", "base.json").stderr


def test_another_output_than_the_saved_one_prints_no_speed(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["compare", write(gain="1.0"), "bilinear", *FAST]
    assert upbench(*arguments, "--save", "base.json").exit_code == 0
    write(gain="1.5")

    def timed(*_: object, **__: object) -> None:
        raise AssertionError("timed in spite of another output")

    with monkeypatch.context() as patched:
        patched.setattr(latency, "measure", timed)
        result = upbench(*arguments, "--baseline", "base.json", "--format", "json")
    assert exact(result) == (1, ["baseline output-digest"])
    assert {r["latency"] for r in json.loads(result.stdout)["records"]} == {None}
    allowed = upbench(*arguments, "--baseline", "base.json", "--tolerance", "output-digest=off", "--format", "json")
    assert all(r["latency"] for r in json.loads(allowed.stdout)["records"])


def test_defaults_that_change_in_the_code_do_not_escape_a_baseline(write: Write) -> None:
    name = write()
    file = Path(name.removesuffix(":Up") + ".py")

    def larger(hidden: int) -> None:
        write(init="self.more = nn.Parameter(torch.ones(hidden))")
        file.write_text(file.read_text().replace("channels, scale):", f"channels, scale, hidden={hidden}):"))

    larger(8)
    assert upbench("compare", name, *FAST, "--exact", "--save", "base.json").exit_code == 0
    larger(16)
    result = upbench("compare", name, *FAST, "--exact", "--baseline", "base.json")
    assert result.exit_code == 1
    assert "its defaults are others: hidden 8 in baseline base.json, 16 in this run" in result.stderr
    assert "baseline params" in exact(result)[1]


def test_a_baseline_of_another_machine_is_explained_and_not_compared(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["compare", "bilinear", write(), *FAST]
    assert upbench(*arguments, "--exact", "--save", "base.json").exit_code == 0
    data = json.loads(Path("base.json").read_text())
    data["environment"] |= {"device": "Some Other CPU", "torch": "1.0"}
    data["upsamplers"][1]["exact"]["peak_memory"] = 1
    data["upsamplers"][1]["latency_ratio"] = {"value": 1e-6, "low": 1e-6, "high": 1e-6, "rounds": 9}
    Path("base.json").write_text(json.dumps(data))
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    result = upbench(*arguments, "--baseline", "base.json", "--strict", "--junit", "gates.xml")
    assert result.exit_code == 0, result.stderr
    assert "baseline latency: not compared: device Some Other CPU in baseline base.json" in result.stderr
    assert "peak-memory: not compared: torch 1.0 in baseline base.json" in result.stderr
    assert "::notice title=upbench%3A" in result.stderr
    assert "::error" not in result.stderr
    page = summary.read_text()
    assert page.startswith("before\n")
    assert page.index("| Result ") < page.index("| Upsampler ")  # the gates come first
    assert "| bilinear " in page
    assert "not compared: device Some Other CPU" in page
    assert "skipped" in Path("gates.xml").read_text()


def test_what_the_baseline_lacks_is_said_and_fails_only_under_strict(write: Write) -> None:
    assert upbench("compare", "bilinear", *FAST, "--exact", "--save", "base.json").exit_code == 0
    arguments = ["compare", "bilinear", write(), *FAST, "--exact", "--baseline", "base.json"]
    result = upbench(*arguments)
    assert result.exit_code == 0
    assert "is not in baseline base.json" in result.stderr
    strict = upbench(*arguments, "--strict")
    assert strict.exit_code == 1
    assert "FAILED (unsure, --strict)" in strict.stderr


def test_junit_has_the_checks_where_nothing_else_was_asked_for(write: Write) -> None:
    result = upbench("compare", write(), *FAST, "--exact", "--junit", "checks.xml")
    assert result.exit_code == 0
    assert 'name="check finite"' in Path("checks.xml").read_text()


def test_budgets_from_a_file(write: Write) -> None:
    data = {"max": {"params": "40k"}, "upsamplers": {"bilinear": {"max": {"op-count": 0}}}}
    Path("budgets.yaml").write_text(yaml.safe_dump(data))
    code, failed = exact(upbench("compare", write(), "bilinear", *FAST, "--exact", "--budgets", "budgets.yaml"))
    assert (code, failed) == (1, ["max op-count"])


def test_a_module_must_equal_the_one_it_is_like(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    good = """
from upbench.upsamplers.carafe import CARAFE
class Up(CARAFE):
    def __init__(self, channels, scale): super().__init__(channels, scale)
    def forward(self, x, size=None): return super().forward(x, size) {change}
"""
    name = write()
    file = Path(name.removesuffix(":Up") + ".py")
    for change, code, said in (("", 0, "gates: "), ("* 1.001", 1, "check like carafe")):
        file.write_text(good.format(change=change))
        sys.modules.pop(file.stem, None)
        result = upbench("compare", name, *FAST, "--exact", "--like", "carafe")
        assert result.exit_code == code, result.stderr
        assert said in result.stderr
    other = upbench("compare", write(), *FAST, "--exact", "--like", "carafe")
    assert other.exit_code == 1
    assert "its state dict is not that of carafe" in other.stderr


def test_mistakes_in_gates_are_said_together_before_anything_runs(write: Write) -> None:
    result = upbench(
        *("compare", "carafe", *FAST, "--max", "parms=4", "--min", "foo.params=3", "--tolerance", "macs=1"),
        *(
            "--threshold",
            "fast",
            "--baseline",
            "none.json",
            "--like",
            "fade",
            "--against",
            "x",
            "--against-python",
            "y",
        ),
    )
    assert result.exit_code == 2
    assert result.stdout == ""
    for part in (
        "did you mean 'params'?",
        "'foo' is not among the compared upsamplers",
        "'1' is not a tolerance",
        "--threshold: 'fast'",
        "none.json: there is no such file; write one with --save",
        "--like fade: none of the compared",
        "are two comparisons",
        "compares two versions and nothing else; give --max, --min, --baseline, --like to a run of its own",
    ):
        assert part in result.stderr, part
    idle = upbench("compare", "carafe", *FAST, "--threshold", "3%", "--tolerance", "macs=1%")
    assert idle.exit_code == 2
    assert "--threshold is of a latency that is compared" in idle.stderr
    assert "--tolerance is of a comparison or a bound" in idle.stderr
    timed = upbench("compare", "carafe", "bilinear", *FAST, "--exact", "--max", "latency=3x:bilinear")
    assert timed.exit_code == 2
    assert "cannot be judged with --exact" in timed.stderr


def test_json_is_what_its_schema_says() -> None:
    result = upbench("compare", "bilinear", "nearest", *FAST, "--max", "params=0", "--format", "json")
    data = json.loads(result.stdout)
    assert data["schema"] == json_documents.SCHEMA
    records = [from_json(json.dumps(one), "x") for one in data["records"]]
    renamed = {("schema_version" if key == "schema" else key): value for key, value in data.items()}
    json_documents.Comparison.model_validate({**renamed, "records": records})
    described = json.loads(upbench("compare", "--schema").stdout)
    assert set(described["$defs"]["Comparison"]["properties"]) == set(data)
    assert set(described["$defs"]["Record"]["properties"]) == set(data["records"][0])
    assert [f["gate"] for f in data["findings"] if f["result"] == "passed"].count("max params") == 2


def test_diff_of_results_however_they_were_written(write: Write) -> None:
    name = write()
    command = ["compare", name, "bilinear", *FAST, "--exact"]
    assert upbench(*command, "--format", "json", "--output", "old.json", "--save", "base.json").exit_code == 0
    write(init="self.more = nn.Parameter(torch.ones(1))")
    assert upbench(*command, "--format", "json", "--output", "new.json").exit_code == 0
    for one in json.loads(Path("new.json").read_text())["records"]:
        store.append(Path("new.jsonl"), from_json(json.dumps(one), "new"))
    with Path("new.jsonl").open("a") as file:
        file.write('{"torn": \n')
    for old, new in (("old.json", "new.json"), ("base.json", "new.jsonl")):
        result = upbench("diff", old, new)
        assert exact(result) == (1, ["diff params"]), result.stderr
        assert f"1089 is 0 of {old}" not in result.stdout
        assert " (by 1, " in result.stdout
    assert "line 3, is torn" in result.stderr
    back = upbench("diff", "new.json", "old.json", "--format", "json")
    assert back.exit_code == 0
    told = json.loads(back.stdout)
    assert told["outcome"] == "passed"
    assert set(told) == set(json.loads(upbench("diff", "--schema").stdout)["properties"])
    command = [sys.executable, "-m", "upbench", "diff", "old.json", "new.json"]
    env = {name: value for name, value in os.environ.items() if name != "GITHUB_ACTIONS"}
    together = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    apart = subprocess.run(command, capture_output=True, text=True, env=env)
    assert (together.returncode, apart.returncode) == (1, 1)
    assert together.stdout == apart.stdout, "what was just read in the table is not said again"
    assert "upbench: FAILED " in apart.stderr
    assert upbench("diff", "old.json", "new.json", "--tolerance", "params=1%").exit_code == 0
    missing = upbench("diff", "old.json", "none.jsonl")
    assert missing.exit_code == 2
    assert "there is no such file" in missing.stderr
    foreign = upbench("diff", name.removesuffix(":Up") + ".py", "old.json")
    assert foreign.exit_code == 2
    assert "holds no record" in foreign.stderr


@pytest.mark.parametrize(
    "option", ["--max=params=1", "--junit=a.xml", "--strict", "--threshold=3%", "--tolerance=a=1%"]
)
def test_gates_are_not_for_hosts(option: str) -> None:
    result = upbench("compare", "carafe", "--host", "faster-rcnn-r50", option)
    assert result.exit_code == 2
    assert "leave out --host, or the gate options" in result.stderr


GATED = ["compare", "bilinear", *FAST, "--exact"]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--min", "params=1"], 1, "FAILED bilinear, min params: 0 < 1 (by 1, 100.0 %); exact"),
        (["--max", "params=x"], 2, "'x' is not a value of params"),
    ],
)
def test_exit_codes_of_the_real_command(arguments: list[str], code: int, sentence: str) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GITHUB_")}
    line = [sys.executable, "-m", "upbench", *GATED, *arguments]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == code, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--max", "params=0"], "gates: 4 passed"),
        (
            ["--max", "training-peak-memory=0", "--tolerance", "training-peak-memory=off"],
            "NOTE bilinear, max training-peak-memory",
        ),
    ],
)
def test_a_gate_that_holds_or_is_off_is_exit_code_0(arguments: list[str], sentence: str) -> None:
    done = upbench(*GATED, *arguments)
    assert done.exit_code == 0, done.stderr
    assert sentence in done.stderr
