"""A session in a worker process with a pinned allocator, seen from the process that asked for it, which needs no torch."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Self

from upbench import errors, interrupts
from upbench.benchmark.checked import Check, Checked
from upbench.errors import SpecError, UpbenchError
from upbench.machine.allocator import Pinning
from upbench.models.job import NOTICE, InModel, ModelJob
from upbench.papers import Host
from upbench.records.record import Output, Record, from_dict
from upbench.session.calls import InHost, Progress, Returned, silent
from upbench.specs.run_spec import RunSpec
from upbench.sweeping.worker import Message, PinnedWorker

MODULE = "upbench.session.process"
"""What runs in the worker."""


class Remote:
    """Does what `calls.Session` says in a worker of its own. Used as a context, which ends the worker.

    Args:
        pinning: What the worker's malloc does with large blocks that are freed.
    """

    module = MODULE

    def __init__(self, pinning: Pinning) -> None:
        self.worker = PinnedWorker(self.module, pinning)
        self.doing = "before the first measurement"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.worker.kill()

    def validate(self, specs: Sequence[RunSpec]) -> None:
        """Build every spec."""
        self._ask({"do": "validate", "specs": _written(specs)}, silent)

    def check(
        self,
        specs: Sequence[RunSpec],
        like: RunSpec | None = None,
        progress: Progress = silent,
        cache: bool = True,
        for_measuring: bool = True,
        backward: bool = True,
    ) -> Checked:
        """Check the outputs of upsamplers.

        Args:
            specs: The specs.
            like: Spec of the upsampler that a user's module must equal; None for no such check.
            progress: Called with what is being done, and the part of it that is done.
            cache: Whether results that were kept are used.
            for_measuring: Whether `compare` measures the same modules next.
            backward: Whether gradients are checked, too.
        """
        message = {
            "do": "check",
            "specs": _written(specs),
            "like": like and like.to_dict(),
            "cache": cache,
            "for_measuring": for_measuring,
            "backward": backward,
        }
        found = self._ask(message, progress)
        return Checked([Check(**one) for one in found["checks"]], set(found["unrepeatable"]))

    def output(self, spec: RunSpec) -> Returned:
        """Describe what a call returns, and where it ran."""
        found = self._ask({"do": "output", "specs": _written([spec])}, silent)
        return Returned(found["where"], found["output"] and Output.model_validate(found["output"]))

    def compare(self, specs: Sequence[RunSpec], progress: Progress = silent, timed: bool = True) -> list[Record]:
        """Measure specs side by side; one alone is profiled.

        Args:
            specs: The specs.
            progress: Called with what is being done, and the part of it that is done.
            timed: False measures only what is exact.
        """
        found = self._ask({"do": "compare", "specs": _written(specs), "timed": timed}, progress)
        return _records(found["records"])

    def compare_in_host(
        self,
        necks: Sequence[Sequence[RunSpec]],
        host: Host,
        by_stage: bool,
        progress: Progress = silent,
        timed: bool = True,
    ) -> list[InHost]:
        """Measure upsamplers in a host.

        Args:
            necks: Of each upsampler a spec for every stage.
            host: The host.
            by_stage: Whether every stage is also measured alone.
            progress: Called with what is being done, and the part of it that is done.
            timed: False measures only exact quantities, and leaves latency None.
        """
        message = {
            "do": "compare_in_host",
            "necks": [_written(specs) for specs in necks],
            "host": host.model_dump(mode="json"),
            "by_stage": by_stage,
            "timed": timed,
        }
        found = self._ask(message, progress)
        totals = _records(found["totals"])
        return [InHost(t, tuple(_records(s))) for t, s in zip(totals, found["stages"], strict=True)]

    def compare_in_model(self, job: ModelJob, progress: Progress = silent) -> list[InModel]:
        """Measure upsamplers in a whole model.

        Args:
            job: The model and the upsamplers.
            progress: Called with what is being done, and the part of it that is done.
        """
        found = self._ask({"do": "compare_in_model", "job": job.to_dict()}, progress)
        return [InModel.from_dict(one) for one in found["rows"]]

    def _ask(self, message: Message, progress: Progress) -> Message:
        """Have something done, tell of its progress, and return what came of it."""
        self.worker.ask({**message, "threads": _threads()})
        with _interrupts_to(self.worker.process.pid):
            while (answer := self.worker.answer()) is not None and "what" in answer:
                self.doing = answer["what"] if answer["part"] != NOTICE else self.doing
                progress(answer["what"], answer["part"])
        if answer is None:
            status, said = self.worker.death()
            more = "; a smaller shape or batch takes less memory" if status == "oom" else ""
            raise UpbenchError(f"{self.doing}: {said}{more}")
        if answer.get("interrupted"):
            raise KeyboardInterrupt
        if "error" in answer:
            raise _error(**answer["error"])
        if "traceback" in answer:
            raise RuntimeError(f"in the worker process:\n{answer['traceback']}")
        return answer


def _written(specs: Sequence[RunSpec]) -> list[dict[str, Any]]:
    return [spec.to_dict() for spec in specs]


def _records(found: Sequence[dict[str, Any]]) -> list[Record]:
    return [from_dict(one, "the record of a worker") for one in found]


def _threads() -> int | None:
    """Return the number of torch's threads in this process where torch is loaded, as code that set it expects it."""
    torch = sys.modules.get("torch")
    return None if torch is None else torch.get_num_threads()


def _error(kind: str, text: str, mistakes: Sequence[str] | None) -> UpbenchError:
    """Return the error that the worker raised, of the same class where that is one of `errors`."""
    if mistakes is not None:
        return SpecError(mistakes)
    known = getattr(errors, kind, UpbenchError)
    return known(text) if isinstance(known, type) and issubclass(known, UpbenchError) else UpbenchError(text)


@contextmanager
def _interrupts_to(process: int) -> Iterator[None]:
    """Pass the first Ctrl-C on to a process, which ends its sampling, and answer the second one here.

    The worker is in a session of its own, where Ctrl-C of the terminal does not reach it.
    """
    on_main = threading.current_thread() is threading.main_thread()
    if not on_main or not interrupts.is_usual():
        yield
        return
    passed_on = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal passed_on
        if passed_on:
            raise KeyboardInterrupt
        passed_on = True
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGINT)

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
