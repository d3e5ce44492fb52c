"""What a user's module prints, sets, draws, writes to and ends is its own: not the run's, not another module's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.command_line import upbench
from tests.forked_workers import IMPORTED
from upbench import registry
from upbench.user_code import isolation

TINY = ("--shape", "8x6x5", "--device", "cpu", "--budget", "0.02")
OURS = "tests.modules.intruding"


@pytest.fixture(autouse=True, scope="module")
def _imported_by_upbench() -> None:
    registry.get(f"{OURS}:Up")


def profile(name: str, *more: object) -> dict[str, Any]:
    """The record of a user's module that can be measured."""
    result = upbench("profile", f"{OURS}:{name}", *TINY, "--format", "json", *more)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def said(record: dict[str, Any], text: str) -> bool:
    return any(text in warning for warning in record["warnings"])


COMMANDS = (
    ("profile", f"{OURS}:Prints", *TINY, "--format", "json"),
    ("compare", f"{OURS}:Prints", "nearest", *TINY, "--format", "json", "--exact", "--max", "params=1M"),
    ("profile", f"{OURS}:Prints", *TINY),
)
FORKED = """
import gc, importlib, json, os, sys
for module in json.loads(sys.argv[1]):
    importlib.import_module(module)
from upbench.__main__ import main
gc.freeze()
for n, line in enumerate(json.loads(sys.argv[2])):
    child = os.fork()
    if not child:
        for number, name in ((1, "out"), (2, "said")):
            os.dup2(os.open(f"{name}{n}", os.O_CREAT | os.O_WRONLY), number)
        sys.argv[1:] = line
        main()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, open(f"said{n}").read()
"""
"""Runs commands in processes of their own, each forked off this one and ended as Python ends."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("printed")


@pytest.fixture
def printed(folder: Path) -> list[tuple[str, str]]:
    """What each of COMMANDS wrote to stdout and to stderr, of Python and past it."""
    if not (folder / "done").exists():
        paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
        code = [sys.executable, "-c", FORKED, json.dumps(IMPORTED), json.dumps(COMMANDS)]
        subprocess.run(code, check=True, cwd=folder, env={**os.environ, "PYTHONPATH": paths})
        (folder / "done").touch()
    return [((folder / f"out{n}").read_text(), (folder / f"said{n}").read_text()) for n in range(len(COMMANDS))]


@pytest.mark.parametrize("n", [0, 1], ids=["profile", "compare"])
def test_what_a_module_prints_is_no_part_of_json(n: int, printed: list[tuple[str, str]]) -> None:
    out, said = printed[n]
    json.loads(out)
    for part in ("the import", "the constructor", "forward", "past sys.stdout", "by C", "at the exit"):
        assert part in said


def test_what_a_module_prints_is_not_in_the_table(printed: list[tuple[str, str]]) -> None:
    out, _ = printed[2]
    assert "printed by" not in out
    assert "584" in out


@pytest.mark.parametrize("form", ["markdown", "csv"])
def test_what_a_module_prints_is_in_no_other_format(form: str, capfd: pytest.CaptureFixture[str]) -> None:
    done = upbench("profile", f"{OURS}:Prints", *TINY, "--format", form)
    past = capfd.readouterr()  # what no sys.stdout of Python's sees, as that of C
    assert done.exit_code == 0, done.output
    assert "printed by" not in done.stdout + past.out
    assert "printed by" in done.stderr + past.err
    assert "584" in done.stdout


def test_a_sweep_of_a_module_that_prints_says_only_its_table(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(
        f"name: s\nbase: {{upsampler: '{OURS}:Prints'}}\ninput: {{shape: 8x6x5}}\n"
        "measure: {budget: 0.02, device: cpu}\ngrid: {batch: [1, 2]}\n"
    )
    done = upbench("sweep", file, "--output", tmp_path / "r.jsonl", "--format", "csv")
    past = capfd.readouterr()  # what no sys.stdout of Python's sees, as that of the workers
    assert done.exit_code == 0, done.output
    assert "printed by" not in done.stdout + past.out
    assert "printed by forward" in past.err


def test_what_an_import_sets_is_put_back_and_said() -> None:
    threads = torch.get_num_threads()
    record = profile("Up")
    assert (torch.get_num_threads(), torch.get_default_dtype()) == (threads, torch.float32)
    assert said(record, "its file changes ")
    assert said(
        record, "torch.set_default_dtype (torch.float32 to torch.float64) when it is imported; that was put back"
    )
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with warnings.catch_warnings(record=True):
        warnings.warn("no error", stacklevel=1)


@pytest.mark.parametrize("name", ["KeepsItsGrid", "KeepsItsLastOutput"])
@pytest.mark.parametrize("mode", ["inference", "training", "training-backward"])
def test_what_a_first_forward_keeps_can_be_trained_with(name: str, mode: str) -> None:
    record = profile(name, "--mode", mode)
    assert record["latency"]["mode"] == mode
    assert record["memory"]["training_peak_bytes"] > record["memory"]["forward_peak_bytes"]
    assert not said(record, "could not")


@pytest.mark.parametrize("mode", ["inference", "training", "training-forward", "training-backward"])
def test_a_first_layer_may_work_in_place(mode: str) -> None:
    record = profile("InPlaceFirstLayer", "--mode", mode)
    assert record["latency"]["samples_s"]
    assert record["memory"]["training_peak_bytes"]
    assert said(record, "a call writes to its input x")
    assert not said(record, "could not")


@pytest.mark.parametrize("name", ["WritesToX", "WritesUnseen"])
def test_an_input_that_is_written_to_is_named_and_restored(name: str) -> None:
    record, plain = profile(name), profile("Up")
    assert said(record, "a call writes to its input x")
    assert record["output"]["highest"] == pytest.approx(1.5 * plain["output"]["highest"], rel=0.2)
    assert not said(record, "not finite")
    assert record["output"]["digest"]


def test_a_guide_that_is_written_to_is_named() -> None:
    assert said(profile("WritesToGuide"), "a call writes to its input guide")


def test_timed_calls_read_the_same_input_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.modules import intruding

    read: list[float] = []
    monkeypatch.setattr(intruding.WritesToX, "first", lambda self, x: read.append(float(x.sum())) or x.mul_(1.5))
    profile("WritesToX")
    assert len(read) > 20
    assert len(set(read)) == 1


def test_a_red_check_says_that_the_input_was_written_to() -> None:
    result = upbench("compare", f"{OURS}:WritesToX", "nearest", *TINY, "--exact")
    assert result.exit_code == 1
    assert "check repeat" in result.stderr
    assert "writes to its input x" in result.stderr
    assert upbench("compare", f"{OURS}:InPlaceFirstLayer", "nearest", *TINY, "--exact").exit_code == 0


def test_settings_that_a_call_changes_are_named_and_put_back() -> None:
    before = isolation.settings()
    record = profile("Sets")
    assert isolation.settings() == before
    assert said(record, "a call changes torch.set_num_threads")
    assert said(record, "torch.use_deterministic_algorithms")


def test_another_upsampler_runs_with_the_threads_of_the_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    from upbench.upsamplers.interpolation import Interpolation

    seen: set[int] = set()
    whole = Interpolation.upsample
    monkeypatch.setattr(Interpolation, "upsample", lambda self, x: seen.add(torch.get_num_threads()) or whole(self, x))
    result = upbench("compare", f"{OURS}:Sets", "nearest", *TINY, "--threads", "1", "--format", "json")
    assert result.exit_code == 0, result.output
    assert seen == {1}


def test_a_constructor_that_sets_the_device_is_put_back() -> None:
    record = profile("SetsDevice")
    assert said(record, "its constructor changes torch.set_default_device (None to meta)")
    assert torch.zeros(1).device.type == "cpu"


def test_gradients_that_a_call_turns_off_are_on_for_the_next_upsampler() -> None:
    result = upbench("compare", f"{OURS}:TurnsGradientsOff", "carafe", *TINY, "--exact", "--format", "json")
    assert result.exit_code == 0, result.output
    first, second = json.loads(result.stdout)["records"]
    assert first["memory"]["training_peak_bytes"] is None
    assert second["memory"]["training_peak_bytes"] > 0
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Exits", "it ends the process, sys.exit(3)"),
        ("ExitsWhileBuilt", "it ends the process, sys.exit('no licence')"),
        ("Stops", "Stop: enough"),
    ],
)
@pytest.mark.parametrize("command", [("profile",), ("compare", "nearest")])
def test_a_module_cannot_end_the_process(name: str, sentence: str, command: tuple[str, ...]) -> None:
    result = upbench(command[0], f"{OURS}:{name}", *command[1:], *TINY)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_a_file_cannot_end_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "leaving.py").write_text("import sys\nsys.exit(0)\n")
    monkeypatch.chdir(tmp_path)
    result = upbench("profile", "leaving:Up", *TINY)
    assert result.exit_code == 2
    assert "it ends the process, sys.exit(0)" in result.stderr


def test_ctrl_c_in_a_module_is_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.modules import intruding

    def interrupted(self: object, x: torch.Tensor) -> torch.Tensor:
        raise KeyboardInterrupt

    monkeypatch.setattr(intruding.Up, "first", interrupted)
    result = upbench("profile", f"{OURS}:Up", *TINY)
    assert result.exit_code not in (0, 2)


@pytest.mark.parametrize(
    "name", ["Drops", "StochasticDepth:draw=torch", "StochasticDepth:draw=python", "StochasticDepth:draw=numpy"]
)
def test_unchanged_code_that_draws_passes_its_own_baseline(name: str, tmp_path: Path) -> None:
    name, _, params = name.partition(":")
    chosen = ("--set", params) if params else ()
    call = ("compare", f"{OURS}:{name}", *TINY, *chosen, "--mode", "training", "--exact")
    for seed in range(3):
        base = tmp_path / f"{seed}.json"
        assert upbench(*call, "--seed", seed, "--save", base).exit_code == 0
        saved = json.loads(base.read_text())["upsamplers"][0]
        assert saved["output"]["digest"]
        for _ in range(2):
            again = upbench(*call, "--seed", seed, "--baseline", base, "--strict")
            assert again.exit_code == 0, again.output


def test_draws_that_no_seed_reaches_are_said_and_have_no_digest(tmp_path: Path) -> None:
    record = profile("DrawsForItself", "--mode", "training")
    assert record["output"]["digest"] is None
    assert said(record, "two calls with the same seed returned different values")
    base = tmp_path / "b.json"
    call = ("compare", f"{OURS}:DrawsForItself", *TINY, "--mode", "training", "--exact")
    assert upbench(*call, "--save", base).exit_code == 0
    assert upbench(*call, "--baseline", base).exit_code == 0
    assert profile("DrawsForItself")["output"]["digest"]


def test_the_users_own_generators_go_on_as_if_nothing_had_run() -> None:
    import random

    import numpy as np

    def drawn() -> tuple[float, ...]:
        return float(torch.rand(())), random.random(), float(np.random.rand())

    states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    expected = drawn()
    torch.set_rng_state(states[0])
    random.setstate(states[1])
    np.random.set_state(states[2])
    profile("Drops", "--mode", "training")
    assert drawn() == expected


def test_seeding_draws_as_torch_does_and_writes_down_no_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    if not torch.accelerator.is_available():
        monkeypatch.setattr("traceback.format_stack", lambda *_: pytest.fail("the stack was written down"))
    isolation.seed_torch(7)
    assert torch.equal(torch.rand(3), expected)
