#!/usr/bin/env bash
# triton 3.9.0 (torch 2.13.0), CPU: in Triton's interpreter (TRITON_INTERPRET=1) the sum and the product of two bfloat16 tensors
# are those of their bit patterns, read as whole numbers: 1 + 1 is 1.7e38, without an error or a warning. A cast of float32 to
# bfloat16 cuts the last bits off, where torch and compiled kernels round to the nearest. float16 is right. So a test that
# runs a kernel's bfloat16 form in the interpreter says nothing about the kernel; cast to float32 after each load.
# Expected: 2, and 1.0078125 for 1.0077 (torch), or an error that says that bfloat16 is not supported.
# Seen: 1.7014118346046923e+38, and 1.0 for 1.0077.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 triton==3.9.0
cd "$folder"
cat > kernels.py <<'PYTHON'
import torch
import triton
import triton.language as tl


@triton.jit
def add(a, b, out, n: tl.constexpr):
    i = tl.arange(0, n)
    tl.store(out + i, tl.load(a + i) + tl.load(b + i))


@triton.jit
def add_in_float32(a, b, out, n: tl.constexpr):
    i = tl.arange(0, n)
    tl.store(out + i, tl.load(a + i).to(tl.float32) + tl.load(b + i).to(tl.float32))


@triton.jit
def cast(a, out, n: tl.constexpr):
    i = tl.arange(0, n)
    tl.store(out + i, tl.load(a + i).to(tl.bfloat16))


def added(kernel, dtype: torch.dtype) -> float:
    one, out = torch.ones(4, dtype=dtype), torch.zeros(4, dtype=dtype)
    kernel[(1,)](one, one, out, 4)
    return out[0].item()


for dtype in (torch.float32, torch.float16, torch.bfloat16):
    print(dtype, "1 + 1 =", added(add, dtype))
x, rounded = torch.full((4,), 1.0077), torch.zeros(4, dtype=torch.bfloat16)
cast[(1,)](x, rounded, 4)
print("1.0077 in bfloat16:", rounded[0].item(), "by torch:", x.bfloat16()[0].item())
assert added(add, torch.float32) == added(add, torch.float16) == 2
assert added(add_in_float32, torch.bfloat16) == 2
assert added(add, torch.bfloat16) == 1.7014118346046923e38, added(add, torch.bfloat16)
assert x.bfloat16()[0].item() == 1.0078125
assert rounded[0].item() == 1.0, rounded[0].item()
PYTHON
TRITON_INTERPRET=1 "$folder/venv/bin/python" kernels.py
