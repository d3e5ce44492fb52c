"""What the loop around workers, the sources of its jobs and the engines that start workers know of each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from upbench.records.record import Status

Message = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """Something for a worker to do.

    Args:
        message: What is sent to the worker.
        timeout_s: After how long it is given up, counted from the last announcement of a worker that makes some; None
            for never.
        fresh: Whether a worker that has done other jobs is replaced first.
        content: What the source knows the job by.
        device: Where it runs.
    """

    message: Message
    content: Any
    timeout_s: float | None = None
    fresh: bool = False
    device: str = ""


class Source(Protocol):
    """Where jobs come from, and who hears what became of them. Each job is answered or lost, once."""

    def next_job(self, device: str) -> Job | None:
        """Return a job for an idle device; None when there is none just now. Asked again after every answer."""

    def progressed(self, job: Job, part: float) -> None:
        """Note that a worker begins a job, or has done a part of it.

        Args:
            job: The job.
            part: How much of it is done, from 0 to 1.
        """

    def answered(self, job: Job, device: str, message: Message, spent_s: float) -> None:
        """Take a worker's answer to a job.

        Args:
            job: The job.
            device: Where it ran, by torch's name.
            message: The answer.
            spent_s: Wall time that the job took, in seconds.
        """

    def lost(self, job: Job, device: str, status: Status, error: str, said: int | None) -> None:
        """Note that the worker died with the job, or was ended.

        Args:
            job: The job.
            device: Where it ran, by torch's name.
            status: The status of what the job measured.
            error: A sentence that says why.
            said: What the worker had announced last; None for nothing.
        """

    def returned(self, job: Job, device: str) -> None:
        """Take a job back whose machine was lost, to be done again elsewhere.

        Args:
            job: The job.
            device: Where it ran.
        """


class Said(Protocol):
    """What a worker announces; see `Announcement`."""

    def clear(self) -> None:
        """Forget the last number."""

    def read(self) -> int | None:
        """Return the last number, None when there is none."""

    def count(self) -> int:
        """Return how often a number was left."""


class Gone(NamedTuple):
    """Why a worker is lost without its own doing.

    Args:
        why: A clause.
        for_good: Whether its machine is gone, so that no other can be started there.
    """

    why: str
    for_good: bool


class Handle(Protocol):
    """A worker process, as the loop needs it; see `worker.Worker`."""

    pipe: Any
    process: Any

    def ask(self, message: Message) -> None:
        """Send a message to the process."""

    def answer(self) -> Message | None:
        """Wait for the next message of the process and return it; None when it died."""

    def kill(self) -> int:
        """End the process and all that it started; return its exit code, negative for a signal."""

    def death(self) -> tuple[Status, str]:
        """Return what the death of the process means: a status and a sentence."""

    def serves(self, device: str) -> bool:
        """Return whether it can do jobs on a device."""

    def gone(self) -> Gone | None:
        """Return why it was lost, where its machine was and not the process by itself; asked once it has died."""
