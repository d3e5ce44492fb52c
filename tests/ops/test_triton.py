"""The Triton kernels against the plain ops: on a GPU, or run by Triton's interpreter on the CPU; and compiled for a GPU."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from upbench import ops
from upbench.ops import cell_attention, fused, fused_local_similarity
from upbench.ops.cell_attention import dense
from upbench.ops.local_similarity import neighbour_cosines

pytest.importorskip("triton", reason="Triton is not installed; it exists for Linux only")


DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(scope="module")
def kernels() -> ModuleType:
    """The kernels. Without a GPU `conftest` has asked for the interpreter before anything imported Triton."""
    from upbench.ops.triton import register

    return register


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    assert found.shape == expected.shape
    difference = (found.double() - expected.double()).abs().max()
    assert difference <= tolerance * expected.abs().max().clamp_min(1e-6)


def draw(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64).to(
        DEVICE, dtype
    )


def windows(b: int, c: int, h: int, w: int, groups: int, kernel: int, scale: int) -> tuple[Tensor, ...]:
    """x, weight, and a map of the output's size; all require gradients."""
    shapes = ((b, c, h, w), (b, groups, kernel**2, scale * h, scale * w), (b, c, scale * h, scale * w))
    return tuple(draw(*shape).requires_grad_() for shape in shapes)


WINDOWS = [(2, 6, 4, 3, 2, 3, 2), (1, 40, 4, 3, 1, 5, 2), (1, 3, 3, 3, 3, 1, 1), (1, 4, 1, 3, 1, 3, 4)]


@pytest.mark.parametrize("case", WINDOWS, ids=str)
def test_windows(kernels: ModuleType, case: Sequence[int]) -> None:
    run = kernels.KERNELS
    x, weight, other = windows(*case)
    groups, kernel, scale = case[4:]
    out = ops.window_assemble(x, weight, kernel, scale, backend="eager")
    by_x, by_weight = torch.autograd.grad(out, (x, weight), other.detach())
    x, weight, other = (t.detach() for t in (x, weight, other))
    close(run["window_assemble_fused"](x, weight, kernel), out.detach())
    close(run["window_scatter_fused"](other, weight, kernel, *x.shape[2:]), by_x)
    close(run["window_similarity_fused"](other, x, kernel, groups), by_weight)


MIRRORED = [(1, 3, 4, 5, 7, 1), (2, 2, 3, 4, 5, 2), (1, 18, 2, 2, 3, 3)]


@pytest.mark.parametrize("case", MIRRORED, ids=str)
def test_windows_with_a_mirrored_border(kernels: ModuleType, case: Sequence[int]) -> None:
    run = kernels.KERNELS
    b, c, h, w, kernel, scale = case
    x, weight, other = windows(b, c, h, w, 1, kernel, scale)
    out = ops.mirrored_assemble(x, weight[:, 0], kernel, scale)
    by_x, by_weight = torch.autograd.grad(out, (x, weight), other.detach())
    x, weight, other = (t.detach() for t in (x, weight, other))
    close(run["window_assemble_fused"](x, weight, kernel, True), out.detach())
    close(run["window_scatter_fused"](other, weight, kernel, h, w, True), by_x)
    close(run["window_similarity_fused"](other, x, kernel, 1, True), by_weight)


def test_windows_at_any_ratio(kernels: ModuleType) -> None:
    """Parents at 5 -> 7 rows are floor(i * 5 / 7), as `read_windows` reads them."""
    x, weight = draw(2, 4, 5, 6).requires_grad_(), draw(2, 2, 9, 7, 15).requires_grad_()
    out = ops.point_assemble(weight, ops.read_windows(x, 3, 7, 15))
    grad = draw(*out.shape)
    by_x, by_weight = torch.autograd.grad(out, (x, weight), grad)
    run = kernels.KERNELS
    close(run["window_assemble_fused"](x.detach(), weight.detach(), 3), out.detach())
    close(run["window_scatter_fused"](grad, weight.detach(), 3, 5, 6), by_x)
    close(run["window_similarity_fused"](grad, x.detach(), 3, 2), by_weight)


POINTS = [
    (2, 6, 3, 4, 2, 3, 2, "zeros"),
    (1, 8, 4, 3, 1, 1, 1, "border"),
    (1, 8, 1, 6, 4, 2, 3, "zeros"),
    (1, 34, 4, 1, 1, 1, 2, "border"),
    (1, 3, 23, 29, 1, 1, 1, "border"),
]


@pytest.mark.parametrize("whole", [False, True], ids=["anywhere", "whole"])
@pytest.mark.parametrize("case", POINTS, ids=str)
def test_points(kernels: ModuleType, case: tuple, whole: bool) -> None:
    """whole: positions on pixel centres, where the gradient is that of one side; the same side as the plain op's."""
    b, c, h, w, groups, heads, count, padding = case
    run = kernels.KERNELS
    x, query = draw(b, c, h, w).requires_grad_(), draw(b, c, 2 * h, 2 * w)
    weight = draw(b, heads, count, 2 * h, 2 * w).requires_grad_()
    points = torch.rand(b, groups, count, 2 * h, 2 * w, 2) * torch.tensor([w + 2.0, h + 2.0]) - 1.5
    points = points.to(DEVICE)
    points = (points.round() if whole else points).requires_grad_()
    out = ops.point_assemble(weight, ops.sample_points(x, points, padding))
    by_x, by_points, by_weight = torch.autograd.grad(out, (x, points, weight), query)
    x, points, weight = (t.detach() for t in (x, points, weight))
    close(run["deform_assemble_fused"](x, weight, points, padding), out.detach())
    close(run["deform_similarity_fused"](query, x, points, padding, heads), by_weight)
    close(run["deform_scatter_fused"](query, weight, points, padding, h, w), by_x)
    dots, slopes = run["deform_slope_fused"](query, x, weight, points, padding)
    close(dots, by_weight)
    close(slopes, by_points)


CELLS = [
    ((2, 6, 3, 5, 4, 9), (2, 1), 0.2, 0, torch.float32),
    ((1, 66, 9, 9, 3, 12), (2, 1), 0.0, 0, torch.float32),
    ((1, 4, 10, 8, 5, 4), (2, 2), 0.0, 3, torch.float64),
    ((1, 3, 1, 2, 7, 40), (1, 1), 0.02, 0, torch.float64),
]
"""Batch, channels, output, map; heads, groups; window, kernel, dtype: all cells and windows, of more than a program takes at once,
seen by many pixels and by none."""


@pytest.mark.parametrize("case", CELLS, ids=str)
def test_attention_to_cells(kernels: ModuleType, case: tuple) -> None:
    (b, c, out_h, out_w, h, w), (heads, groups), window, kernel, dtype = case
    shapes = ((b, 3 * heads, out_h, out_w), (b, 3 * heads, h, w), (b, c * groups, h, w))
    leaves = [draw(*shape, dtype=dtype).requires_grad_() for shape in shapes]
    others = (heads, groups, window, kernel)
    expected = dense(*leaves, *others)
    grad = draw(*expected.shape, dtype=dtype)
    slopes = torch.autograd.grad(expected, leaves, grad)
    given = [t.detach() for t in leaves]
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    close(kernels.KERNELS["cell_attention_fused"](*given, *others), expected.detach(), tolerance)
    for found, slope in zip(kernels.KERNELS["cell_attention_slopes_fused"](grad, *given, *others), slopes, strict=True):
        close(found, slope, tolerance)


def test_attention_to_cells_in_half_precision(kernels: ModuleType) -> None:
    """The weights are rounded to the dtype before they weigh, as in the eager form; logits and sums are not.

    In float16 alone: Triton's interpreter multiplies matrices of bfloat16 by their bit patterns.
    """
    dtype = torch.float16
    given = [draw(*shape, dtype=dtype) for shape in ((1, 4, 6, 8), (1, 4, 3, 4), (1, 3, 3, 4))]
    exact = dense(*(t.double() for t in given), 2, 1, 0.2, 0)
    found = kernels.KERNELS["cell_attention_fused"](*given, 2, 1, 0.2, 0)
    assert found.dtype == dtype
    close(found, exact, 2 * torch.finfo(dtype).eps)


@pytest.mark.parametrize(
    ("shape", "kernel", "dilation"), [((2, 17, 5, 6), 3, 2), ((1, 3, 9, 16), 5, 1), ((1, 2, 1, 2), 3, 3)], ids=str
)
def test_cosines_of_neighbours(kernels: ModuleType, shape: tuple[int, ...], kernel: int, dilation: int) -> None:
    x = draw(*shape, dtype=torch.float64).requires_grad_()
    expected = neighbour_cosines(x, kernel, dilation)
    grad = draw(*expected.shape, dtype=torch.float64)
    (slope,) = torch.autograd.grad(expected, x, grad)
    x, expected = x.detach(), expected.detach()
    close(kernels.KERNELS["local_similarity_fused"](x, kernel, dilation), expected, 1e-12)
    close(kernels.KERNELS["local_similarity_slope_fused"](grad, x, expected, kernel, dilation), slope, 1e-12)
    close(kernels.KERNELS["local_similarity_fused"](x.float(), kernel, dilation), expected)


@settings(max_examples=8, deadline=None)
@given(
    size=st.tuples(st.integers(1, 2), st.integers(1, 5), *[st.integers(1, 4)] * 2),
    groups=st.integers(1, 3),
    kernel=st.sampled_from([1, 3, 5]),
    scale=st.integers(1, 2),
)
def test_windows_of_random_shapes(
    kernels: ModuleType, size: tuple[int, int, int, int], groups: int, kernel: int, scale: int
) -> None:
    b, per, h, w = size
    test_windows(kernels, (b, per * groups, h, w, groups, kernel, scale))


@settings(max_examples=8, deadline=None)
@given(
    size=st.tuples(st.integers(1, 2), *[st.integers(1, 4)] * 3),
    groups=st.sampled_from([1, 2, 3, 4]),
    heads=st.sampled_from([1, 2, 3, 4]),
    count=st.integers(1, 4),
    padding=st.sampled_from(["zeros", "border"]),
    whole=st.booleans(),
)
def test_points_of_random_shapes(
    kernels: ModuleType, size: tuple[int, int, int, int], groups: int, heads: int, count: int, padding: str, whole: bool
) -> None:
    b, per, h, w = size
    test_points(kernels, (b, per * math.lcm(groups, heads), h, w, groups, heads, count, padding), whole)


def test_points_without_weights(kernels: ModuleType) -> None:
    x, points = draw(1, 8, 4, 5).requires_grad_(), (torch.rand(1, 2, 1, 8, 10, 2) * 4).to(DEVICE).requires_grad_()
    out = ops.sample_points(x, points, "border").squeeze(2)
    grad = draw(*out.shape)
    by_x, by_points = torch.autograd.grad(out, (x, points), grad)
    run = kernels.KERNELS
    close(run["deform_assemble_fused"](x.detach(), None, points.detach(), "border"), out.detach())
    close(run["deform_scatter_fused"](grad, None, points.detach(), "border", 4, 5), by_x)
    close(run["deform_slope_fused"](grad, x.detach(), None, points.detach(), "border")[1], by_points)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float16, 2e-3), (torch.bfloat16, 1e-2), (torch.float64, 1e-12)]
)
def test_other_dtypes_sum_in_float32_or_better(kernels: ModuleType, dtype: torch.dtype, tolerance: float) -> None:
    """Against float64 on the same rounded values: only the rounding of the result is left."""
    x, weight = draw(1, 6, 4, 4, dtype=dtype), draw(1, 1, 9, 8, 8, dtype=dtype)
    exact = ops.window_assemble(x.double(), weight.double(), 3, 2, backend="eager")
    found = kernels.KERNELS["window_assemble_fused"](x, weight, 3)
    assert found.dtype == dtype
    close(found, exact, tolerance)
    points = (torch.rand(1, 1, 9, 8, 8, 2, dtype=torch.promote_types(dtype, torch.float32)) * 3).to(DEVICE)
    exact = ops.point_assemble(weight.double(), ops.sample_points(x.double(), points.double(), "zeros"))
    found = kernels.KERNELS["deform_assemble_fused"](x, weight, points, "zeros")
    assert found.dtype == dtype
    close(found, exact, max(tolerance, 1e-12))


def test_maps_in_channels_last(kernels: ModuleType) -> None:
    x, weight, _ = (t.detach() for t in windows(2, 6, 5, 7, 2, 3, 2))
    expected = ops.window_assemble(x, weight, 3, 2, backend="eager")
    close(kernels.KERNELS["window_assemble_fused"](x.to(memory_format=torch.channels_last), weight, 3), expected)


def test_every_fused_op_has_a_kernel_for_cuda(kernels: ModuleType) -> None:
    rooms = (fused, cell_attention, fused_local_similarity)
    defined = {name for room in rooms for name in vars(room) if name.endswith("_fused") and not name.startswith("_")}
    assert set(kernels.KERNELS) == defined
    for name in defined:
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"upbench::{name}", "CUDA")


COMPILE = """
import sys
import triton.language as tl
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from upbench.ops.triton import cell_slopes as triton_cell_slopes, cells as triton_cells, local_similarity, points as triton_points, window as triton_window

FLAGS = {"KERNEL": 5, "MIRRORED": False, "MARGIN": 0, "ROWS": 2, "COLUMNS": 2, "BORDER": True, "DIVIDE": False, "WEIGHTED": True,
         "SUM": tl.float32, "BLOCK_C": 32, "BLOCK_P": 64, "FACTOR": 0.2, "DEPTH": 32, "HIGH": 8, "WIDE": 8, "CELLS": 32,
         "PIXELS": 64, "VALUES": True}
of_cells = (triton_cells, triton_cell_slopes)
for room in (triton_window, triton_points, *of_cells, local_similarity):
    for name in ("_assemble", "_assemble_twice", "_dot", "_scatter", "_move", "_sums", "_attend", "_query_slopes", "_cell_slopes", "_compare",
                 "_blend"):
        kernel = getattr(room, name, None)
        if kernel is None:
            continue
        for dtype in sys.argv[1 if room in of_cells else 2].split(","):
            kinds, constants = {}, {}
            wide = "fp64" if dtype == "fp64" else "fp32"
            FLAGS["SUM"] = tl.float64 if dtype == "fp64" else tl.float32
            FLAGS["MIRRORED"], FLAGS["MARGIN"] = (True, 2) if dtype == "bf16" else (False, 0)
            for place, argument in enumerate(kernel.arg_names):
                if argument in FLAGS:
                    kinds[argument], constants[place,] = "constexpr", FLAGS[argument]
                elif argument == "points" or (name, argument) == ("_move", "out"):
                    kinds[argument] = f"*{wide}"
                elif argument in ("rows", "columns", "seers", "standers") and room in of_cells:
                    kinds[argument] = "*i32"
                elif argument in ("sums", "means", "inverse") or (room, argument) == (local_similarity, "weight"):
                    kinds[argument] = f"*{wide}"
                elif argument in ("a", "x", "weight", "out", "query", "keys", "grad"):
                    sums = (room, name, argument) == (triton_points, "_scatter", "out")
                    kinds[argument] = f"*{wide if sums else dtype}"
                else:
                    kinds[argument] = "i32"
            source = ASTSource(kernel, signature=kinds, constexprs=constants)
            built = triton.compile(source, target=GPUTarget("cuda", 90, 32))
            print(room.__name__, name, dtype, len(built.asm["cubin"]))
"""


@pytest.mark.parametrize(
    ("of_cells", "others"),
    [("bf16", "fp32,bf16"), pytest.param("fp32,fp64", "fp64", marks=pytest.mark.slow)],
    ids=["those of models", "the rest"],
)
def test_the_kernels_compile_for_a_gpu(tmp_path: Path, of_cells: str, others: str) -> None:
    """To machine code of compute capability 9.0, which needs no GPU. In some dtypes: it takes long, of attention to cells most."""
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path)}
    environment.pop("TRITON_INTERPRET", None)
    file = tmp_path / "compile.py"  # Triton reads kernels from source files
    file.write_text(COMPILE)
    done = subprocess.run(
        [sys.executable, str(file), of_cells, others], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == 10 * len(others.split(",")) + 4 * len(of_cells.split(","))
    assert all(int(size) > 0 for *_, size in lines)
