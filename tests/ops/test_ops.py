"""The ops: gradcheck in float64, and equality with a loop over pixels."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from upbench import ops
from upbench.ops.cpu import rows as matrix_rows

D = torch.float64


def rand(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=D, requires_grad=True)


@pytest.mark.parametrize(
    ("kernel", "scale", "groups", "shape"), [(3, 2, 1, (2, 3, 4)), (5, 2, 2, (1, 2, 3)), (3, 3, 1, (1, 2, 3))]
)
def test_window_assemble_gradients(kernel: int, scale: int, groups: int, shape: tuple[int, int, int]) -> None:
    b, h, w = shape
    x, weight = rand(b, 2, h, w), rand(b, groups, kernel**2, h * scale, w * scale)
    assert torch.autograd.gradcheck(lambda a, b: ops.window_assemble(a, b, kernel, scale), (x, weight))


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_sample_points_gradients(padding: str) -> None:
    x = rand(1, 4, 3, 4)
    # Away from whole positions, where the derivative jumps.
    points = (
        torch.randint(-1, 4, (1, 2, 3, 2, 5, 2)).to(D) + 0.1 + 0.8 * torch.rand(1, 2, 3, 2, 5, 2, dtype=D)
    ).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: ops.sample_points(a, b, padding), (x, points))


def test_point_products_gradients() -> None:
    assert torch.autograd.gradcheck(lambda q, k: ops.point_similarity(q, k, 2), (rand(1, 4, 2, 3), rand(1, 4, 5, 2, 3)))
    assert torch.autograd.gradcheck(ops.point_assemble, (rand(1, 2, 5, 2, 3), rand(1, 4, 5, 2, 3)))


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_interpolation_gradients(mode: str) -> None:
    assert torch.autograd.gradcheck(lambda x: ops.interpolate(x, 5, 7, mode), (rand(1, 2, 3, 4),))
    assert torch.autograd.gradcheck(lambda x: ops.resize_map(x, 5, 7, True), (rand(1, 2, 3, 4),))


@pytest.mark.parametrize(("height", "width"), [(3, 4), (1, 1), (1, 5)])
def test_gradients_of_a_map_twice_as_large(height: int, width: int) -> None:
    """A convolution."""
    maps = (rand(2, 3, height, width),)

    def doubled(x: torch.Tensor, backend: str = "fused") -> torch.Tensor:
        return ops.resize_map(x, 2 * x.shape[2], 2 * x.shape[3], backend=backend)

    assert torch.autograd.gradcheck(doubled, maps)
    assert torch.autograd.gradgradcheck(doubled, maps)
    assert "UpsampleBilinear" in doubled(*maps, backend="eager").grad_fn.name()  # as the release has it
    assert "UpsampleBilinear" not in doubled(*maps).grad_fn.name()


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 2),
    st.integers(1, 3),
    st.integers(1, 6),
    st.integers(1, 6),
    st.sampled_from([1, 3, 5]),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_window_assemble_is_the_sum_over_taps(b: int, g: int, h: int, w: int, k: int, s: int, per: int) -> None:
    x, weight = torch.randn(b, g * per, h, w, dtype=D), torch.randn(b, g, k * k, h * s, w * s, dtype=D)
    padded = F.pad(x, (k // 2,) * 4)
    expected = torch.zeros(b, g * per, h * s, w * s, dtype=D)
    for i in range(h * s):
        for j in range(w * s):
            window = padded[:, :, i // s : i // s + k, j // s : j // s + k].reshape(b, g, per, k * k)
            expected[:, :, i, j] = (window * weight[:, :, None, :, i, j]).sum(-1).flatten(1)
    torch.testing.assert_close(ops.window_assemble(x, weight, k, s), expected)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from(["zeros", "border"]), st.integers(0, 10**6))
def test_sample_points_reads_four_pixels(h: int, w: int, padding: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, 2, h, w, generator=generator, dtype=D)
    points = (torch.rand(1, 1, 1, 3, 3, 2, generator=generator, dtype=D) - 0.5) * 12
    out = ops.sample_points(x, points, padding)[0, :, 0]
    for i in range(3):
        for j in range(3):
            px, py = points[0, 0, 0, i, j].tolist()
            if padding == "border":
                px, py = min(max(px, 0), w - 1), min(max(py, 0), h - 1)
            total = torch.zeros(2, dtype=D)
            for dy in (0, 1):
                for dx in (0, 1):
                    ix, iy = int(px // 1) + dx, int(py // 1) + dy
                    if 0 <= ix < w and 0 <= iy < h:
                        total += x[0, :, iy, ix] * (1 - abs(px - ix)) * (1 - abs(py - iy))
            torch.testing.assert_close(out[:, i, j], total, rtol=1e-6, atol=1e-8)


def test_constant_map_with_uniform_kernels_keeps_9_of_25_in_the_corner() -> None:
    out = ops.window_assemble(torch.ones(1, 1, 6, 6), torch.full((1, 1, 25, 12, 12), 1 / 25), 5, 2)[0, 0]
    assert out[0, 0].item() == pytest.approx(9 / 25)
    assert out[6, 6].item() == pytest.approx(1)


@pytest.mark.parametrize(("n", "scale", "expected"), [(5, 2, 10), (5, 1.5, 7), (9, 2.5, 22), (7, 1, 7), (3, 3.0, 9)])
def test_output_size_is_the_floor(n: int, scale: float, expected: int) -> None:
    assert ops.output_size(n, n, scale) == (expected, expected)


def test_positions_are_float32_for_half_precision() -> None:
    assert {d: ops.coordinate_dtype(d) for d in (torch.bfloat16, torch.float16, torch.float32, torch.float64)} == {
        torch.bfloat16: torch.float32,
        torch.float16: torch.float32,
        torch.float32: torch.float32,
        torch.float64: torch.float64,
    }


def test_every_op_declares_its_macs() -> None:
    assert {name for name, op in ops.OPS.items() if op.kind not in ("conv", "gather", "elementwise")} == set()


@pytest.mark.parametrize("smallest", [0, 2**40], ids=["large", "small"])
@pytest.mark.parametrize("mkl", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sums_of_rows_whatever_makes_them(
    monkeypatch: pytest.MonkeyPatch, smallest: int, mkl: bool, dtype: torch.dtype
) -> None:
    """Rows read twice or in any order; what lay in the memory of the result does not matter."""
    if mkl and not torch.backends.mkl.is_available():
        pytest.skip("torch has no MKL here")
    monkeypatch.setattr(matrix_rows, "LARGE", smallest)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: mkl)
    generator = torch.Generator().manual_seed(0)
    rows, weight = (torch.randn(n, 7, generator=generator, dtype=dtype) for n in (50, 40))
    index = torch.randint(0, 50, (40, 7), generator=generator, dtype=torch.int32)
    poison = torch.full((40, 7), torch.nan, dtype=dtype)
    del poison
    found = matrix_rows.row_sums(rows, index, weight)
    torch.testing.assert_close(found, (weight.unsqueeze(-1) * rows[index.long()]).sum(1))
