#!/usr/bin/env bash
# torch 2.13.0, the CPU build: torch.manual_seed keeps, for a GPU that may come later, what to seed there and the text of the whole call
# stack from which it was asked, once for CUDA and once for XPU, though the machine has neither. The lines are read from their source files. So seeding
# the one generator that exists takes time by the depth of the stack: in a training script's loop 100 times what the generator itself
# needs, and 1000 times below a test runner or a command line. Where a benchmark seeds before every call to make random layers draw
# the same, that is longer than many of the calls.
# Expected: about a microsecond, from wherever it is called, as torch.default_generator.manual_seed takes.
# Seen: "depth 0: 106 times as long, 150 us", "depth 100: 1083 times as long, 1508 us".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cd "$folder"
cat > seeding.py <<'PYTHON'
import time

import torch

assert not torch.accelerator.is_available(), "this is about machines without a GPU"


def least_us(seed) -> float:
    found = []
    for _ in range(200):
        started = time.perf_counter()
        seed(1)
        found.append(time.perf_counter() - started)
    return min(found) * 1e6


def at_depth(depth: int) -> tuple[float, float]:
    if depth:
        return at_depth(depth - 1)
    return least_us(torch.manual_seed), least_us(torch.default_generator.manual_seed)


ratios = []
for depth in (0, 100):
    whole, one = at_depth(depth)
    ratios.append(whole / one)
    print(f"depth {depth}: {whole / one:.0f} times as long, {whole:.0f} us")
assert ratios[0] > 10, ratios
assert ratios[1] > 5 * ratios[0], ratios
PYTHON
"$folder/venv/bin/python" seeding.py
