"""Two more times of a call on CUDA: wall time on the host, and replay as a CUDA graph, without launches."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from upbench.measure.clock import Call

REPEATS = 30
"""Number of calls whose median is taken."""
LAUNCH_BOUND = 1.2
"""Ratio of host time to device time above which a call counts as launch-bound."""


@dataclass(frozen=True)
class Other:
    """Two more times of a call; None on a CPU.

    Args:
        host_s: Median wall time in seconds of a call and its end.
        graph_s: Median seconds of the replay as a CUDA graph; None also where the call cannot be captured.
        why_not: Why it cannot be captured.
    """

    host_s: float | None = None
    graph_s: float | None = None
    why_not: str | None = None

    def warnings(self, device_s: Sequence[float]) -> list[str]:
        """Return sentences on what these times say next to those on the device.

        Args:
            device_s: Samples on the device, in seconds per call.
        """
        found = []
        if self.host_s is not None and self.host_s > LAUNCH_BOUND * statistics.median(device_s):
            factor = self.host_s / statistics.median(device_s)
            found.append(
                f"launch-bound: a call takes {factor:.1f} times as long on the host as its work on the device; "
                "a CUDA graph or a larger batch would hide it"
            )
        if self.why_not:
            found.append(f"no CUDA graph could be captured ({self.why_not})")
        return found


def measure(call: Call, device: torch.device) -> Other:
    """Time a call on the host, and replayed as a CUDA graph. Nothing is measured on a CPU.

    Args:
        call: The call.
        device: Device that it runs on.
    """
    if device.type != "cuda":
        return Other()
    with torch.cuda.device(device):
        host = _median(call, device)
        try:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                call()
            torch.cuda.current_stream().wait_stream(side)
            captured = torch.cuda.CUDAGraph()
            with torch.cuda.graph(captured):
                call()
        except Exception as error:  # noqa: BLE001 - a user's module may refuse to be captured by any error
            torch.cuda.synchronize(device)
            return Other(host, None, next(iter(str(error).splitlines()), type(error).__name__))
        return Other(host, _median(captured.replay, device))


def _median(call: Call, device: torch.device) -> float:
    taken = []
    for _ in range(REPEATS):
        torch.cuda.synchronize(device)
        start = time.perf_counter()
        call()
        torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)
