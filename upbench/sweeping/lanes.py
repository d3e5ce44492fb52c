"""Devices side by side, each with a worker that does one job at a time: the loop around workers.

What the jobs are is the business of a `Source`: cells to count, or blocks of a pass to time. The loop hears what workers
say, notices when one has died or takes too long, and lets Ctrl-C come between two jobs, never into the middle of a write.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import connection
from types import FrameType

from upbench.records.record import Status
from upbench.sweeping import worker
from upbench.sweeping.jobs import Gone, Handle, Message, Said, Source
from upbench.sweeping.jobs import Job as Job

TICK_S = 0.2
"""How often a time limit, Ctrl-C and the death of a worker are looked for; a message is heard at once."""


@dataclass
class Interrupts:
    """How often Ctrl-C was pressed."""

    count: int = 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count Ctrl-C instead of raising it; in other threads than the main one nothing changes."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def press(number: int, frame: FrameType | None) -> None:
            self.count += 1

        before = signal.signal(signal.SIGINT, press)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


@dataclass
class _Lane:
    device: str
    worker: Handle | None = None
    ready: bool = False
    used: bool = False
    job: Job | None = None
    started: float = 0.0
    count: int = 0
    moved: float = 0.0
    """How many announcements were made, and when the last one was noticed."""


@dataclass
class Lanes:
    """The loop.

    Args:
        devices: Where jobs run, by torch's names.
        start: Starts a worker process for a device.
        source: Gives jobs and hears of them.
        interrupts: After one the jobs that run are finished, after two they are dropped.
        notice: Called with a sentence for the user.
        idle: Workers that are ready; those that are left at the end are put back.
        lost: Devices that are gone and get no jobs; added to as machines are lost.
    """

    devices: Sequence[str]
    start: Callable[[str], Handle]
    source: Source
    interrupts: Interrupts
    notice: Callable[[str], None] = lambda sentence: None
    idle: list[Handle] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    _lanes: list[_Lane] = field(default_factory=list)
    _returned: Counter[str] = field(default_factory=Counter)

    def run(self) -> None:
        """Do jobs until the source has none and none is running.

        Raises:
            WorkerError: If a worker cannot be started, or every machine is lost.
        """
        self._lanes = [_Lane(device) for device in self.devices if device not in self.lost]
        self._check_lanes()
        told = False
        try:
            while True:
                if not self.interrupts.count:
                    for lane in self._lanes:
                        self._hand_out(lane)
                elif not told and any(lane.job for lane in self._lanes):
                    told = True
                    self.notice("finishing what is being measured, then stopping; Ctrl-C again drops it")
                awaited = [lane for lane in self._lanes if lane.worker and (lane.job or not lane.ready)]
                if self.interrupts.count:
                    awaited = [lane for lane in awaited if lane.job]
                if not awaited or self.interrupts.count > 1:
                    break
                connection.wait([lane.worker.pipe for lane in awaited if lane.worker], TICK_S)
                for lane in awaited:
                    self._look_after(lane)
            self.idle += [lane.worker for lane in self._lanes if lane.worker and lane.ready and lane.job is None]
        finally:
            for lane in self._lanes:
                if lane.worker and lane.worker not in self.idle:
                    lane.worker.kill()

    def _hand_out(self, lane: _Lane) -> None:
        """Give an idle lane its next job, or begin to start the worker that will take it."""
        if lane.job is not None or (lane.worker is not None and not lane.ready):
            return
        job = self.source.next_job(lane.device)
        if job is None:
            return
        if job.fresh and lane.worker is not None and lane.used:
            lane.worker.kill()
            lane.worker = None
        lane.job = job
        if lane.worker is None:
            one = None if job.fresh else next((o for o in reversed(self.idle) if o.serves(lane.device)), None)
            lane.ready = lane.used = one is not None
            if one is not None:
                self.idle.remove(one)
            lane.worker = one or self.start(lane.device)
            if not lane.ready:
                lane.started = time.monotonic()
                lane.worker.ask({"places": [lane.device]})
                return
        self._begin(lane)

    def _begin(self, lane: _Lane) -> None:
        assert lane.worker is not None
        assert lane.job is not None
        if said := announcement(lane.worker):
            said.clear()
        lane.started = lane.moved = time.monotonic()
        lane.used = True
        lane.worker.ask({**lane.job.message, "device": lane.device})
        self.source.progressed(lane.job, 0.0)

    def _look_after(self, lane: _Lane) -> None:
        """Hear what a worker has to say, and notice when it has died or taken too long."""
        assert lane.worker is not None
        if (said := announcement(lane.worker)) and said.count() != lane.count:
            lane.count, lane.moved = said.count(), time.monotonic()
        taken_s = time.monotonic() - max(lane.started, lane.moved)
        limit_s = lane.job.timeout_s if lane.job and lane.ready else worker.START_S
        dead = lane.worker.process.poll() is not None
        if lane.worker.pipe.poll():
            self._hear(lane, lane.worker.answer())
        elif dead:  # something that it started still holds its end of the socket
            self._hear(lane, None)
        elif limit_s is not None and taken_s > limit_s:
            if not lane.ready:
                raise worker.not_ready()
            lane.worker.kill()
            self._lose(lane, "timeout", f"it took longer than the {limit_s:g} s that --timeout allows")

    def _hear(self, lane: _Lane, message: Message | None) -> None:
        assert lane.worker is not None
        assert lane.job is not None
        if message is None:
            status, why = lane.worker.death()
            if gone := lane.worker.gone():
                self._take_back(lane, gone)
                return
            if not lane.ready:
                lane.worker = None
                raise worker.WorkerError(f"a new worker process for {lane.device} cannot be started: {why}")
            self._lose(lane, status, why)
        elif "places" in message:
            if message["refused"]:
                raise worker.WorkerError("\n".join(message["refused"]))
            lane.ready = True
            self._begin(lane)
        elif "part" in message:
            self.source.progressed(lane.job, message["part"])
        else:
            job, lane.job = lane.job, None
            if not message["healthy"]:
                lane.worker.kill()
                lane.worker = None
            self.source.answered(job, lane.device, message, time.monotonic() - lane.started)

    def _lose(self, lane: _Lane, status: Status, error: str) -> None:
        assert lane.worker is not None
        assert lane.job is not None
        said = announcement(lane.worker)
        number = said.read() if said else None
        job, lane.job, lane.worker, lane.ready = lane.job, None, None, False
        self.source.lost(job, lane.device, status, error, number)

    def _take_back(self, lane: _Lane, gone: Gone) -> None:
        """Give the job of a machine that was lost back to the source; one that loses two of them has failed."""
        assert lane.worker is not None
        assert lane.job is not None
        job = lane.job
        self._returned[repr(job.content)] += 1
        if gone.for_good:
            self.lost.add(lane.device)
            self._lanes.remove(lane)
        again = "what it was doing is given out again"
        if self._returned[repr(job.content)] > 1:
            self._lose(lane, "crashed", f"the machine was lost twice while it was measured: {gone.why}")
            again = "what it was doing has failed, since it was so before"
        else:
            lane.job, lane.worker, lane.ready = None, None, False
            self.source.returned(job, lane.device)
        self.notice(f"{lane.device} is lost ({gone.why}); {again}")
        self._check_lanes()

    def _check_lanes(self) -> None:
        if self.devices and not self._lanes:
            raise worker.WorkerError(
                f"{', '.join(self.devices)}: every one is lost; what was measured is kept, and the same command goes on"
            )


def announcement(handle: Handle) -> Said | None:
    """Return the number that a worker shares with its parent; None for a worker that shares none."""
    found: Said | None = getattr(handle, "announcement", None)
    return found
