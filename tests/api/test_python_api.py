"""`import upbench`: the verbs of the command line as functions, lazy, and good for more than one call."""

from __future__ import annotations

import json
import os
import pickle
import runpy
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch
from torch import Tensor, nn

import upbench
from tests import record_builder
from upbench.machine import ceilings
from upbench.records.record import from_dict

ROOT = Path(__file__).parents[2]
FAST: dict[str, Any] = {"shape": "32x8x8", "budget": 0.01, "device": "cpu", "threads": 1}
CARAFE = 64 * (32 * 64 + 64 * 100 * 9)
"""MACs of class conv at 32x8x8."""


@pytest.fixture(autouse=True)
def _short_aa_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "noise_floor", lambda *_: 0.05)


EVERY_SUBMODULE = (
    "import importlib, pkgutil, upbench\n"
    "skipped = ('upbench.ops.triton', 'upbench.__main__')\n"
    "for module in pkgutil.walk_packages(upbench.__path__, 'upbench.'):\n"
    "    if not module.name.startswith(skipped):\n"
    "        importlib.import_module(module.name)\n"
)


def python(code: str, *options: str, **variables: str) -> str:
    command = [sys.executable, *options, "-c", code]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def new_process() -> dict[str, Any]:
    """What a process says of two profiles, and once it has imported every submodule of public names and the name of before."""
    out = python(
        "import json, types, upbench, warnings\n"
        "spec = upbench.spec('dysample', shape='32x8x8', budget=0.01, threads=1)\n"
        "macs = [upbench.profile(spec).macs.conv for _ in range(2)]\n"
        + EVERY_SUBMODULE
        + "for name in upbench.__all__:\n"
        "    first, second = getattr(upbench, name), getattr(upbench, name)\n"
        "    assert first is second and not isinstance(first, types.ModuleType), name\n"
        "tops = {m.name.split('.')[1] for m in pkgutil.iter_modules(upbench.__path__, 'upbench.')}\n"
        "runs = []\n"
        "for _ in range(2):\n"
        "    with warnings.catch_warnings(record=True) as caught:\n"
        "        warnings.simplefilter('always')\n"
        "        record = upbench.run(spec)\n"
        "    said = [str(w.message) for w in caught if w.category is DeprecationWarning and 'upbench' in str(w.message)]\n"
        "    runs.append([record.macs.conv, type(record).__name__, *said])\n"
        "print(json.dumps({'submodules': sorted(tops & set(upbench.__all__)), 'macs': macs, 'runs': runs}))\n",
        "-W",
        "error::DeprecationWarning:upbench",
        UPBENCH_IN_PROCESS="1",  # a fixture of a module is made before those of a test set these
        UPBENCH_CALIBRATE="off",
        UPBENCH_WARMUP="0.01",
    )
    found: dict[str, Any] = json.loads(out)
    return found


def test_no_public_name_is_that_of_a_submodule_and_each_is_good_for_two_calls(
    new_process: dict[str, Any],
) -> None:
    """Importing a submodule puts it into the package under its own name, over whatever stood there."""
    assert new_process["submodules"] == []


def test_a_spec_is_profiled_twice_in_one_process_without_a_warning_of_ours(new_process: dict[str, Any]) -> None:
    assert new_process["macs"] == [64 * 32 * 32] * 2


def test_the_name_of_before_is_a_function_that_says_what_to_call_after_every_submodule_was_imported(
    new_process: dict[str, Any],
) -> None:
    sentence = "upbench.run(spec) is now upbench.profile(spec); the old name works for one more version"
    assert new_process["runs"] == [[64 * 32 * 32, "Profile", sentence]] * 2


def test_importing_upbench_loads_neither_torch_nor_pandas() -> None:
    assert (
        python("import sys, upbench\nprint([m for m in ('torch', 'pandas', 'pydantic') if m in sys.modules])") == "[]\n"
    )


def test_a_spec_takes_what_a_file_and_an_option_take(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("upsampler: carafe\nparams: {k_up: 3}\ninput: {shape: 32x8x8}\n")
    written = upbench.spec(file, mode="training", groups=2)
    assert (written.params["k_up"], written.params["groups"]) == (3, 2)
    assert (written.input.shape, written.measure.mode) == ((32, 8, 8), "training")
    same = upbench.spec("carafe", shape=(32, 8, 8), params={"k_up": 3, "groups": 2}, mode="training")
    assert same == written == upbench.spec(written.to_dict())
    with pytest.raises(upbench.UpbenchError, match="kup is not a parameter of carafe"):
        upbench.spec("carafe", kup=3)
    with pytest.raises(upbench.UpbenchError, match=r"dtype is fp16, .* did you mean 'float16'"):
        upbench.spec("carafe", dtype="fp16")


@pytest.mark.parametrize(
    "make", [lambda: "carafe", lambda: {"upsampler": "carafe"}, lambda: upbench.spec("carafe", **FAST)]
)
def test_profile_returns_a_record_that_shows_itself(make: Callable[[], Any]) -> None:
    given = make()
    for _ in range(2):
        record = upbench.profile(given) if isinstance(given, upbench.RunSpec) else upbench.profile(given, **FAST)
        assert isinstance(record, upbench.Record)
        assert record.macs is not None
        assert record.macs.conv == CARAFE
    assert "**carafe: shape 32x8x8" in record.to_markdown()
    frame = record.to_dataframe()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["macs_conv"].tolist() == [CARAFE]
    assert "<table" in record._repr_html_()
    assert "Parameters" in str(record)
    assert json.loads(record.to_json())["label"] == "carafe"


class Same(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 32, 3, padding="same")
        self.calls = 0

    def forward(self, x: Tensor, more: Tensor | None = None) -> Tensor:
        self.calls += 1
        return self.conv(x) if more is None else self.conv(x) * more


def test_a_module_instance_is_measured_as_it_is_and_left_alone() -> None:
    module, x = Same().train(), torch.randn(2, 8, 6, 5, requires_grad=True)
    module.conv.weight.grad = torch.ones_like(module.conv.weight)
    for _ in range(2):
        record = upbench.profile(module, x, budget=0.01, threads=1)
        assert record.spec is None
        assert (record.label, record.params) == ("Same", 8 * 32 * 9 + 32)
        assert record.macs is not None
        assert record.macs.conv == 2 * 30 * 8 * 32 * 9
        assert record.latency is not None
        assert record.memory is not None
        assert record.memory.input_bytes == x.numel() * 4
    assert (module.training, module.calls) == (True, 0)
    assert x.grad is None
    assert bool((module.conv.weight.grad == 1).all())
    two = upbench.profile(module, x, torch.ones(2, 32, 6, 5), budget=0.01, threads=1, mode="training")
    assert two.macs is not None
    assert two.macs.elementwise == 2 * 32 * 30


def test_the_record_of_a_module_instance_shows_itself_and_is_read_back() -> None:
    record = upbench.profile(nn.Conv2d(4, 6, 1), torch.randn(1, 4, 6, 5), budget=0.01, threads=1)
    assert "Conv2d" in record.to_markdown()
    assert "Parameters" in record.to_markdown()
    assert record.to_dataframe()["params"].tolist() == [4 * 6 + 6]
    assert "<table" in record._repr_html_()
    assert "convolution" in record.by_operator().to_markdown()
    shown = upbench.table([record], columns="params,macs")
    assert shown.to_dataframe()["params"].tolist() == [4 * 6 + 6]
    data = json.loads(record.to_json())
    assert data["spec"] is None
    assert from_dict(data, "record").params == record.params


def test_a_wrong_call_on_a_module_is_one_sentence() -> None:
    with pytest.raises(upbench.UpbenchError, match=r"write upbench.profile\(module, x\)"):
        upbench.profile(nn.Identity())
    with pytest.raises(upbench.UpbenchError, match="Conv2d failed on"):
        upbench.profile(nn.Conv2d(4, 4, 1), torch.randn(1, 3, 2, 2), threads=1)
    with pytest.raises(upbench.UpbenchError, match="shape: unknown option of a module that is handed in"):
        upbench.profile(nn.Identity(), torch.randn(1, 3, 2, 2), shape="3x2x2")
    with pytest.raises(upbench.UpbenchError, match="inputs are given to a module instance only"):
        upbench.profile("carafe", torch.randn(1, 3, 2, 2))


def test_compare_measures_side_by_side() -> None:
    for items in (["bilinear", "carafe"], [upbench.spec("bilinear", **FAST), upbench.spec("carafe", **FAST)]):
        options = {} if isinstance(items[0], upbench.RunSpec) else FAST
        found = upbench.compare(*items, reference="carafe", **options)
        assert [record.label for record in found] == ["bilinear", "carafe"]
        assert found.reference is found[1]
        assert found[0].comparison == found[1].comparison is not None
    assert len(found.to_dataframe()) == len(found) == 2
    assert "Latency / carafe" in found.to_markdown()
    assert "<table" in found._repr_html_()
    exact = upbench.compare(["bilinear", "carafe"], timed=False, **FAST)
    assert [record.latency for record in exact] == [None, None]
    with pytest.raises(upbench.UpbenchError, match=r"give it to upbench\.spec instead"):
        upbench.compare(upbench.spec("bilinear"), batch=2)
    with pytest.raises(upbench.UpbenchError, match="unknown reference"):
        upbench.compare("bilinear", reference="carfe", **FAST)


SWEEP = """
name: small
title: Kernels
base: {upsampler: carafe}
input: {shape: 16x4x4}
measure: {budget: 0.01, threads: 1, device: cpu}
grid: {k_up: [3, 5]}
"""


def test_a_sweep_is_run_read_and_tabled(tmp_path: Path) -> None:
    plan, path = tmp_path / "small.yaml", tmp_path / "small.jsonl"
    plan.write_text(SWEEP)
    ran = upbench.sweep(plan, path)
    assert [record.axes["k_up"] for record in ran] == [3, 5]
    before = path.read_bytes()
    again = upbench.sweep(plan, path)
    assert path.read_bytes() == before
    for records in (ran, again, upbench.read(path), upbench.read(path)):
        assert "**Kernels" in records.to_markdown()
        assert records.to_dataframe()["k_up"].tolist() == [3, 5]
        assert records.skipped == ()
    for _ in range(2):
        shown = upbench.table(records, columns="params,macs", base="k_up=5")
        assert shown.to_dataframe()["params"].tolist() == [records[0].params, records[1].params]
        assert "<table" in shown._repr_html_()
    assert path.with_suffix(".md").read_text() == ran.to_markdown()
    assert path.with_suffix(".csv").exists()
    with pytest.raises(upbench.UpbenchError, match="no records"):
        upbench.table([])
    with pytest.raises(upbench.UpbenchError, match=r"there is no such file"):
        upbench.read(tmp_path / "none.jsonl")


def test_samples_stay_in_the_file_that_was_read(tmp_path: Path) -> None:
    path = record_builder.file(tmp_path / "made.jsonl", record_builder.theta_sweep())
    read = upbench.read(path)
    samples = [record.latency.samples_s for record in read]
    assert all(type(one) is list for one in samples)
    path.rename(tmp_path / "earlier.jsonl")  # as a sweep does that begins anew
    others = [record_builder.record(axes={"theta": n}, theta=n, latency_s=0.02, cell=n) for n in (5, 7)]
    again = upbench.read(record_builder.file(path, others))
    path.unlink()
    assert [record.latency.samples_s for record in read] == samples
    assert [record.latency.samples_s[0] for record in again] == [one.latency.samples_s[0] for one in others]
    assert again.to_dataframe()["latency_q3_s"].min() > 0.015
    assert [*again] == again[:] == [again[0], again[-1]] == others
    kept = pickle.loads(pickle.dumps(read))
    assert (list(kept), kept.to_markdown()) == (list(read), read.to_markdown())


def test_the_other_names_are_good_for_two_calls() -> None:
    for _ in range(2):
        assert "carafe" in upbench.names()
        module = upbench.build("carafe", channels=8)
        upbench.load_weights(module, module.state_dict())


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=DeprecationWarning, module="upbench")
        runpy.run_path(str(ROOT / "examples" / "python_api.py"), run_name="__main__")
    out = capsys.readouterr().out
    assert f"Sequential {64 * 32 * 128 * 9}" in out
    assert "| theta" in out


def test_the_example_of_a_model_of_ones_own_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runpy.run_path(str(ROOT / "examples" / "choose_for_my_model.py"), run_name="__main__")
    out = capsys.readouterr().out
    assert "| model:0 | bilinear" in out
    # DySample at 16 channels, 4 groups and scale 2: a 1x1 convolution to 2 * 4 * 4 offsets.
    assert f"trained {16 * 32 + 32} new parameters" in out
