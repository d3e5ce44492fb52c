"""The engine `local`: worker processes on this machine, one for each of its devices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from upbench.sweeping import worker
from upbench.sweeping.engines.crew import Crew, Request


@contextmanager
def crew(request: Request) -> Iterator[Crew]:
    """Yield the workers of this machine, and end the first of them at the end.

    Args:
        request: What is to be measured.

    Raises:
        DeviceError: If a device is not there.
        WorkerError: If no worker starts.
    """
    places, first = worker.places(list(request.devices), request.module)
    try:
        yield Crew(places, lambda device, pinning: worker.PinnedWorker(request.module, pinning), [first])
    finally:
        first.kill()
