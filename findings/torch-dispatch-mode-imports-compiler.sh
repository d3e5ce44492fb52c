#!/usr/bin/env bash
# torch 2.13.0: the first operator that any TorchDispatchMode sees imports torch's compiler, whatever it does with it and though
# nothing is compiled: torch._dynamo, torch._inductor and sympy. Torch wraps the handler of every mode so that
# the compiler leaves it alone, and looks up how when the handler is first called. So FlopCounterMode around one linear layer, or a mode
# of one's own of a line, takes seconds of processor time, and the process is larger ever after: memory that is read from the
# process, and the time of a first call, depend on whether something was counted before.
# Expected: a counter of FLOPs imports nothing of a compiler.
# Seen: "called: 0 of 3 packages", "under a mode: 3 of 3 packages, 75 MB more, 1.0 times the time of importing torch".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys
import time

started = time.process_time()
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

importing_s = time.process_time() - started
PACKAGES = ("torch._dynamo", "torch._inductor", "sympy")


class Plain(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def resident_mb() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


def imported() -> int:
    return sum(name in sys.modules for name in PACKAGES)


layer, x = nn.Linear(8, 4), torch.randn(2, 8)
layer(x)
before, memory, start = imported(), resident_mb(), time.process_time()
with Plain():
    layer(x)
after, taken_s, grown = imported(), time.process_time() - start, resident_mb() - memory
print(f"called: {before} of {len(PACKAGES)} packages")
print(f"under a mode: {after} of {len(PACKAGES)} packages, {grown:.0f} MB more, {taken_s / importing_s:.1f} times the time of importing torch")
assert (before, after) == (0, 3)
assert grown > 30, grown
assert taken_s > 0.3 * importing_s
PYTHON
