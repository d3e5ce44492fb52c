"""The engine `ray` on a cluster of node processes of this machine: records, user's code, refusals, failures."""

from __future__ import annotations

import shutil
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

import upbench as package
from tests import ray_nodes
from tests.command_line import refused, upbench
from upbench.records import pass_store, store
from upbench.records.record import Record
from upbench.sweeping.engines.ray_worker import LISTENER, Said, Station

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="the extra ray is not installed")

MODULE = """
import torch

class Up(torch.nn.Module):
    def __init__(self, channels, scale, how="up"):
        super().__init__()
        self.how, self.layer = how, torch.nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        if self.how == "error":
            raise ValueError("no such thing")
        return torch.nn.functional.interpolate(self.layer(x), scale_factor=2)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the user: with a module, and apart from it an upbench of another version."""
    found = tmp_path_factory.mktemp("ray")
    (found / "user").mkdir()
    (found / "user" / "rayup.py").write_text(textwrap.dedent(MODULE))
    old = found / "old" / "upbench"
    shutil.copytree(Path(package.__file__).parent, old, ignore=shutil.ignore_patterns("*.so", "*.npz", "__pycache__"))
    init = old / "__init__.py"
    init.write_text(init.read_text().replace(f'"{package.__version__}"', '"0.0.9"'))
    assert '"0.0.9"' in init.read_text()
    return found


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """Of two nodes that can measure, and one with an upbench of another version."""
    (folder / "cwd").mkdir()
    with ray_nodes.cluster(folder / "cwd", {}, {"PYTHONPATH": str(folder / "old")}) as started:
        yield started.address


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user's module, where the commands run."""
    for name, value in ray_nodes.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder / "user")
    monkeypatch.syspath_prepend(str(folder / "user"))
    return folder / "user"


def _sweep(here: Path, name: str, *more: object, **changes: Any) -> tuple[Any, list[Record], Path]:
    data = {
        "name": name,
        "base": {"upsampler": "rayup:Up"},
        "input": {"shape": "8x6x5"},
        "measure": {"budget": 0.1, "device": "cpu", "threads": 1},
        "cells": [{"how": "error", "seed": 0}, *({"how": "up", "seed": n} for n in range(1, 9))],
        **changes,
    }
    (here / f"{name}.yaml").write_text(yaml.safe_dump(data))
    path = here / f"{name}.jsonl"
    done = upbench("sweep", here / f"{name}.yaml", "-o", path, *more)
    return done, store.current(store.load(path).records), path


def test_a_sweep_on_two_nodes_with_a_module_that_only_this_folder_has(here: Path, address: str) -> None:
    """A node with another upbench measures nothing."""
    done, found, path = _sweep(here, "cluster", "--engine", "ray", "--address", address)
    assert done.exit_code == 1, done.output
    assert "is refused: it has upbench 0.0.9, and this machine" in done.stderr
    assert done.stderr.count("is refused") == 1
    assert [(r.axes["how"], r.status) for r in found] == [("error", "error"), *[("up", "ok")] * 8]
    assert "ValueError: no such thing" in str(found[0].error)
    nodes = {r.environment.device_id for r in found}
    assert len(nodes) == 2
    assert all(str(node).endswith("/cpu") for node in nodes)
    assert {r.latency.passes.allocator for r in found if r.latency and r.latency.passes} == {"kept"}
    assert {(r.environment.threads, r.environment.omp_num_threads) for r in found} == {(1, None)}, (
        "Ray sets the variable"
    )
    (group,) = pass_store.index(path.with_suffix(".passes.jsonl")).groups.values()
    assert len(group.twin) >= 5
    # No tests of their own: that would be another cluster where tests run side by side.
    _check_dry_run(here, address)
    _check_connected_elsewhere(here, address)


def _check_dry_run(here: Path, address: str) -> None:
    """It says how blocks are spread, and leaves Ray. The engine stands in the file."""
    (here / "dry.yaml").write_text(
        yaml.safe_dump(
            {
                "name": "dry",
                "base": {"upsampler": "carafe"},
                "input": {"shape": "8x6x5"},
                "measure": {"device": "cpu", "threads": 1},
                "grid": {"seed": list(range(40))},
                "engine": {"name": "ray", "address": address},
            }
        )
    )
    with _slow_to_hear() as heard:
        done = upbench("sweep", here / "dry.yaml", "--dry-run")
    assert done.exit_code == 0, done.output
    assert heard.is_set()
    _assert_left_ray()
    text = " ".join(done.stdout.split())
    assert "on 2 devices at a time" in text
    assert "about 5 blocks in each of 5 passes" in text
    assert text.count("/cpu") == 2
    assert not (here / "results").exists()


@contextmanager
def _slow_to_hear() -> Iterator[threading.Event]:
    """A thread that is slow to hear of the end must not ask Ray again: Ray would connect to whatever cluster it finds.

    The first sweep that ends inside waits until a thread has begun to be slow, which the event tells.
    """
    heard, leave = threading.Event(), Station.leave

    def slowly(said: Said, name: str, value: object) -> None:
        object.__setattr__(said, name, value)
        if name == "times":
            heard.set()
            time.sleep(4)

    def leaving(station: Station) -> None:
        patch.setattr(Said, "__setattr__", slowly)
        assert heard.wait(60)
        leave(station)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Station, "leave", leaving)
        yield heard


def _assert_left_ray() -> None:
    import ray

    assert LISTENER not in {one.name for one in threading.enumerate()}
    assert not ray.is_initialized()


def _check_connected_elsewhere(here: Path, address: str) -> None:
    """A process has one cluster: another address is refused, not forgotten."""
    import ray

    ray.init(address=address, configure_logging=False, log_to_driver=False)
    try:
        asked = ("sweep", here / "dry.yaml", "-o", here / "elsewhere.jsonl", "--engine", "ray", "--address")
        assert f"connected to the Ray cluster at {address} already" in refused(*asked, "10.0.0.1:6379")
    finally:
        ray.shutdown()
    assert not (here / "elsewhere.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--address", "127.0.0.1:9"], "nothing answers at"),
        (["--address", "ray://here"], "give auto, local or HOST:PORT"),
    ],
)
def test_an_address_where_nobody_answers_is_refused_at_once(tmp_path: Path, options: list[str], sentence: str) -> None:
    (tmp_path / "one.yaml").write_text("name: one\nbase: {upsampler: carafe}\ngrid: {k_up: [3]}\n")
    files = (tmp_path / "one.yaml", "-o", tmp_path / "one.jsonl")
    assert sentence in refused("sweep", *files, "--engine", "ray", *options)
    assert not (tmp_path / "one.jsonl").exists()
