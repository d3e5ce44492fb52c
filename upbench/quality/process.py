"""What runs in the worker of a study: the calls of `local.Local`, each a message."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from upbench.quality.local import Local
from upbench.quality.protocol import Candidate, Protocol, Run
from upbench.session import process
from upbench.sweeping import worker
from upbench.sweeping.worker import Message, Say

_LOCAL = Local()


def main(socket: int, lifeline: int, parent: int) -> None:
    """Do what the parent asks until it closes the socket.

    Args:
        socket: File descriptor of the socket.
        lifeline: File descriptor of a pipe that ends with the parent.
        parent: Process id of the parent.
    """
    worker.serve(socket, lifeline, parent, partial(process.measure, calls=_CALLS), worker.where)


def _read(runs: Sequence[Message]) -> list[Run]:
    return [Run(Candidate(**one["candidate"]), one["seed"], one["repeat"]) for one in runs]


def _describe(say: Say, protocol: Message) -> Message:
    return asdict(_LOCAL.describe(Protocol.model_validate(protocol)))


def _batchable(say: Say, protocol: Message, runs: Sequence[Message]) -> Message:
    return {"batchable": _LOCAL.batchable(Protocol.model_validate(protocol), _read(runs))}


def _step(say: Say, protocol: Message, runs: Sequence[Message]) -> Message:
    return {"step_s": _LOCAL.step_s(Protocol.model_validate(protocol), _read(runs))}


def _train(say: Say, protocol: Message, runs: Sequence[Message]) -> Message:
    found = _LOCAL.train(Protocol.model_validate(protocol), _read(runs), say)
    return {"rows": [row.model_dump(mode="json") for row in found]}


_CALLS: dict[str, Callable[..., dict[str, Any]]] = {
    "describe": _describe,
    "batchable": _batchable,
    "step": _step,
    "train": _train,
}
