"""Box means, the guided filter, paired differences, the softmax over taps and samples in windows by their kernels, against the
eager forms."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.ops.test_fused import agree
from upbench import ops
from upbench.ops.cpu import map_kernels, normed_projection, products, sample_windows
from upbench.ops.cpu.steps import box_mean_fused, softmax_taps_fused
from upbench.upsamplers.resfu import PairedCentralDifference

few = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 2**16)
built = pytest.mark.skipif(map_kernels._kernels is None, reason="the C kernels were not built here")
DOUBLE = torch.float64


@few
@given(st.integers(1, 9), st.sampled_from([1, 2, 7, 16, 33]), st.integers(1, 3), st.integers(0, 12), seeds)
def test_box_means(h: int, w: int, batch: int, radius: int, seed: int) -> None:
    """Windows smaller and larger than the map, rows shorter and longer than what is summed at once."""
    torch.manual_seed(seed)
    x = torch.randn(batch, 2, h, w, dtype=DOUBLE).transpose(0, 1)
    agree(lambda x: ops.box_mean(x, radius), lambda x: ops.box_mean(x, radius, backend="fused"), (x,))


@built
@few
@given(
    st.integers(1, 19),
    st.sampled_from([1, 3, 31, 32, 40, 64]),
    st.integers(0, 9),
    st.integers(1, 3),
    st.booleans(),
    seeds,
)
def test_the_guided_filter(h: int, w: int, radius: int, subsample: int, single: bool, seed: int) -> None:
    """Maps smaller than the step, rows that are twice as long as those of the means and others."""
    torch.manual_seed(seed)
    maps = [torch.randn(2, 3, h, w, dtype=DOUBLE).transpose(0, 1) for _ in range(2)]
    expected = ops.guided_filter(*maps, radius, 0.01, subsample)
    given_maps = [t.float() for t in maps] if single else maps
    with torch.no_grad():
        found = ops.guided_filter(*given_maps, radius, 0.01, subsample, backend="fused")
    assert found.dtype == given_maps[0].dtype
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-3 if single else 1e-10)
    agree(
        lambda *t: ops.guided_filter(*t, radius, 0.01, subsample),
        lambda *t: ops.guided_filter(*t, radius, 0.01, subsample, backend="fused"),
        tuple(maps),
    )


@few
@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(1, 70), st.integers(-1, 2), seeds)
def test_softmax_over_taps(shape: list[int], taps: int, dim: int, seed: int) -> None:
    torch.manual_seed(seed)
    dim = min(dim, len(shape))
    logits = 5 * torch.randn(*shape, taps, dtype=DOUBLE).movedim(-1, dim)
    agree(lambda x: ops.softmax_over_taps(x, dim), lambda x: ops.softmax_over_taps(x, dim, backend="fused"), (logits,))


@built
@few
@given(
    st.tuples(st.integers(1, 6), st.integers(1, 19)),
    st.tuples(st.sampled_from([0.5, 1.0, 1.7, 2.0, 3.0]), st.sampled_from([0.7, 1.0, 1.5, 2.0, 4.0])),
    st.sampled_from([1, 3, 5]),
    st.sampled_from([1, 16, 20]),
    seeds,
)
def test_samples_in_windows(
    size: tuple[int, int], ratio: tuple[float, float], kernel: int, channels: int, seed: int
) -> None:
    """At any ratio of the sizes: pixels share windows with those between the same four pixels of the map alone."""
    torch.manual_seed(seed)
    out = [max(1, round(n * by)) for n, by in zip(size, ratio, strict=True)]
    x, weight = torch.randn(2, channels, *size, dtype=DOUBLE), torch.randn(2, kernel**2, *out, dtype=DOUBLE)
    assert sample_windows.can_run(x, weight)
    agree(
        lambda *maps: ops.sample_window_assemble(*maps, kernel),
        lambda *maps: ops.sample_window_assemble(*maps, kernel, backend="fused"),
        (x, weight),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_softmax_of_what_is_no_number(dtype: torch.dtype) -> None:
    """Logits of -inf weigh nothing; a row of them alone, or one with inf or NaN, is spoilt, as in torch, and no other row."""
    inf, nan = torch.inf, torch.nan
    rows = [[0.0, -inf, 1.0], [-inf, -inf, -inf], [inf, 0.0, 1.0], [nan, 0.0, 1.0], [-200.0, 0.0, -100.0]]
    logits = torch.tensor(rows, dtype=dtype)
    found = ops.softmax_over_taps(logits, 1, backend="fused")
    assert found.dtype == dtype
    torch.testing.assert_close(found, logits.softmax(1), equal_nan=True, rtol=1e-6, atol=1e-30)


def block(channels: int, groups: int, kernel: int, dilation: int, norm_groups: int) -> PairedCentralDifference:
    made = PairedCentralDifference(channels, groups, kernel, dilation, norm_groups)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.5)
    return made


def scored(made: PairedCentralDifference, backend: str) -> Any:
    """The scores as a function of key, query and the parameters."""
    names = [name for name, _ in made.named_parameters()]

    def call(key: Tensor, query: Tensor, *parameters: Tensor) -> Tensor:
        named = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(made, named, (key, query, backend))  # type: ignore[no-any-return]

    return call


@built
@few
@given(
    st.tuples(st.integers(1, 11), st.integers(1, 18)),
    st.integers(1, 2),
    st.sampled_from([(8, 4, 2), (8, 8, 4), (4, 1, 2), (16, 2, 8)]),
    st.sampled_from([(3, 2), (3, 1), (1, 2), (5, 3)]),
    seeds,
)
def test_paired_differences(
    size: tuple[int, int], batch: int, parts: tuple[int, int, int], window: tuple[int, int], seed: int
) -> None:
    """Windows smaller and larger than the map, whole tiles and parts of them."""
    torch.manual_seed(seed)
    channels, groups, norm_groups = parts
    made = block(channels, groups, *window, norm_groups).double()
    shape = (batch, channels, *size)
    # Not one value a group: what is left of it is its rounding, many times over.
    key, query = (torch.randn(shape, dtype=DOUBLE).transpose(2, 3).contiguous().transpose(2, 3) for _ in range(2))
    if batch * size[0] * size[1] * channels // norm_groups == 1 or size[0] * size[1] == 1:
        return
    agree(scored(made, "eager"), scored(made, "fused"), (key, query, *made.parameters()))


@built
@few
@given(
    st.tuples(st.integers(1, 9), st.integers(2, 150)),
    st.sampled_from([(2, 1), (6, 3), (16, 16), (40, 5)]),
    st.sampled_from([1, 4, 6, 33]),
    st.booleans(),
    st.booleans(),
    seeds,
)
def test_a_norm_within_a_convolution(
    size: tuple[int, int], channels: tuple[int, int], outputs: int, bias: bool, single: bool, seed: int
) -> None:
    """Planes of any length, channels whose means lie far apart, outputs that do not fill what is summed at once."""
    torch.manual_seed(seed)
    norm, layer = (
        nn.GroupNorm(channels[1], channels[0], 1e-3).double(),
        nn.Conv2d(channels[0], outputs, 1, bias=bias).double(),
    )
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, channels[0], *size, dtype=DOUBLE) + 9 * torch.randn(channels[0], 1, 1, dtype=DOUBLE)
    x = (x.float() if single else x).transpose(2, 3)
    with torch.no_grad():
        expected = ops.normed_conv1x1(norm, layer, x.double())
        dtype = torch.float32 if single else DOUBLE
        found = ops.normed_conv1x1(norm.to(dtype), layer.to(dtype), x, backend="fused")
    assert found.is_contiguous()
    assert found.dtype == dtype
    limit = 1e-4 if single else 1e-10
    assert (found - expected).abs().max() <= limit * expected.abs().max().clamp(min=1)


@built
@few
@given(st.sampled_from([(2, 1), (6, 3), (16, 16)]), st.booleans(), st.booleans(), seeds)
def test_gradients_of_a_norm_within_a_convolution(
    channels: tuple[int, int], bias: bool, turned: bool, seed: int
) -> None:
    """No normed map is kept for them; they are those of the layers, once and twice."""
    torch.manual_seed(seed)
    norm, layer = nn.GroupNorm(channels[1], channels[0]).double(), nn.Conv2d(channels[0], 5, 1, bias=bias).double()
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, channels[0], 3, 7, dtype=DOUBLE) + 9 * torch.randn(channels[0], 1, 1, dtype=DOUBLE)
    x = (x.contiguous(memory_format=torch.channels_last) if turned else x).requires_grad_()
    learned, grad = [x, *norm.parameters(), *layer.parameters()], torch.randn(2, 5, 3, 7, dtype=DOUBLE)
    once, twice = [], []
    for backend in ("eager", "fused"):
        out = ops.normed_conv1x1(norm, layer, x, backend=backend)
        once.append(torch.autograd.grad(out, learned, grad, retain_graph=True))
        slopes = torch.autograd.grad(out, learned, grad, create_graph=True)
        twice.append(torch.autograd.grad(sum(t.square().sum() for t in slopes), learned, allow_unused=True))
    assert out.grad_fn is not None
    assert "normed" in out.grad_fn.name()
    for found in (once, twice):
        for expected, one in zip(*found, strict=True):
            assert (expected is None) == (one is None)
            if one is not None:
                torch.testing.assert_close(one, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))


@built
@few
@given(
    st.tuples(st.integers(1, 5), st.integers(1, 9)),
    st.sampled_from([(8, 4, 2), (8, 8, 4), (16, 2, 8)]),
    st.sampled_from([1, 3, 5]),
    st.integers(1, 4),
    seeds,
)
def test_differences_of_a_resized_key_are_summed_before_the_resize(
    size: tuple[int, int], parts: tuple[int, int, int], kernel: int, ratio: int, seed: int
) -> None:
    torch.manual_seed(seed)
    channels, groups, norm_groups = parts
    made = block(channels, groups, kernel, ratio, norm_groups).double()
    coarse = torch.randn(2, channels, *size, dtype=DOUBLE)
    query = torch.randn(2, channels, *(n * ratio for n in size), dtype=DOUBLE)
    if query[0, 0].numel() * channels // norm_groups == 1 or query[0, 0].numel() == 1:
        return

    def call(backend: str, kept: bool) -> Any:
        def scores(coarse: Tensor, query: Tensor) -> Tensor:
            return made(ops.resize_map(coarse, *query.shape[2:]), query, backend, coarse if kept else None)

        return scores

    agree(call("eager", False), call("fused", True), (coarse, query))


@built
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_paired_differences_against_double(dtype: torch.dtype) -> None:
    """Half precision has sums of float32: as near as the rounding of what is returned, and of gradients that are."""
    torch.manual_seed(0)
    made = block(8, 4, 3, 2, 4).to(dtype)
    maps = [torch.randn(1, 8, 17, 30).to(dtype).requires_grad_() for _ in range(2)]
    given = (*maps, *(p.detach().clone().requires_grad_() for p in made.parameters()))
    found = scored(made, "fused")(*given)
    exact = scored(made.double(), "eager")(*(t.detach().double() for t in given))
    assert found.dtype == dtype
    limit = 2e-5 if dtype == torch.float32 else torch.finfo(dtype).eps
    assert (found - exact).abs().max() <= limit * exact.abs().max()
    slopes = torch.autograd.grad(found.float().square().mean(), given)
    assert [t.dtype for t in slopes] == [dtype] * len(given)
    assert all(t.isfinite().all() for t in slopes)


@built
def test_gradients_against_differences() -> None:
    """And the gradients of gradients."""
    torch.manual_seed(1)
    x = torch.randn(1, 2, 3, 5, dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: box_mean_fused(x, 1), x)
    assert torch.autograd.gradgradcheck(lambda x: box_mean_fused(x, 1), x)
    assert torch.autograd.gradcheck(softmax_taps_fused, x)
    assert torch.autograd.gradgradcheck(softmax_taps_fused, x)
    key, query = (torch.randn(1, 2, 2, 3, dtype=DOUBLE, requires_grad=True) for _ in range(2))
    made = block(2, 2, 3, 1, 1).double()
    fused = scored(made, "fused")
    assert torch.autograd.gradgradcheck(lambda *maps: fused(*maps, *made.parameters()).tanh(), (key, query))


@built
@pytest.mark.parametrize(
    "name",
    [
        "box_mean",
        "softmax_taps",
        "softmax_taps_slope",
        "difference",
        "difference_slope",
        "sample_windows",
        "guided_filter",
        "normed_project",
        "normed_project_slope",
    ],
)
def test_torch_accepts_the_registration(name: str) -> None:
    torch.manual_seed(2)
    x = torch.randn(1, 2, 4, 9)
    made = block(2, 2, 3, 1, 1)
    _, inner, _, norm, last = made.channel_compressor
    layers: Any = (made.norm, made, inner, norm, last)
    tensors = [t.detach() for layer in layers for t in (layer.weight, layer.bias)]
    grad, numbers = torch.randn(1, 9, 4, 9), (2, 1, 1, 1e-5, 1, 1e-5, False, None)
    normed = (torch.randn(2), torch.randn(2), torch.randn(5, 2, 1, 1), torch.randn(5), 2, 1e-5)
    arguments: tuple[Any, ...] = {
        "box_mean": (x.clone().requires_grad_(), 2),
        "softmax_taps": (x.clone().requires_grad_(),),
        "softmax_taps_slope": (x, x),
        "normed_project": (x.clone().requires_grad_(), *normed),
        "normed_project_slope": (torch.randn(1, 5, 4, 9), x, *normed),
        "guided_filter": (x, x.flip(3), 1, 0.01, 2),
        "sample_windows": (x.clone().requires_grad_(), grad.clone().requires_grad_(), 3),
        "difference": (x, x, *(t.clone().requires_grad_() for t in tensors), *numbers),
        "difference_slope": (grad, x, x, *tensors, *numbers),
    }[name]
    op = name.replace("difference", "paired_difference")
    op = op.replace("_slope", "_slope_fused") if "slope" in op else f"{op}_fused"
    results = torch.library.opcheck(getattr(torch.ops.upbench, op).default, arguments)
    assert set(results.values()) == {"SUCCESS"}


@built
def test_the_number_of_threads_changes_nothing() -> None:
    torch.manual_seed(3)
    made, maps = block(8, 4, 3, 2, 4), [torch.randn(1, 8, 40, 50) for _ in range(2)]
    found, threads = [], torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            with torch.no_grad():
                found.append((made(*maps, "fused"), ops.box_mean(maps[0], 3, backend="fused")))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_without_the_kernels_the_eager_forms_run() -> None:
    torch.manual_seed(4)
    made, maps = block(8, 4, 3, 2, 4), [torch.randn(1, 8, 5, 6) for _ in range(2)]
    with patch.object(map_kernels, "_kernels", None), torch.no_grad():
        assert torch.equal(made(*maps, "fused"), made(*maps, "eager"))
        assert torch.equal(ops.box_mean(maps[0], 2, backend="fused"), ops.box_mean(maps[0], 2))
        found = ops.softmax_over_taps(maps[0], 1, backend="fused")
    torch.testing.assert_close(found, maps[0].softmax(1))


@built
@pytest.mark.parametrize(
    "entry",
    [
        "moments",
        "planes",
        "scores",
        "squares",
        "box",
        "guided",
        "coarse",
        "differences",
        "softmax",
        "difference_slopes",
        "fold",
        "affinity",
        "filtered",
        "filter_slopes",
        "guide_slopes",
        "pool",
    ],
)
def test_an_entry_takes_its_own_struct_alone(entry: str) -> None:
    """Before anything is read from its address."""
    with pytest.raises(TypeError, match="another struct than this entry takes"):
        getattr(map_kernels._kernels, entry)(0, 8, 0, 1, 1)


@built
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_normed_and_projected_in_float32(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without fast products of half precision a norm and its convolution read it some planes and pixels at a time."""
    monkeypatch.setattr(products, "SLOW", (torch.bfloat16, torch.float16))
    monkeypatch.setattr(map_kernels, "pairs_at_hand", lambda: False)
    monkeypatch.setattr(normed_projection, "VALUES", 1500)
    norm, layer = nn.GroupNorm(4, 24).to(dtype), nn.Conv2d(24, 10, 1).to(dtype)
    x = torch.randn(2, 24, 37, 31).to(dtype)
    with torch.no_grad():
        expected = layer.double()(norm.double()(x.double()))
        norm, layer = norm.to(dtype), layer.to(dtype)
        wide = ops.normed_conv1x1(norm, layer, x, True, backend="fused")
        narrow = ops.normed_conv1x1(norm, layer, x, backend="fused")
    assert (wide.dtype, narrow.dtype) == (torch.float32, dtype)
    torch.testing.assert_close(wide.double(), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(narrow, wide.to(dtype))
