"""How often an upsampler is told apart from itself: bilinear repeated, every comparison judged as a study judges it.

    python -m tests.slow.quality_aa ROWS.jsonl [--data DIR] [--steps 250] [--repeats 10]

Each repeat has its host's weights moved by 0.00001. Two repeats are the base, whose difference is the resolution, and a third is what
is compared: twenty such comparisons of ten repeats, fixed beforehand. ROWS keeps what was run; the same command goes on.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from upbench.analysis.paired import Better, difference, judged
from upbench.quality import rows
from upbench.quality.candidates import candidate
from upbench.quality.local import Local
from upbench.quality.protocol import Protocol, Run

STEPS = ((1, 2), (3, 5))
"""From a repeat to the second of the base, and to what is compared with both."""


def main() -> None:
    """Run what is missing, and print how many of the comparisons have a verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--data")
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--repeats", type=int, default=10)
    given = parser.parse_args()
    kind = "scenes" if given.data is None else "folder"
    protocol = Protocol(data=kind, folder=given.data, steps=given.steps, device="cpu")
    one, place = candidate({"upsampler": "bilinear"}, protocol, "bilinear"), Local()
    setting = place.describe(protocol)
    known = rows.Known(rows.read(given.rows)[0], protocol, setting.digest, setting.torch, setting.device)
    for repeat in range(given.repeats):
        runs = [Run(one, seed, repeat) for seed in range(protocol.seeds)]
        if all(known.has(run, range(protocol.seeds), None) for run in runs):
            continue
        for row in place.train(protocol, runs, lambda what, part: None):
            rows.append(given.rows, row)
    found = rows.Known(rows.read(given.rows)[0], protocol, setting.digest).rows.values()
    for score in ("miou", "biou"):
        by_repeat = [
            [row.scores[score] for row in sorted(found, key=lambda row: row.seed) if row.repeat == repeat]
            for repeat in range(given.repeats)
        ]
        report(score, by_repeat)


def report(score: str, by_repeat: list[list[float]]) -> None:
    """Print the comparisons of one score.

    Args:
        score: Its name.
        by_repeat: The scores of each repeat by seed.
    """
    n, verdicts, below = len(by_repeat), [], 0
    for second, third in STEPS:
        for first in range(n):
            a, b, c = (by_repeat[(first + step) % n] for step in (0, second, third))
            compared = difference(c, [(x + y) / 2 for x, y in zip(a, b, strict=True)])
            below += compared.p < 0.05
            verdicts.append(judged(compared, difference(b, a).bound))
    pairs = [difference(by_repeat[k], by_repeat[0]) for k in range(1, n)]
    false = sum(one in (Better.better, Better.worse) for one in verdicts)
    sds = [one.sd for one in pairs if one.sd is not None]
    print(
        f"{score}: {false} of {len(verdicts)} A/A comparisons BETTER or WORSE, {verdicts.count(Better.same)} SAME; p < .05 in "
        f"{below}; against repeat 0: paired SD {min(sds):.2f} to {max(sds):.2f} (median {statistics.median(sds):.2f}), "
        f"mean {min(p.mean for p in pairs):+.2f} to {max(p.mean for p in pairs):+.2f}"
    )


if __name__ == "__main__":
    main()
