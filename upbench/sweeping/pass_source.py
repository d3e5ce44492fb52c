"""The blocks of a sweep's passes as jobs for workers, and what comes back as lines of the passes file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from upbench.records import pass_lines
from upbench.records.pass_lines import BlockLine, Role, Timed
from upbench.records.record import Status
from upbench.sweeping.lanes import Job
from upbench.sweeping.schedule import Block, Schedule
from upbench.sweeping.worker import Message

FRESH_FROM_S = 600.0
"""A sweep that is longer than this gets a new worker for every pass: then what a process adds by itself is sampled, too."""


@dataclass(frozen=True)
class Member:
    """A cell as its worker needs it.

    Args:
        key, axes: Its identity.
        spec: As `RunSpec.to_dict` gives it.
    """

    key: str
    axes: Mapping[str, Any]
    spec: Mapping[str, Any]
    role: Role = "cell"
    label: str = ""

    def to_message(self) -> Message:
        """Return what is sent of it to a worker."""
        return {"key": self.key, "axes": dict(self.axes), "spec": dict(self.spec), "role": self.role}


@dataclass
class PassSource:
    """Gives out blocks until the planned passes are whole, and asks then whether there are to be more.

    Args:
        schedule: What is still to be timed, by the numbers of `members`.
        members: The cells, the twin among them.
        reference: What they are set against.
        path: The passes file.
        run: Names this process in the file.
        budget_s: Seconds of sampling for a cell in one pass.
        timeout_s: For how long one call may take; None for ever.
        memory_bytes: See `worker.measure`.
        more: Asked after whole passes, with their number: whether another one follows.
        progress: Called with the device, what is timed, the part of everything that is done, and the seconds that are left.
        expected_s: How long the passes are expected to take.
    """

    schedule: Schedule
    members: Mapping[int, Member]
    reference: Member
    path: Path
    run: str
    budget_s: float
    timeout_s: float | None = None
    memory_bytes: int | None = None
    more: Callable[[int], bool] = lambda passes: False
    progress: Callable[[str, str, float, float | None], None] = lambda device, what, part, left_s: None
    expected_s: float = 0.0
    spent_s: float = 0.0
    _running: int = 0
    _begun_at: float = 0.0
    _pass_of_worker: dict[str, int] = field(default_factory=dict)

    def next_job(self, device: str) -> Job | None:
        """Return the next block; None when all is done, or while the last blocks of the last pass run elsewhere."""
        block = self.schedule.next_block()
        if block is None and not self._running and self.more(self.schedule.passes):
            self.schedule.passes += 1
            block = self.schedule.next_block()
        if block is None:
            return None
        self._running += 1
        before = self._pass_of_worker.get(device)
        self._pass_of_worker[device] = block.pass_number
        again = before is not None and before != block.pass_number and self.expected_s > FRESH_FROM_S
        dies = any(cell in self.schedule.alone for cell in block.cells)
        message: Message = {
            "block": {
                "reference": self.reference.to_message(),
                "cells": [self.members[cell].to_message() for cell in block.cells],
                "seed": f"{self.schedule.seed}/{block.pass_number}/{block.cells}",
                "budget_s": self.budget_s,
            },
            "memory_bytes": self.memory_bytes,
        }
        return Job(message, block, self.timeout_s, fresh=again or dies, device=device)

    def progressed(self, job: Job, part: float) -> None:
        """Say which block of which pass is timed."""
        block: Block = job.content
        if part == 0:
            self._begun_at = time.monotonic()
        done = self.schedule.part_done() + part * len(block.cells) / max(1, len(self.members) * self.schedule.passes)
        spent_s = self.spent_s + (time.monotonic() - self._begun_at)
        left_s = spent_s * (1 - done) / done if done > 0 and self.spent_s else None
        what = f"pass {block.pass_number + 1} of {self.schedule.passes}: {self._names(block)}"
        self.progress(job.device, what, min(done, 1.0), left_s)

    def answered(self, job: Job, device: str, message: Message, spent_s: float) -> None:
        """Write a block, and note the cells that left it.

        Args:
            job: The job of the block.
            device: Where it ran, by torch's name.
            message: What the worker measured, or how building the reference failed.
            spent_s: Wall time of the block in seconds.
        """
        block: Block = job.content
        self._running -= 1
        self.spent_s += spent_s
        if "reference" not in message:
            self.schedule.died(block, None, message["status"], message["error"])
            return
        cells = [Timed.model_validate(one) for one in message["cells"]]
        line = BlockLine(
            run=self.run,
            pass_number=block.pass_number,
            block=block.number,
            started=message["started"],
            allocator=message["allocator"],
            load=message["load"] if "load" in message else _load(),
            reference=Timed.model_validate(message["reference"]),
            cells=cells,
        )
        pass_lines.append(self.path, line)
        for cell, timed in zip(block.cells, cells, strict=True):
            if timed.status != "ok":
                self.schedule.left(block, cell, _status(timed.status), timed.error or "")
        self.schedule.finished(block)

    def lost(self, job: Job, device: str, status: Status, error: str, said: int | None) -> None:
        """Note a block whose worker died: the cell that was built or called then goes alone.

        Args:
            job: The job of the block.
            device: Where it ran, by torch's name.
            status: The status of the cell.
            error: A sentence that says why.
            said: The number in the block, from 1, of the cell that was built or called last; None where none was.
        """
        block: Block = job.content
        self._running -= 1
        self._pass_of_worker.pop(device, None)
        cell = block.cells[said - 1] if said is not None and 0 < said <= len(block.cells) else None
        self.schedule.died(block, cell, status, error)

    def returned(self, job: Job, device: str) -> None:
        """Take back a block whose machine was lost: all of it is timed again.

        Args:
            job: The job of the block.
            device: Where it ran.
        """
        self._running -= 1
        self._pass_of_worker.pop(device, None)
        self.schedule.returned(job.content)

    def _names(self, block: Block) -> str:
        first = self.members[block.cells[0]].label
        return first if len(block.cells) == 1 else f"{first} and {len(block.cells) - 1} more"


def _status(text: str) -> Status:
    return "oom" if text == "oom" else "error"


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except OSError:
        return None
