"""Does the work of a study in this process: describes data, tries whether seeds can be batched, trains, times a step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch

from upbench import registry
from upbench.errors import UpbenchError
from upbench.machine import environment
from upbench.quality import kinds, training
from upbench.quality.pictures import Pictures
from upbench.quality.protocol import VERSION, Protocol, Run, Setting
from upbench.quality.rows import Row
from upbench.quality.training import Say
from upbench.sweeping import worker
from upbench.user_code import isolation

TIMED_STEPS = 3
"""Steps that the cost of a study is told from."""


class Local:
    """A study's work in this process, one protocol at a time."""

    def __init__(self) -> None:
        self._loaded: tuple[Protocol, Pictures] | None = None

    def describe(self, protocol: Protocol) -> Setting:
        """Load the data of a protocol and say what they are."""
        pictures = self._pictures(protocol)
        device = environment.resolve_device(protocol.device).type
        tested, version = len(pictures.test[0]), torch.__version__
        return Setting(
            pictures.about, pictures.classes, pictures.trained, tested, pictures.digest, str(version), device
        )

    def batchable(self, protocol: Protocol, runs: Sequence[Run]) -> bool:
        """Return whether the runs of one candidate can be trained in one batched call, see `training.batchable`."""
        with training.one_thread(), isolation.isolated():
            return training.batchable(runs, protocol, self._pictures(protocol), self._device(protocol))

    def step_s(self, protocol: Protocol, runs: Sequence[Run]) -> float:
        """Return about how many processor seconds one step of these runs takes, the test aside.

        Raises:
            UpbenchError: If the upsampler fails.
        """
        short = protocol.model_copy(update={"steps": TIMED_STEPS, "pictures": (protocol.batch * 2, 8)})
        pictures = _few(self._pictures(protocol), protocol.batch * 2)
        found = [0.0, 0.0]
        with training.one_thread(), isolation.isolated():
            for n in range(2):  # the first time memory is taken for the first time
                started = time.process_time()
                try:
                    training.train(runs, short, pictures, self._device(protocol), lambda what, part: None)
                except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's module may raise anything
                    why = worker.describe(error)[1]
                    raise UpbenchError(f"{runs[0].candidate.label} fails in a step of training: {why}") from None
                found[n] = (time.process_time() - started) / TIMED_STEPS
        return min(found)

    def train(self, protocol: Protocol, runs: Sequence[Run], say: Say) -> list[Row]:
        """Train runs of one candidate in one call and return their rows; a module that fails gives rows that say why.

        Args:
            protocol: The protocol.
            runs: Runs of one candidate; several only where `batchable` says so.
            say: Called with what is being done, and the part of it that is done.
        """
        pictures, device = self._pictures(protocol), self._device(protocol)
        failed: dict[str, Any] = {}
        found: list[training.Trained | None] = [None] * len(runs)
        try:
            with training.one_thread(), isolation.isolated():
                found = list(training.train(runs, protocol, pictures, device, say))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's module may raise anything
            failed = {"status": "error", "error": worker.describe(error)[1], "scores": {}, "cpu_s": 0.0}
        return [
            self._row(protocol, pictures, device, run, runs, failed or _said(one))
            for run, one in zip(runs, found, strict=True)
        ]

    def _row(
        self,
        protocol: Protocol,
        pictures: Pictures,
        device: torch.device,
        run: Run,
        runs: Sequence[Run],
        outcome: dict[str, Any],
    ) -> Row:
        one = run.candidate
        return Row(
            version=VERSION,
            protocol=protocol.identity(),
            data=pictures.digest,
            about=pictures.about,
            planned=protocol.seeds,
            upsampler=one.upsampler,
            params=one.params,
            label=one.label,
            key=one.key,
            repeat=run.repeat,
            seed=run.seed,
            together=tuple(other.seed for other in runs),
            backend=one.backend,
            sources=registry.sources(one.upsampler),
            torch=str(torch.__version__),
            device=device.type,
            date=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            **outcome,
        )

    def _pictures(self, protocol: Protocol) -> Pictures:
        if self._loaded is None or self._loaded[0] != protocol:
            found = kinds.load("data", protocol.data).load(protocol.size, protocol.folder, protocol.pictures)
            self._loaded = protocol, found
        return self._loaded[1]

    def _device(self, protocol: Protocol) -> torch.device:
        return environment.resolve_device(protocol.device)


def _said(one: training.Trained | None) -> dict[str, Any]:
    assert one is not None
    return {
        "status": one.status,
        "scores": one.scores,
        "first_loss": one.first_loss,
        "last_loss": one.last_loss,
        "cpu_s": one.cpu_s,
    }


def _few(pictures: Pictures, number: int) -> Pictures:
    """The first of the pictures only."""
    images, masks = pictures.train(0)
    train = images[:number], masks[:number]
    test = pictures.test[0][:8], pictures.test[1][:8]
    return Pictures(lambda seed: train, test, pictures.classes, number, pictures.about)
