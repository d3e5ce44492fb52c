"""The loop around workers, with real processes that measure nothing."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from upbench.records.record import Status
from upbench.sweeping.announcement import Announcement
from upbench.sweeping.lanes import Interrupts, Job, Lanes
from upbench.sweeping.worker import Message, Worker


class Source:
    """Jobs one after another, and what became of each."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = list(jobs)
        self.heard: list[tuple[Any, str]] = []
        self.pids: list[int] = []
        self.parts: list[float] = []
        self.said: int | None = None

    def next_job(self, device: str) -> Job | None:
        return self.jobs.pop(0) if self.jobs else None

    def progressed(self, job: Job, part: float) -> None:
        self.parts.append(part)

    def answered(self, job: Job, device: str, message: Message, spent_s: float) -> None:
        assert message["device"] == device
        self.heard.append((job.content, "answered"))
        self.pids.append(message["pid"])

    def lost(self, job: Job, device: str, status: Status, error: str, said: int | None) -> None:
        self.heard.append((job.content, status))
        self.said = said


def _run(source: Source, devices: Sequence[str] = ("cpu",), interrupts: Interrupts | None = None) -> list[str]:
    told: list[str] = []
    lanes = Lanes(
        devices,
        lambda device: Worker("tests.sweeping.fake_lane_worker"),
        source,
        interrupts or Interrupts(),
        told.append,
    )
    try:
        lanes.run()
    finally:
        for one in lanes.idle:
            one.kill()
    return told


def test_a_worker_does_one_job_after_another_and_a_fresh_one_on_demand() -> None:
    source = Source([Job({}, 0), Job({}, 1), Job({}, 2, fresh=True), Job({"healthy": False}, 3), Job({}, 4)])
    _run(source)
    assert source.heard == [(n, "answered") for n in range(5)]
    a, b, c, d, e = source.pids
    assert a == b != c == d != e
    assert source.parts.count(0.5) == 5


def test_death_and_hanging_cost_their_job_and_no_other() -> None:
    jobs = [Job({"signal": "SIGSEGV"}, 0), Job({}, 1), Job({"sleep": 60}, 2, timeout_s=0.3), Job({}, 3)]
    source = Source(jobs)
    _run(source)
    assert source.heard == [(0, "crashed"), (1, "answered"), (2, "timeout"), (3, "answered")]


class Announcing(Worker):
    """A worker of which the test says what it announced."""

    def __init__(self, module: str) -> None:
        self.announcement = Announcement()
        super().__init__(module)


def test_a_job_that_makes_progress_has_not_hung_however_long_it_takes() -> None:
    source = Source([Job({"sleep": 1.2}, "works", timeout_s=0.5), Job({"sleep": 60}, "hangs", timeout_s=0.5)])
    started: list[Announcing] = []

    def start(device: str) -> Announcing:
        started.append(Announcing("tests.sweeping.fake_lane_worker"))
        return started[-1]

    done = threading.Event()

    def announce() -> None:
        while not done.wait(0.1):
            if started and not source.heard:
                started[0].announcement.say(3)
            elif started:
                started[0].announcement.say(5)
                return

    thread = threading.Thread(target=announce)
    thread.start()
    Lanes(("cpu",), start, source, Interrupts()).run()
    done.set()
    thread.join()
    assert source.heard == [("works", "answered"), ("hangs", "timeout")]
    assert source.said == 5, "what it announced last is known"


def test_devices_work_side_by_side() -> None:
    source = Source([Job({"sleep": 0.3}, n) for n in range(4)])
    _run(source, ("cuda:0", "cuda:1"))
    assert sorted(source.heard) == [(n, "answered") for n in range(4)]
    assert len(set(source.pids)) == 2


@pytest.mark.parametrize(("presses", "heard"), [(1, [(0, "answered")]), (2, [])])
def test_ctrl_c_lets_the_job_end_and_twice_drops_it(presses: int, heard: list[tuple[int, str]]) -> None:
    interrupts = Interrupts()
    source = Source([Job({"sleep": 1.0}, 0), Job({}, 1)])
    begun = source.progressed

    def press(job: Job, part: float) -> None:
        begun(job, part)
        if part == 0.5:
            for _ in range(presses):
                os.kill(os.getpid(), signal.SIGINT)

    source.progressed = press  # type: ignore[method-assign]
    with interrupts.counted():
        told = _run(source, interrupts=interrupts)
    assert source.heard == heard
    assert "Ctrl-C again" in told[0]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_interrupts_are_left_alone_outside_of_the_main_thread() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def inside() -> None:
        with Interrupts().counted():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert seen == [before]
