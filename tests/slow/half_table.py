"""Writes what half precision takes on this CPU beside float32, for the fused upsamplers, with errors against float64.

    python -m tests.slow.half_table results/backends-half.md                    all of them at 256x120x120
    python -m tests.slow.half_table results/backends-half.md carafe --rounds 3  some of them

The three dtypes are processes that take turns call by call, forth and back, as in `against_commit`: one thread, its processor
time, memory kept. An error is that of a smaller map against the eager form in float64, of the same rounded inputs and weights, as
a part of the largest value; thresholds on sizes hold there as they do for the larger map.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import upbench
from tests.slow.against_commit import HERE, Found, Side, Work, Worker
from upbench.machine import environment
from upbench.ops import thresholds

NAMES = (
    *(
        "carafe",
        "fade",
        "fade-lite",
        "sapa-i",
        "sapa-b",
        "sapa-d",
        "dysample",
        "dysample+",
        "dysample-s",
        "dysample-s+",
    ),
    *("a2u", "laaqu", "ldaaqu", "resfu"),
)
DTYPES = ("float32", "bfloat16", "float16")
SMALL = (32, 24)
"""Rows and columns of the map that errors are of."""
HEAD = """# Half precision on a CPU

Made by `python -m tests.slow.half_table {arguments}` on {machine}, torch {torch}, load {load}.
{shape}, scale 2, one image, inference, one thread, fused forms, offsets as large as trained ones; thread CPU time of calls that take
turns in one run, memory kept. Ratios of medians to float32 with 95 % intervals; asked are at most 0.7 of bfloat16 and 1.1 of float16,
and an error of at most 1e-2 of the largest value, of ldaaqu 2e-2.

| Upsampler | float32 | bfloat16 / float32 | Error | Peak | float16 / float32 | Error | Peak |
|---|---|---|---|---|---|---|---|"""


def measured(work: Work, rounds: int) -> list[Found]:
    """Return times and peaks of bfloat16, then of float16, each beside those of float32.

    Args:
        work: what is computed.
        rounds: rounds of two calls of each dtype.
    """
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "weights.pt")
        workers = [Worker(Side(HERE, dtype, "auto"), work, weights, dtype == DTYPES[0]) for dtype in DTYPES]
        try:
            for worker in workers:
                worker.ask("time")
            seconds: list[list[float]] = [[] for _ in DTYPES]
            for _ in range(rounds):
                for n in (*range(len(DTYPES)), *reversed(range(len(DTYPES)))):
                    seconds[n].append(workers[n].ask("time"))
            peaks = [worker.ask("peak") for worker in workers]
            return [Found(seconds[n], seconds[0], peaks[n], peaks[0]) for n in range(1, len(DTYPES))]
        finally:
            for worker in workers:
                worker.close()


def error(name: str, dtype: torch.dtype, shape: tuple[int, int, int]) -> float:
    """Return the largest error of the fused form, as a part of the largest value of the eager one in float64.

    Args:
        name: an upsampler.
        dtype: of the fused form, whose rounded weights and inputs both take.
        shape: channels, rows and columns that thresholds on sizes are for; the map itself is SMALL.
    """
    fused, eager = (upbench.build(name, channels=shape[0], scale=2, seed=0, backend=kind) for kind in ("auto", "eager"))
    set_offsets: Any = getattr(fused, "set_offsets", None)
    if set_offsets:
        set_offsets("trained", torch.Generator().manual_seed(1))
    fused.to(dtype).eval()
    eager.double().eval()
    eager.load_state_dict(fused.state_dict())
    generator = torch.Generator().manual_seed(2)
    inputs = [torch.randn(1, shape[0], *SMALL, generator=generator).to(dtype)]
    if getattr(fused, "guided", False):
        inputs.append(torch.randn(1, shape[0], *(2 * n for n in SMALL), generator=generator).to(dtype))
    ratio = shape[1] * shape[2] / (SMALL[0] * SMALL[1])
    with torch.inference_mode(), thresholds.for_smaller_maps(ratio):
        found, expected = fused(*inputs).double(), eager(*(t.double() for t in inputs))
    return float((found - expected).abs().max() / expected.abs().max())


def row(name: str, shape: tuple[int, int, int], rounds: int) -> str:
    """Return the row of an upsampler.

    Args:
        name: the upsampler.
        shape: channels, rows and columns of x.
        rounds: rounds of two calls of each dtype.
    """
    halves = measured(Work(name, shape, "inference", 2, 1, {}), rounds)
    cells = [name, f"{1e3 * statistics.median(halves[0].old):.1f} ms, {halves[0].old_peak / 2**20:.0f} MiB"]
    for found, dtype in zip(halves, (torch.bfloat16, torch.float16), strict=True):
        value, low, high = found.ratio()
        cells += [f"{value:.2f} ({low:.2f} to {high:.2f})", f"{error(name, dtype, shape):.1e}"]
        cells += [f"{found.new_peak / 2**20:.0f} MiB"]
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, help="the page to write")
    parser.add_argument("names", nargs="*", help="upsamplers; default: all fused ones")
    parser.add_argument("--shape", default="256x120x120", help="channels, rows and columns of x")
    parser.add_argument("--rounds", type=int, default=8, help="rounds of two calls of each dtype")
    given = parser.parse_args(arguments)
    channels, height, width = (int(n) for n in given.shape.split("x"))
    text = HEAD.format(
        arguments=" ".join(sys.argv[1:] if arguments is None else arguments),
        machine=environment.capture(torch.device("cpu"))["device"],
        torch=torch.__version__,
        load=f"{os.getloadavg()[0]:.1f}",
        shape=given.shape,
    )
    torch.set_num_threads(1)
    for name in given.names or NAMES:
        line = row(name, (channels, height, width), given.rounds)
        print(line, flush=True)
        text += f"\n{line}"
        given.page.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
