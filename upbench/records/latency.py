"""The latency in a record: the samples, and where it is of a sweep, the passes that they are from."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A part of a record: its keys are declared, and others are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PassedRatio(Part):
    """Latency of a cell over the reference's, with its 95 % interval over passes; null below three passes."""

    value: float
    low: float | None
    high: float | None


class Passes(Part):
    """How a latency was measured in the passes of a sweep, and what they say of it.

    Args:
        reference: The key and the axes of the cell that all cells of the sweep are set against.
        reference_s: Median seconds of its call over the sweep.
        reference_low_s: The lowest median of a pass, in seconds.
        reference_high_s: The highest median of a pass, in seconds.
        planned: Number of passes of the sweep.
        numbers: The number of each pass that the cell has.
        blocks: For each of these the block in which it was timed.
        levels: For each of these the log of its latency over the reference's; null for the reference itself.
        rounds: For each of these the number of rounds.
        ratio: Latency over the reference's; null for the reference itself.
        clock: "cpu" for CPU time of the thread, or "wall".
        share: CPU time over wall time; null where it is not known.
        faults: Page faults a call; null where they are not counted.
        allocator: What malloc did with memory that calls gave back, see `machine.allocator`.
        series: 0 for the first rows of a sweep; higher by one for each later run whose ratios do not continue those before.
    """

    reference: list[str]
    reference_s: float
    reference_low_s: float
    reference_high_s: float
    planned: int
    numbers: list[int]
    blocks: list[int]
    levels: list[float] | None
    rounds: list[int]
    ratio: PassedRatio | None
    clock: str
    share: float | None
    faults: float | None
    allocator: str
    series: int = 0

    @property
    def has_interval(self) -> bool:
        """Return whether there is an interval of the ratio; the reference has none, and no cell of fewer than three passes."""
        return self.ratio is not None and self.ratio.low is not None

    @property
    def latency_s(self) -> tuple[float, float, float]:
        """Return the seconds a call that are shown, low, middle and high: the ratio times what the reference took."""
        if self.ratio is None or self.ratio.low is None or self.ratio.high is None:
            value = self.reference_s * (self.ratio.value if self.ratio else 1.0)
            return value, value, value
        return (
            self.ratio.low * self.reference_s,
            self.ratio.value * self.reference_s,
            self.ratio.high * self.reference_s,
        )


class Latency(Part):
    """Time of one call.

    mode: What a call is: inference, training, training-forward or training-backward.
    clock: Name of the clock that was used.
    first_call_s: Seconds of the very first call, a forward, with compilation where there is one.
    warmup_calls: Number of calls before the first sample.
    stable: Whether the warm-up ended because times had become stable.
    calls_per_sample: Number of calls that each sample is the mean of.
    samples_per_round: Number of samples that each interleaved round has of this upsampler.
    stopped: Why sampling ended: "precise", "plateau", "budget" or "interrupted".
    discarded_rounds: Number of rounds that were taken again because the device had slowed down.
    host_s: Median wall time in seconds of a call and its end; null on a CPU.
    graph_s: Median seconds of the replay of a call as a CUDA graph; null on a CPU.
    clock_reason: Why a call on a CPU was timed by wall time and not by the CPU time of its thread; null where it was not.
    rounds_of_pass: Number of rounds in each pass, of an upsampler that was measured by itself; null for others.
    allocator: What malloc did with memory that calls gave back, see `machine.allocator`, or "device" on a GPU; null in a
        sweep, whose passes say it, and in records of before.
    share: CPU time over wall time of all samples, the part of a core that the process had; null where it is not known.
    faults: Page faults a call, median over the samples; null where they are not counted.
    passes: How it was measured in a sweep; null where it was measured by itself or in one comparison.
    wall_s: Wall time of the same samples, where `samples_s` is CPU time; else null.
    samples_s: Seconds per call of every sample, in the order in which they were taken.
    """

    mode: str
    clock: str
    first_call_s: float
    warmup_calls: int
    stable: bool
    calls_per_sample: int
    samples_per_round: int
    stopped: str
    discarded_rounds: int
    host_s: float | None = None
    graph_s: float | None = None
    clock_reason: str | None = None
    rounds_of_pass: list[int] | None = None
    allocator: str | None = None
    share: float | None = None
    faults: float | None = None
    passes: Passes | None = None
    wall_s: list[float] | None = None
    samples_s: list[float]

    @property
    def memory_kept(self) -> str | None:
        """Return what malloc did, of a sweep's cell as of any other; None where it is not known."""
        return self.passes.allocator if self.passes else self.allocator

    @property
    def samples_of_pass(self) -> list[list[float]] | None:
        """Return the samples of each pass of an upsampler that was measured by itself; None for others."""
        if self.rounds_of_pass is None:
            return None
        found, start = [], 0
        for rounds in self.rounds_of_pass:
            found.append(self.samples_s[start : start + rounds * self.samples_per_round])
            start += rounds * self.samples_per_round
        return found
