"""The least time a call can take on a machine: the roofline model (Williams, Waterman and Patterson 2009).

An upsampler must read its inputs and weights once, write its output once, and do its multiply-accumulates. No
implementation of the same method can be faster than the slower of the two at the machine's measured ceilings.
"""

from __future__ import annotations

from upbench.machine.calibration import Calibration


def compulsory_bytes(input_bytes: int, weight_bytes: int, output_bytes: int) -> int:
    """Return the bytes that one forward must move: x, guide and weights read once, y written once.

    Hill and Smith (1989) call the misses behind them compulsory: no cache, however large, avoids them.

    Args:
        input_bytes: Bytes of x and guide together.
        weight_bytes: Bytes of parameters and buffers.
        output_bytes: Bytes of y.
    """
    return input_bytes + weight_bytes + output_bytes


def roofline_s(moved_bytes: int, macs: int, calibration: Calibration, dtype: str) -> float | None:
    """Return the seconds below which no implementation can be: the larger of moving the bytes and doing the MACs.

    Args:
        moved_bytes: Bytes that must be moved, see `compulsory_bytes`.
        macs: Multiply-accumulates of the call.
        calibration: Ceilings of the machine; the bandwidth is that for a working set of `moved_bytes`.
        dtype: Dtype of the spec.

    Returns:
        Seconds; None where the device has no ceiling for the dtype.

    Source: the roofline model (Williams, Waterman and Patterson 2009).
    """
    rate = calibration.rate(dtype)
    if rate is None:
        return None
    return max(moved_bytes / calibration.bandwidth_at(moved_bytes), macs / rate)


def efficiency(least_s: float | None, measured_s: float | None) -> float | None:
    """Return least / measured time: 1 at the machine's limit, near 0 far from it.

    Args:
        least_s: Roofline bound in seconds, see `roofline_s`; None where unknown.
        measured_s: Measured latency in seconds; None where unknown.

    Returns:
        The ratio; None where one of them is unknown.
    """
    return None if least_s is None or measured_s is None else least_s / measured_s
