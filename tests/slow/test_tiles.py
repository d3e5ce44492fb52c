"""The tiles of the Triton kernels against others, on a GPU: `pytest -n 0 -m slow -s tests/slow/test_tiles.py`.

Prints a table of microseconds, and says where another tile is clearly faster than the one in TILES.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton", reason="Triton is not installed; it exists for Linux only")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

SIDE, CHANNELS = 120, 256
TRIED = [
    (8, 128, 4), (16, 64, 4), (16, 128, 4), (32, 32, 4), (32, 64, 4), (64, 16, 4), (64, 16, 8), (64, 32, 4),
    (64, 32, 8), (64, 64, 8), (128, 16, 4), (128, 16, 8),
]  # fmt: skip
SLACK = 1.3
"""A tile is chosen for all dtypes and upsamplers at once: the best of one may be so much faster."""


def draw(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(shape, device="cuda").to(dtype).contiguous(memory_format=torch.channels_last)


def weights(heads: int, taps: int, dtype: torch.dtype) -> Tensor:
    return torch.rand(1, heads, taps, 2 * SIDE, 2 * SIDE, device="cuda").softmax(2).to(dtype)


def points(groups: int, count: int, reach: float) -> Tensor:
    """A 3x3 window around the exact position of each output pixel, moved by `reach` pixels, root mean square."""
    line = torch.arange(2 * SIDE, device="cuda") / 2
    base = torch.stack((line.expand(len(line), -1), line[:, None].expand(-1, len(line))), -1)
    tap = torch.arange(count, device="cuda")
    steps = torch.stack((tap % 3 - 1, tap // 3 - 1), -1).view(1, 1, count, 1, 1, 2)
    return base + steps + reach * torch.randn(1, groups, count, *base.shape, device="cuda")


def cases(dtype: torch.dtype, window: ModuleType, point: ModuleType) -> dict[str, tuple[ModuleType, str, Callable]]:
    """Name -> the room of the kernel, its name in TILES, and a call."""
    x, out = draw(1, CHANNELS, SIDE, SIDE, dtype=dtype), draw(1, CHANNELS, 2 * SIDE, 2 * SIDE, dtype=dtype)
    query, key = draw(1, 64, 2 * SIDE, 2 * SIDE, dtype=dtype), draw(1, 64, SIDE, SIDE, dtype=dtype)
    square, taps, four = weights(1, 25, dtype), weights(1, 9, dtype), weights(4, 9, dtype)
    far, near, one = points(2, 9, 3.0), points(4, 9, 1.0), points(4, 1, 0.25)
    few = "similarity, few channels"
    return {
        "window 5x5, assemble": (window, "assemble_twice", lambda: window.assemble(x, square, 5)),
        "window 5x5, similarity of 256": (window, "similarity", lambda: window.similarity(out, x, 5, 1)),
        "window 5x5, similarity of 64": (window, few, lambda: window.similarity(query, key, 5, 1)),
        "window 5x5, scatter": (window, "scatter", lambda: window.scatter(out, square, 5, SIDE, SIDE)),
        "9 points of 2 groups, assemble": (point, "assemble", lambda: point.assemble(x, taps, far, "zeros")),
        "9 points of 4 groups, assemble": (point, "assemble", lambda: point.assemble(x, four, near, "zeros")),
        "1 point of 4 groups, sample": (point, "assemble", lambda: point.assemble(x, None, one, "border")),
        "9 points of 2 groups, similarity of 64": (
            point, "similarity", lambda: point.similarity(query, key, far, "zeros", 1),
        ),
        "9 points of 2 groups, scatter": (point, "scatter", lambda: point.scatter(out, taps, far, "zeros", SIDE, SIDE)),
        "9 points of 2 groups, gradient of the points": (
            point, "move", lambda: point.slope(out, x, taps, far, "zeros"),
        ),
    }  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_no_tile_tried_is_clearly_faster(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    from triton.testing import do_bench

    from upbench.ops.triton import points as triton_points
    from upbench.ops.triton import window as triton_window

    torch.manual_seed(0)
    slow = []
    print(f"\n| {torch.cuda.get_device_name()}, {dtype} | chosen | us | fastest | us |\n|---|---|---|---|---|")
    for name, (room, kernel, call) in cases(dtype, triton_window, triton_points).items():
        chosen, taken = tuple(room.TILES[kernel]), {}
        for tile in [chosen, *TRIED]:
            monkeypatch.setitem(room.TILES, kernel, triton_window.Tile(*tile))
            taken[tile] = 1e3 * do_bench(call, warmup=5, rep=20, return_mode="median")
        monkeypatch.undo()
        best = min(taken, key=lambda tile: taken[tile])
        print(f"| {name} | {chosen} | {taken[chosen]:.0f} | {best} | {taken[best]:.0f} |")
        if taken[chosen] > SLACK * taken[best]:
            slow.append(f"{name}: {chosen} {taken[chosen]:.0f} us, {best} {taken[best]:.0f} us")
    assert not slow
