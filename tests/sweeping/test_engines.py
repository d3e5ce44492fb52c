"""The choice of an engine, kinds of machines, and what a lost machine costs; nothing here needs Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.command_line import refused
from tests.sweeping.test_lanes import Source
from upbench.errors import DeviceError, SpecError, UnknownName
from upbench.sweeping import expand
from upbench.sweeping.engines import choice, kinds, same_code
from upbench.sweeping.engines.choice import Choice
from upbench.sweeping.jobs import Gone, Job
from upbench.sweeping.lanes import Interrupts, Lanes
from upbench.sweeping.schedule import Schedule, Weight
from upbench.sweeping.worker import Worker, WorkerError

H100 = {"device": "NVIDIA H100", "device_type": "cuda", "torch": "2.13.0", "cuda": "13.0", "driver": "580"}
A100 = {**H100, "device": "NVIDIA A100"}


def _named(*environments: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**env, "device_id": f"n{n}/cuda:0"} for n, env in enumerate(environments)]


def test_one_kind_measures_and_the_others_are_named() -> None:
    best, said = kinds.choose(_named(H100, A100, H100), None, lambda env: 0)
    assert [env["device_id"] for env in best] == ["n0/cuda:0", "n2/cuda:0"]
    assert "left out: n1/cuda:0 (NVIDIA A100, torch 2.13.0, driver 580); --on selects" in said[0]
    assert kinds.choose(_named(H100, H100), None, lambda env: 0)[1] == []


def test_the_kind_that_has_begun_goes_on_and_on_selects_another() -> None:
    machines = _named(H100, A100, H100)
    assert kinds.choose(machines, None, lambda env: int(env["device"] == "NVIDIA A100"))[0] == [machines[1]]
    assert kinds.choose(machines, "a100", lambda env: 0) == ([machines[1]], [])
    with pytest.raises(DeviceError, match="no node is of that kind; the kinds are: NVIDIA H100"):
        kinds.choose(machines, "B200", lambda env: 0)


@pytest.mark.parametrize("part", ["torch", "cuda", "driver", "cudnn", "kernels", "threads", "measurement_version"])
def test_another_driver_or_version_is_another_kind(part: str) -> None:
    assert len(kinds.choose(_named(H100, {**H100, part: "1"}), None, lambda env: 0)[0]) == 1


def test_the_command_line_goes_before_the_file(tmp_path: Path) -> None:
    written = Choice(name="ray", address="10.0.0.1:6379")
    assert choice.merged(written, None, None, None) is written
    assert choice.merged(written, None, "local", "H100") == Choice(name="ray", address="local", on="H100")
    assert choice.merged(written, "local", None, None) == Choice()
    with pytest.raises(SpecError, match="address and on belong to a cluster"):
        choice.merged(Choice(), None, None, "H100")
    with pytest.raises(UnknownName, match=r"unknown --engine 'rey'; did you mean 'ray'[?] Known: local, ray"):
        choice.merged(written, "rey", None, None)


@pytest.mark.parametrize(
    ("engine", "sentence"),
    [
        ("{name: rey}", "line 4: engine.name: unknown engine 'rey'; did you mean 'ray'? Known: local, ray"),
        ("{name: ray, adress: auto}", "engine.adress: unknown key; did you mean 'address'? Known: name, address, on"),
        ("{name: local, on: H100}", "address and on belong to a cluster"),
        ("ray", "engine is ray, but must be a mapping, as {name: ray, address: auto}"),
    ],
)
def test_a_wrong_engine_is_one_sentence(tmp_path: Path, engine: str, sentence: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(f"name: s\nbase: {{upsampler: carafe}}\ngrid: {{k_up: [3]}}\nengine: {engine}\n")
    assert sentence in " ".join(refused("sweep", path).split())


def test_an_engine_in_the_file_is_read() -> None:
    data = {"name": "s", "base": {"upsampler": "carafe"}, "grid": {"k_up": [3]}}
    assert expand.load({**data, "engine": {"name": "ray"}}, "s").engine == Choice(name="ray")
    as_yaml_has_it = yaml.safe_load("{name: ray, on: H100}")
    assert expand.load({**data, "engine": as_yaml_has_it}, "s").engine == Choice(name="ray", on="H100")


def test_versions_that_differ_are_named() -> None:
    here = same_code.described()
    assert same_code.difference(here, here) is None
    assert "it has upbench 9" in str(same_code.difference(here, {**here, "upbench": "9"}))
    assert "another commit" in str(same_code.difference(here, {**here, "code": "0"}))
    assert "it has torch 1.0" in str(same_code.difference(here, {**here, "torch": "1.0"}))
    public = here["torch"].partition("+")[0]
    assert same_code.difference(here, {**here, "torch": f"{public}+cu130"}) is None, "another kind of machine"
    assert same_code.changed_code({"m:A": {"m.py": "1"}}, {"m:A": {"m.py": "2"}}) == "its code of m:A is another (m.py)"
    assert same_code.changed_code({"m:A": {"m.py": "1"}}, {"m:A": {"m.py": "1"}}) is None


class Lost(Worker):
    """A worker whose machine is lost with its first job."""

    def __init__(self, device: str, lost: set[str], for_good: bool = True) -> None:
        self.device, self.lost, self.for_good = device, lost, for_good
        super().__init__("tests.sweeping.fake_lane_worker")

    def gone(self) -> Gone | None:  # type: ignore[override]
        return Gone("power", self.for_good) if self.device in self.lost else None


class Again(Source):
    """Takes jobs back."""

    def returned(self, job: Job, device: str) -> None:
        self.jobs.insert(0, Job({}, job.content))
        self.heard.append((job.content, f"returned by {device}"))


def test_the_job_of_a_lost_machine_is_done_by_another() -> None:
    source, said = Again([Job({"signal": "SIGKILL"}, 0), Job({}, 1), Job({}, 2)]), list[str]()
    Lanes(("a", "b"), lambda device: Lost(device, {"a"}), source, Interrupts(), said.append).run()
    assert (0, "returned by a") in source.heard
    assert sorted(pair for pair in source.heard if pair[1] == "answered") == [(n, "answered") for n in range(3)]
    assert said == ["a is lost (power); what it was doing is given out again"]


def test_no_machine_left_is_an_error_that_loses_nothing() -> None:
    lost = set[str]()
    source = Again([Job({"signal": "SIGKILL"}, 0)])
    with pytest.raises(WorkerError, match="every one is lost; what was measured is kept"):
        Lanes(("a",), lambda device: Lost(device, {"a"}), source, Interrupts(), lost=lost).run()
    assert lost == {"a"}
    assert [job.content for job in source.jobs] == [0]


def test_a_job_that_is_lost_twice_has_failed() -> None:
    class Kept(Again):
        def returned(self, job: Job, device: str) -> None:
            self.jobs.insert(0, job)

    source, said = Kept([Job({"signal": "SIGKILL"}, 0), Job({}, 1)]), list[str]()
    Lanes(("a",), lambda device: Lost(device, {"a"}, False), source, Interrupts(), said.append).run()
    assert source.heard == [(0, "crashed"), (1, "answered")], "where only the process was lost another takes its place"
    assert "given out again" in said[0]
    assert "has failed" in said[1]


def test_a_block_that_is_returned_is_the_next_one() -> None:
    schedule = Schedule({n: Weight(0.01) for n in range(20)}, "s", 1)
    first = schedule.next_block()
    assert first is not None
    schedule.returned(first)
    assert schedule.next_block() == first
    assert schedule.failed == {}
