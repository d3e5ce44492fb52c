"""Builds a case that was checked and counted before, only to time it."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from upbench import ops
from upbench.benchmark.case import INPUTS, Case
from upbench.benchmark.workload import Workload
from upbench.machine import environment
from upbench.measure.clock import Clock, Prepared, clock_for
from upbench.measure.output import size_bytes
from upbench.specs.run_spec import RunSpec


class TimedCase(Case):
    """A `Case` whose output is neither described nor compared: that was done when the cell was counted."""

    def _call_once(self, clock: Clock) -> None:
        versions = [tensor._version for tensor in self.inputs]
        with ops.recorded(self.reasons) as self.backends, self.guarded():
            start = time.perf_counter()
            out = self.forward()
            self.first_call_s = time.perf_counter() - start
        self._check(out)
        self.output = None
        self.output_bytes = size_bytes(out)
        if self.spec.measure.mode in ("training", "training-backward"):
            self.gradients = self.draw_gradients(out)
        self.written = tuple(
            name
            for name, tensor, version in zip(INPUTS, self.inputs, versions, strict=False)
            if tensor._version != version
        )
        if self.written:
            self.leaf_inputs = self._make_inputs()  # those of the first call are no longer what the spec describes
            self.prepare()


def call_of(
    spec: RunSpec, device: torch.device, build: Callable[[RunSpec, torch.device, Clock], Workload] = TimedCase
) -> Callable[[], object]:
    """Build a spec, and return the call that its mode measures, run with the spec's number of threads and its way with denormals.

    Args:
        spec: The spec.
        device: Device to build on.
        build: What builds it; the clock times its first call.

    Returns:
        The call; a `Prepared` one where something must be done before it that is not timed.
    """
    usual, flushes = torch.get_num_threads(), spec.measure.flush_denormals
    threads = spec.measure.threads or usual
    if device.type != "cpu" or (threads == usual and not flushes):
        return build(spec, device, clock_for(device)).call()
    with environment.with_threads(threads), environment.flushing(flushes):
        call = build(spec, device, clock_for(device)).call()

    def before() -> None:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushes)
        if isinstance(call, Prepared):
            call.before()

    def after() -> None:
        if isinstance(call, Prepared):
            call.after()
        torch.set_num_threads(usual)
        torch.set_flush_denormal(False)

    return Prepared(call.call if isinstance(call, Prepared) else call, before, after)
