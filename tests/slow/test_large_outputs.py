"""Outputs as large as users ask for, within the memory of a laptop: the peak of a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow
PEAK_BYTES = 4 * 2**30
CALL = """
import resource, torch, upbench
torch.manual_seed(0)
module = upbench.build("anyup", 64, 16, seed=1).eval()
x, image = torch.randn(1, 64, 128, 128), torch.rand(1, 3, 2048, 2048)
with torch.inference_mode():
    out = module(x, image)
assert out.shape == (1, 64, 2048, 2048)
# Every pixel is a convex combination of features.
assert float(out.max()) <= float(x.max()) + 1e-5 and float(out.min()) >= float(x.min()) - 1e-5
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def test_anyup_of_64_channels_to_2048x2048() -> None:
    done = subprocess.run([sys.executable, "-c", CALL], capture_output=True, text=True, check=True)
    peak = int(done.stdout)
    print(f"\nanyup, 64x128x128 to 2048x2048: {peak / 2**30:.2f} GiB in all", flush=True)
    assert peak <= PEAK_BYTES
