"""Where the work of a study is done: in a worker wherever that can import the upsamplers, else in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Protocol as Interface

from upbench.quality.protocol import Candidate, Protocol, Run, Setting
from upbench.quality.rows import Row
from upbench.session import opening
from upbench.session.calls import Progress, silent
from upbench.session.remote import Remote


class Engine(Interface):
    """Does the work of a study; what its calls do is said at `local.Local`."""

    def describe(self, protocol: Protocol) -> Setting: ...
    def batchable(self, protocol: Protocol, runs: Sequence[Run]) -> bool: ...
    def step_s(self, protocol: Protocol, runs: Sequence[Run]) -> float: ...
    def train(self, protocol: Protocol, runs: Sequence[Run], say: Progress) -> list[Row]: ...


class InWorker(Remote):
    """An engine in a worker process of its own."""

    module = "upbench.quality.process"

    def __init__(self) -> None:
        super().__init__("kept")

    def describe(self, protocol: Protocol) -> Setting:
        """Load the data of a protocol and say what they are."""
        return Setting(**self._ask(_message("describe", protocol), silent))

    def batchable(self, protocol: Protocol, runs: Sequence[Run]) -> bool:
        """Return whether the runs can be trained in one batched call."""
        return bool(self._ask(_message("batchable", protocol, runs), silent)["batchable"])

    def step_s(self, protocol: Protocol, runs: Sequence[Run]) -> float:
        """Return about how many processor seconds one step of these runs takes."""
        return float(self._ask(_message("step", protocol, runs), silent)["step_s"])

    def train(self, protocol: Protocol, runs: Sequence[Run], say: Progress) -> list[Row]:
        """Train runs of one candidate in one call and return their rows."""
        return [Row.model_validate(row) for row in self._ask(_message("train", protocol, runs), say)["rows"]]


def _message(do: str, protocol: Protocol, runs: Sequence[Run] | None = None) -> dict[str, object]:
    found: dict[str, object] = {"do": do, "protocol": protocol.model_dump(mode="json")}
    return found if runs is None else {**found, "runs": [asdict(run) for run in runs]}


@contextmanager
def opened(candidates: Sequence[Candidate]) -> Iterator[Engine]:
    """Open an engine for some upsamplers, and end its process afterwards.

    Args:
        candidates: All upsamplers of the study.

    Raises:
        WorkerError: If no process can be started.
    """
    if not opening.works_elsewhere([one.upsampler for one in candidates]):
        from upbench.quality.local import Local

        yield Local()
        return
    with InWorker() as engine:
        yield engine
