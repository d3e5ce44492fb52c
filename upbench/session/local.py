"""A session in this process: for modules that no other process can import, and in a worker itself."""

from __future__ import annotations

from collections.abc import Sequence

from upbench.benchmark.checked import Checked
from upbench.models.job import InModel, ModelJob
from upbench.papers import Host
from upbench.records.record import Record
from upbench.session.calls import InHost, Progress, Returned, silent
from upbench.specs.run_spec import RunSpec


class Local:
    """Does what `calls.Session` says in this process; torch is imported with the first call."""

    def validate(self, specs: Sequence[RunSpec]) -> None:
        """Build every spec."""
        from upbench.benchmark import run

        run.validate(specs)

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
        from upbench.benchmark import check

        return check.check(specs, like, progress, cache, for_measuring, backward)

    def output(self, spec: RunSpec) -> Returned:
        """Describe what a call returns, and where it ran."""
        from upbench.benchmark import check
        from upbench.machine import environment

        with environment.with_threads(spec.measure.threads):
            device = environment.resolve_device(spec.measure.device)
            where = {**environment.identity(device), "device_type": device.type}
            return Returned(where, check.output(spec, device))

    def compare(self, specs: Sequence[RunSpec], progress: Progress = silent, timed: bool = True) -> list[Record]:
        """Measure specs side by side; one alone is profiled.

        Args:
            specs: The specs.
            progress: Called with what is being done, and the part of it that is done.
            timed: False measures only what is exact.
        """
        from upbench.benchmark import run

        return run.compare(specs, progress, timed)

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
        from upbench.benchmark import host_case

        found = host_case.compare(necks, host, by_stage, progress, timed)
        return [InHost(measured.total, measured.stages) for measured in found]

    def compare_in_model(self, job: ModelJob, progress: Progress = silent) -> list[InModel]:
        """Measure upsamplers in a whole model.

        Args:
            job: The model and the upsamplers.
            progress: Called with what is being done, and the part of it that is done.
        """
        from upbench.models import model_case

        return model_case.compare(job, progress)
