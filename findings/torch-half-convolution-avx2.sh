#!/usr/bin/env bash
# torch 2.13.0 on an x86 CPU without AVX-512: a convolution or a matrix product in bfloat16 or float16 takes 20 to 30 times as
# long as in float32. Casting an upsampler, or a whole detector, to half precision to save memory makes its layers crawl
# without a warning, while a softmax over channels takes about the time of float32: oneDNN's kernels are not used there.
# torch.ops.mkldnn._is_mkldnn_bf16_supported() says whether they are.
# Expected: about the time of float32, or twice that with conversions.
# Seen, processor time of one thread as a multiple of float32 (AMD EPYC with AVX2): 3x3 convolution 64 to 100 channels at
# 120x120 26 in bfloat16, 22 in float16; product of 14400x256 and 256x64 20 and 18.
# On a CPU with AVX-512 the script says so and shows nothing for bfloat16.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import time

import torch
import torch.nn.functional as F

if torch.backends.cpu.get_cpu_capability() != "AVX2":
    raise SystemExit(f"this CPU has {torch.backends.cpu.get_cpu_capability()}, not AVX2 alone: nothing to show here")
torch.set_num_threads(1)


def seconds(call):
    call()
    taken = []
    for _ in range(5):
        start = time.thread_time()
        call()
        taken.append(time.thread_time() - start)
    return min(taken)


def calls(dtype):
    x, w = torch.randn(1, 64, 120, 120, dtype=dtype), torch.randn(100, 64, 3, 3, dtype=dtype)
    maps = torch.randn(1, 25, 240, 240, dtype=dtype)
    a, b = torch.randn(14400, 256, dtype=dtype), torch.randn(256, 64, dtype=dtype)
    return {
        "convolution": lambda: F.conv2d(x, w, padding=1),
        "product": lambda: a @ b,
        "softmax": lambda: F.softmax(maps, dim=1),
    }


print("oneDNN in bfloat16:", torch.ops.mkldnn._is_mkldnn_bf16_supported())
full = {name: seconds(call) for name, call in calls(torch.float32).items()}
for dtype in (torch.bfloat16, torch.float16):
    ratios = {name: seconds(call) / full[name] for name, call in calls(dtype).items()}
    print(dtype, {name: f"{ratio:.1f} x float32" for name, ratio in ratios.items()})
    assert ratios["convolution"] > 8 and ratios["product"] > 5, ratios
    assert ratios["softmax"] < 3, ratios
PYTHON
