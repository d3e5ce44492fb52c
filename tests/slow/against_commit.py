"""This build beside another one, or another dtype or backend of the same: ratios of processor time, and peaks.

    python -m tests.slow.against_commit dysample ldaaqu --old /tmp/base/.venv/bin/python:/tmp/base --mode both

A side is an interpreter and the checkout that it imports upbench from. Both sides are processes that take turns call by call
(new old old new), with one thread, glibc's malloc pinned to keep its memory, the same weights, offsets as large as trained
ones and the same inputs. Times are the thread's processor time, of several `--threads` those on the wall. The peak is that of
torch's allocator within one call, which neither the kernel's own scratch memory nor oneDNN's is part of.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
HERE = f"{sys.executable}:{ROOT}"
MALLOC = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(16 * 2**20)}


@dataclass(frozen=True)
class Side:
    """What runs on one side. where: INTERPRETER:CHECKOUT; dtype, backend: as in a spec."""

    where: str
    dtype: str
    backend: str


@dataclass(frozen=True)
class Work:
    """What both sides compute. shape: channels, rows and columns; mode: inference or training; params: of the upsampler."""

    name: str
    shape: tuple[int, int, int]
    mode: str
    scale: int
    batch: int
    params: dict[str, Any]
    threads: int = 1


class Worker:
    """A process that makes one call and repeats it on demand."""

    def __init__(self, side: Side, work: Work, weights: str, writes: bool) -> None:
        python, _, checkout = side.where.partition(":")
        clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH" and not k.startswith("MALLOC_")}
        threads = {"OMP_NUM_THREADS": str(work.threads), "MKL_NUM_THREADS": str(work.threads), "PYTHONPATH": checkout}
        job = {**vars(work), "dtype": side.dtype, "backend": side.backend, "weights": weights, "writes": writes}
        self.process = subprocess.Popen(
            [python, "-P", __file__, "--worker", json.dumps(job)],
            env={**clean, **MALLOC, **threads},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.answer()

    def ask(self, word: str) -> float:
        """Return a worker's answer to "time" (seconds of one call) or "peak" (bytes)."""
        assert self.process.stdin
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> float:
        """Return the next number that it says."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a worker ended with exit code {self.process.wait()}")
        return float(line)

    def close(self) -> None:
        """End it."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


@dataclass(frozen=True)
class Found:
    """Seconds of the calls of both sides, in the order of `compare`, and their peaks in bytes."""

    new: list[float]
    old: list[float]
    new_peak: float
    old_peak: float

    def ratio(self) -> tuple[float, float, float]:
        """Return the ratio of the medians, new / old, and its 95 % interval, bootstrapped."""
        import numpy as np

        both, draws = np.array([self.new, self.old]), np.random.default_rng(0)
        picks = draws.integers(both.shape[1], size=(2, 2000, both.shape[1]))
        new, old = (np.median(side[pick], axis=1) for side, pick in zip(both, picks, strict=True))
        low, high = np.quantile(new / old, (0.025, 0.975))
        return float(np.median(both[0]) / np.median(both[1])), float(low), float(high)


def compare(new: Side, old: Side, work: Work, rounds: int) -> Found:
    """Return times and peaks of both sides, two calls of each a round.

    Args:
        new: the side whose time is divided.
        old: the side that it is divided by.
        work: what they compute.
        rounds: rounds of four calls.
    """
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "weights.pt")
        workers = [Worker(new, work, weights, True), Worker(old, work, weights, False)]
        try:
            for worker in workers:
                worker.ask("time")
            seconds: tuple[list[float], list[float]] = ([], [])
            for _ in range(rounds):
                for n in (0, 1, 1, 0):
                    seconds[n].append(workers[n].ask("time"))
            return Found(*seconds, *(worker.ask("peak") for worker in workers))
        finally:
            for worker in workers:
                worker.close()


def serve(job: dict[str, Any]) -> None:
    """Answer questions on stdin about the call of a job until there are no more."""
    import torch

    torch.set_num_threads(job["threads"])
    call = made(job)
    call()
    answers = sys.stdout
    sys.stdout = sys.stderr
    print(0.0, file=answers, flush=True)
    for line in sys.stdin:
        print(ANSWERS[line.strip()](call), file=answers, flush=True)


def seconds_of(call: Callable[[], object]) -> float:
    """Processor time of this thread in one call, or where torch has more threads the time on the wall."""
    import torch

    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    call()
    return clock() - start


def peak(call: Callable[[], object]) -> float:
    """Bytes of torch's allocator at the peak of one call."""
    import torch

    from upbench.measure import memory

    return float(memory.peak_bytes(call, torch.device("cpu")))


ANSWERS: dict[str, Callable[[Callable[[], object]], float]] = {"time": seconds_of, "peak": peak}


def made(job: dict[str, Any]) -> Callable[[], object]:
    """Build the module, its inputs and the call."""
    import torch

    import upbench
    from upbench import registry

    channels, height, width = job["shape"]
    scale, dtype = job["scale"], getattr(torch, job["dtype"])
    module = upbench.build(job["name"], channels=channels, scale=scale, seed=0, backend=job["backend"], **job["params"])
    if job["writes"]:
        if hasattr(module, "set_offsets"):
            module.set_offsets("trained", torch.Generator().manual_seed(1))
        torch.save(module.state_dict(), job["weights"])
    else:
        module.load_state_dict(torch.load(io.BytesIO(Path(job["weights"]).read_bytes())))
    module.to(dtype)
    generator = torch.Generator().manual_seed(2)
    shapes = [(job["batch"], channels, height, width)]
    if getattr(module, "guided", False) or getattr(registry.get(job["name"]), "guided", False):
        shapes.append((job["batch"], channels, height * scale, width * scale))
    inputs = [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]
    if job["mode"] == "inference":
        module.eval()

        def infer() -> object:
            with torch.inference_mode():
                return module(*inputs)

        return infer
    learned = [*inputs, *module.parameters()]
    for tensor in inputs:
        tensor.requires_grad_(True)
    with torch.no_grad():
        grad = torch.randn(module(*inputs).shape, generator=generator).to(dtype)

    def train() -> object:
        out = module(*inputs)
        out.backward(grad)
        for tensor in learned:
            tensor.grad = None
        return out

    return train


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a row for each upsampler and mode."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="upsamplers")
    parser.add_argument("--old", default=HERE, help="INTERPRETER:CHECKOUT of the other side; default: this one")
    parser.add_argument("--new", default=HERE, help="the same of the new side")
    parser.add_argument("--mode", choices=("inference", "training", "both"), default="inference")
    parser.add_argument("--shape", default="256x120x120", help="channels, rows and columns of x")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--params", type=json.loads, default={}, help="parameters as JSON")
    parser.add_argument(
        "--threads", type=int, default=1, help="threads of each side; of several, times are on the wall"
    )
    parser.add_argument("--rounds", type=int, default=8, help="rounds of two calls of each")
    for side in ("new", "old"):
        parser.add_argument(f"--{side}-dtype", default="float32")
        parser.add_argument(f"--{side}-backend", default="auto")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.worker:
        serve(json.loads(given.worker))
        return 0
    new = Side(given.new, given.new_dtype, given.new_backend)
    old = Side(given.old, given.old_dtype, given.old_backend)
    channels, height, width = (int(n) for n in given.shape.split("x"))
    load = " ".join(f"{n:.1f}" for n in os.getloadavg())
    print(
        f"new {new}\nold {old}\n{given.shape}, scale {given.scale}, batch {given.batch}, threads {given.threads}, load {load}"
    )
    print(
        f"{'upsampler':14} {'mode':10} {'new ms':>8} {'old ms':>8} {'new/old':>8} {'95 %':>15} {'peaks, MiB':>15} {'ratio':>6}"
    )
    for name in given.names:
        for mode in ("inference", "training") if given.mode == "both" else (given.mode,):
            work = Work(name, (channels, height, width), mode, given.scale, given.batch, given.params, given.threads)
            found = compare(new, old, work, given.rounds)
            value, low, high = found.ratio()
            times = [1e3 * statistics.median(one) for one in (found.new, found.old)]
            peaks = [one / 2**20 for one in (found.new_peak, found.old_peak)]
            print(
                f"{name:14} {mode:10} {times[0]:8.1f} {times[1]:8.1f} {value:8.3f} {f'{low:.3f} .. {high:.3f}':>15}"
                f" {f'{peaks[0]:.0f} / {peaks[1]:.0f}':>15} {peaks[0] / peaks[1]:6.2f}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
