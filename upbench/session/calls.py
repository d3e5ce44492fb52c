"""What a session does, whichever process does it. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from upbench.benchmark.checked import Checked
from upbench.models.job import InModel, ModelJob
from upbench.papers import Host
from upbench.records.record import Output, Record
from upbench.specs.run_spec import RunSpec

Progress = Callable[[str, float], None]
"""Function that is told what is being done, and the part of the whole that is done, 0 to 1."""


def silent(what: str, part: float) -> None:
    """Say nothing of what is being done."""


@dataclass(frozen=True)
class InHost:
    """The records of one upsampler in a host.

    Args:
        total: Record of all stages together.
        stages: Record of each stage.
    """

    total: Record
    stages: tuple[Record, ...]


@dataclass(frozen=True)
class Returned:
    """What an upsampler returned, before anything of it is timed.

    Args:
        where: The part of the environment that tells machines apart, with the kind of device.
        output: Digest and statistics of the output; None where it does not repeat.
    """

    where: dict[str, Any]
    output: Output | None


class Session(Protocol):
    """Checks and measures specs."""

    def validate(self, specs: Sequence[RunSpec]) -> None:
        """Build every spec, see `benchmark.run.validate`.

        Args:
            specs: The specs.

        Raises:
            SpecError: With every spec that cannot be built.
        """

    def check(
        self,
        specs: Sequence[RunSpec],
        like: RunSpec | None = None,
        progress: Progress = silent,
        cache: bool = True,
        for_measuring: bool = True,
        backward: bool = True,
    ) -> Checked:
        """Check the outputs of upsamplers, see `benchmark.check.check`.

        Args:
            specs: The specs.
            like: Spec of the upsampler that a user's module must equal; None for no such check.
            progress: Told what is being done.
            cache: Whether results that were kept are used.
            for_measuring: Whether `compare` measures the same modules next.
            backward: Whether gradients are checked, too.
        """

    def output(self, spec: RunSpec) -> Returned:
        """Describe what a call returns, and where it ran.

        Args:
            spec: The spec.
        """

    def compare(self, specs: Sequence[RunSpec], progress: Progress = silent, timed: bool = True) -> list[Record]:
        """Measure specs side by side, see `benchmark.run.compare`; one alone is profiled.

        Args:
            specs: The specs.
            progress: Told what is being done.
            timed: False measures only what is exact.
        """

    def compare_in_host(
        self,
        necks: Sequence[Sequence[RunSpec]],
        host: Host,
        by_stage: bool,
        progress: Progress = silent,
        timed: bool = True,
    ) -> list[InHost]:
        """Measure upsamplers in a host, see `benchmark.host_case.compare`.

        Args:
            necks: Of each upsampler a spec for every stage.
            host: The host.
            by_stage: Whether every stage is also measured alone.
            progress: Told what is being done.
            timed: False measures only exact quantities, and leaves latency None.
        """

    def compare_in_model(self, job: ModelJob, progress: Progress = silent) -> list[InModel]:
        """Measure upsamplers in a whole model, see `models.model_case.compare`.

        Args:
            job: The model and the upsamplers.
            progress: Told what is being done.
        """
