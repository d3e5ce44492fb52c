"""The fused ops against the plain ones, forward and backward, and the way a backend is chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import upbench
from tests.upsamplers.test_contract import PRECISION, drawn, setting_of
from upbench import ops, registry
from upbench.benchmark.difference import TOLERANCES
from upbench.errors import BackendError
from upbench.measure import macs
from upbench.measure.output import joined, maps
from upbench.ops import fused
from upbench.ops.cpu import native
from upbench.ops.cpu import points as cpu_points

FUSED = [name for name in registry.names() if upbench.build(name, 32).fused_ops]
few = settings(max_examples=25, deadline=None)
sizes = st.integers(1, 6)
seeds = st.integers(0, 2**16)
DOUBLE = torch.float64


@cache
def variants(name: str) -> list[dict[str, object]]:
    """Params with which an upsampler runs its ops: the defaults, and changes of one param until every op has run."""
    card = registry.get(name)
    others = [(p.name, v) for p in card.params for v in ((not p.default,) if p.type is bool else p.choices or ())]
    found, seen = [], set()
    for params in ({}, *({key: value} for key, value in others)):
        if card.mistakes(registry.setting_of(card, 32, None, None, params)):
            continue
        with ops.recorded() as ran, torch.no_grad():
            registry.construct(card, setting_of(card, **params))(*drawn(setting_of(card, **params), card))
        if not found or set(ran) - seen:
            found.append(params)
            seen |= set(ran)
    assert seen == set(card.fused_ops)
    return found


def agree(
    plain: Callable[..., Tensor], fused: Callable[..., Tensor], inputs: Sequence[Tensor], tolerance: float = 1e-9
) -> None:
    """Values and the gradients of every input, as a part of the largest value."""
    inputs = [t.detach().requires_grad_() for t in inputs]
    expected, found = plain(*inputs), fused(*inputs)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    grad = torch.randn_like(expected)
    pairs = zip(
        (expected, *torch.autograd.grad(expected, inputs, grad)),
        (found, *torch.autograd.grad(found, inputs, grad)),
        strict=True,
    )
    for a, b in ((a.detach(), b.detach()) for a, b in pairs):
        assert (a - b).abs().max() <= tolerance * max(1.0, float(a.abs().max()))


@few
@given(sizes, sizes, st.integers(1, 4), st.sampled_from([1, 3, 5]), st.integers(1, 3), st.integers(1, 2), seeds)
def test_windows(h: int, w: int, scale: int, kernel: int, groups: int, batch: int, seed: int) -> None:
    torch.manual_seed(seed)
    x = torch.randn(batch, 2 * groups, h, w, dtype=DOUBLE)
    query = torch.randn(batch, 2 * groups, scale * h, scale * w, dtype=DOUBLE)
    weight = torch.randn(batch, groups, kernel**2, scale * h, scale * w, dtype=DOUBLE)
    agree(
        lambda x, weight: ops.window_assemble(x, weight, kernel, scale),
        lambda x, weight: ops.window_assemble(x, weight, kernel, scale, backend="fused"),
        (x, weight),
    )
    agree(
        lambda q, k: ops.window_similarity(q, k, kernel, scale),
        lambda q, k: ops.window_similarity(q, k, kernel, scale, backend="fused"),
        (query, x),
    )


@few
@given(
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(1, 3),
    st.sampled_from([3, 5, 7]),
    st.integers(1, 2),
    st.integers(1, 3),
    seeds,
)
def test_windows_with_a_mirrored_border(
    more_h: int, more_w: int, scale: int, kernel: int, batch: int, channels: int, seed: int
) -> None:
    """From the smallest map on that can be mirrored, where one pixel is mirrored from both sides."""
    torch.manual_seed(seed)
    h, w = kernel // 2 + more_h, kernel // 2 + more_w
    x = torch.randn(batch, channels, h, w, dtype=DOUBLE)
    weight = torch.randn(batch, kernel**2, scale * h, scale * w, dtype=DOUBLE)
    agree(
        lambda x, weight: ops.mirrored_assemble(x, weight, kernel, scale),
        lambda x, weight: ops.mirrored_assemble(x, weight, kernel, scale, backend="fused"),
        (x, weight),
    )
    agree(
        lambda x: ops.mirrored_similarity(x, kernel),
        lambda x: ops.mirrored_similarity(x, kernel, backend="fused"),
        (x,),
    )


@few
@given(sizes, sizes, st.integers(0, 9), st.integers(0, 9), st.sampled_from([1, 3]), st.integers(1, 3), seeds)
def test_windows_at_any_ratio(h: int, w: int, more_h: int, more_w: int, kernel: int, heads: int, seed: int) -> None:
    torch.manual_seed(seed)
    x, query = (torch.randn(2, 2 * heads, a, b, dtype=DOUBLE) for a, b in ((h, w), (h + more_h, w + more_w)))
    weight = torch.randn(2, heads, kernel**2, h + more_h, w + more_w, dtype=DOUBLE)
    agree(
        lambda x, weight: ops.window_assemble(x, weight, kernel),
        lambda x, weight: ops.window_assemble(x, weight, kernel, backend="fused"),
        (x, weight),
    )
    agree(
        lambda q, k: ops.window_head_similarity(q, k, kernel, heads),
        lambda q, k: ops.window_head_similarity(q, k, kernel, heads, backend="fused"),
        (query, x),
    )


@few
@given(
    sizes,
    sizes,
    st.sampled_from([(1, 1), (2, 1), (1, 2), (2, 3), (4, 2)]),
    st.integers(1, 4),
    st.sampled_from(["zeros", "border"]),
    st.booleans(),
    st.sampled_from([0.0, 1.0, 30.0]),
    seeds,
)
def test_points(
    h: int, w: int, parts: tuple[int, int], taps: int, padding: str, whole: bool, reach: float, seed: int
) -> None:
    """Among them positions exactly on pixels, where the gradient has two sides, on the edge, and far outside."""
    torch.manual_seed(seed)
    groups, heads = parts
    x, query = torch.randn(2, 12, h, w, dtype=DOUBLE), torch.randn(2, 12, 3, 5, dtype=DOUBLE)
    weight = torch.randn(2, heads, taps, 3, 5, dtype=DOUBLE)
    points = torch.rand(2, groups, taps, 3, 5, 2, dtype=DOUBLE) * 6 - 1 + reach * torch.randn(1, dtype=DOUBLE)
    points = points.round() if whole else points
    agree(
        lambda *t: ops.deform_assemble(*t, padding),
        lambda *t: ops.deform_assemble(*t, padding, backend="fused"),
        (x, weight, points),
    )
    agree(
        lambda *t: ops.deform_similarity(*t, padding, heads),
        lambda *t: ops.deform_similarity(*t, padding, heads, backend="fused"),
        (query, x, points),
    )
    agree(
        lambda *t: ops.sample_points(*t, padding),
        lambda *t: ops.sample_points(*t, padding, backend="fused"),
        (x, points[:, :, :1]),
    )


def test_the_side_of_the_gradient_in_float32() -> None:
    """At 120 pixels the normalised position is rounded: whole ones fall to either side, and both take the same."""
    x = torch.randn(1, 2, 120, 120)
    points = torch.arange(120.0).view(1, 1, 1, 1, 120, 1).expand(1, 1, 1, 120, 120, 2).clone()
    agree(
        lambda *t: ops.sample_points(*t, "border"),
        lambda *t: ops.sample_points(*t, "border", backend="fused"),
        (x, points),
        1e-4,
    )


def test_chunks_and_whole_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_kernels", None)
    query, keys, points = torch.randn(2, 8, 20, 20), torch.randn(2, 8, 10, 10), torch.rand(2, 2, 3, 20, 20, 2) * 12 - 1
    whole = fused.deform_similarity_fused(query, keys, points, "zeros", 1)
    monkeypatch.setattr(cpu_points, "CHUNK_ENTRIES", 1)
    torch.testing.assert_close(fused.deform_similarity_fused(query, keys, points, "zeros", 1), whole)


def test_gradients_against_differences() -> None:
    x = torch.randn(1, 2, 3, 4, dtype=DOUBLE, requires_grad=True)
    query = torch.randn(1, 2, 3, 4, dtype=DOUBLE, requires_grad=True)
    weight = torch.randn(1, 1, 9, 3, 4, dtype=DOUBLE, requires_grad=True)
    points = (torch.rand(1, 1, 9, 3, 4, 2, dtype=DOUBLE) * 0.8 + 0.1 + torch.randint(-1, 3, (2,))).requires_grad_()
    assert torch.autograd.gradcheck(lambda *t: fused.window_assemble_fused(*t, 3), (x, weight))
    assert torch.autograd.gradgradcheck(lambda *t: fused.window_assemble_fused(*t, 3), (x, weight))
    assert torch.autograd.gradcheck(lambda *t: fused.window_similarity_fused(*t, 3, 2), (query, x))
    small = (x[:, :1, :2, :2].detach().requires_grad_(), weight[..., :2, :2].detach().requires_grad_())
    assert torch.autograd.gradgradcheck(lambda *t: fused.window_assemble_fused(*t, 3, True), small)
    assert torch.autograd.gradcheck(lambda *t: fused.deform_assemble_fused(*t, "zeros"), (x, weight, points))
    assert torch.autograd.gradcheck(lambda *t: fused.deform_similarity_fused(*t, "border", 2), (query, x, points))


REGISTERED = [(n.split("(")[0], n.startswith("window") and more) for n in fused._SIGNATURES for more in (False, True)]


@pytest.mark.parametrize(("name", "mirrored"), sorted({one for one in REGISTERED if "slope" not in one[0]}))
def test_torch_accepts_the_registration(name: str, mirrored: bool) -> None:
    """Fake outputs have the strides of real ones, autograd is registered, nothing aliases."""
    x, query = torch.randn(2, 4, 3, 5), torch.randn(2, 4, 6, 10)
    weight, points = torch.randn(2, 2, 9, 6, 10), torch.rand(2, 2, 9, 6, 10, 2) * 4
    arguments = {
        "window_assemble_fused": (x, weight, 3),
        "window_similarity_fused": (query, x, 3, 2),
        "window_scatter_fused": (query, weight, 3, 3, 5),
        "rows_last_fused": (x,),
        "planes_fused": (x,),
        "deform_assemble_fused": (x, weight, points, "zeros"),
        "deform_similarity_fused": (query, x, points, "zeros", 2),
        "deform_scatter_fused": (query, weight, points, "zeros", 3, 5),
    }[name]
    arguments = tuple(a.requires_grad_() if isinstance(a, Tensor) else a for a in arguments)
    arguments += (True,) if mirrored else ()
    results = torch.library.opcheck(getattr(torch.ops.upbench, name).default, arguments)
    assert set(results.values()) == {"SUCCESS"}


Pair = tuple[nn.Module, nn.Module, tuple[Tensor, ...]]


def pair(name: str, height: int = 5, width: int = 7, **params: object) -> Pair:
    """The same module with both backends, with offsets as of a trained one, and its inputs."""
    modules = []
    for backend in ("eager", "fused"):
        module = upbench.build(name, 32, seed=1, **params)
        module.backend = backend
        if hasattr(module, "set_offsets"):
            module.set_offsets("trained", torch.Generator().manual_seed(2))
        modules.append(module)
    card = registry.get(name)
    return modules[0], modules[1], drawn(setting_of(card, None, height, width, **params), card)


@pytest.mark.parametrize("name", FUSED)
def test_upsamplers_agree(name: str) -> None:
    for params in variants(name):
        agree_as_modules(*pair(name, **params))


@pytest.mark.parametrize("name", FUSED)
def test_upsamplers_agree_in_double_precision(name: str) -> None:
    """As closely as they agree with the releases."""
    for params in variants(name):
        plain, fused, inputs = pair(name, 3, 4, **params)
        agree_as_modules(plain.double(), fused.double(), tuple(t.double() for t in inputs), (2e-7, 2e-7))


@pytest.mark.parametrize("dtype", list(PRECISION), ids=str)
@pytest.mark.parametrize("name", FUSED)
def test_upsamplers_agree_in_half_precision(name: str, dtype: torch.dtype) -> None:
    """The dtype of the result too, and under autocast, where maps are float32 and products are not."""
    for params in variants(name):
        plain, fused, inputs = (one.eval() if isinstance(one, nn.Module) else one for one in pair(name, 3, 4, **params))
        with torch.no_grad(), torch.autocast("cpu", dtype=dtype):
            compare_coarsely(plain(*inputs), fused(*inputs), PRECISION[dtype])
        halves = tuple(t.to(dtype) for t in inputs)
        with torch.no_grad():
            compare_coarsely(plain.to(dtype)(*halves), fused.to(dtype)(*halves), PRECISION[dtype])


def compare_coarsely(expected: object, found: object, tolerance: float) -> None:
    assert [out.dtype for out in maps(found)] == [out.dtype for out in maps(expected)]
    a, b = joined(expected).float(), joined(found).float()
    assert (a - b).norm() <= tolerance * a.norm()


def agree_as_modules(
    plain: nn.Module,
    fused: nn.Module,
    inputs: tuple[Tensor, ...],
    tolerances: tuple[float, float] = TOLERANCES["float32"],
) -> None:
    forward, backward = tolerances
    found = []
    for module in (plain, fused):
        leaves = [t.detach().requires_grad_() for t in inputs]
        torch.manual_seed(3)  # what is drawn in training is drawn alike
        out = joined(module(*leaves))
        weight = torch.linspace(-1, 1, out.numel()).view_as(out)
        named = [p for p in module.parameters() if p.requires_grad]
        grads = torch.autograd.grad((out * weight).sum(), (*leaves, *named), allow_unused=True)
        found.append([out, *(g for g in grads if g is not None)])
    assert len(found[0]) == len(found[1])
    largest = max(float(g.abs().max()) for g in found[0][1:])
    for n, (a, b) in enumerate(zip(*found, strict=True)):
        scale = float(a.detach().abs().max()) if n == 0 else largest
        assert (a - b).abs().max() <= (forward if n == 0 else backward) * scale
    with torch.inference_mode():
        torch.manual_seed(3)
        torch.testing.assert_close(joined(fused(*inputs)), found[0][0].detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", FUSED)
def test_macs_do_not_depend_on_the_backend(name: str) -> None:
    """Neither their classes nor the names of the ops that they are charged to."""
    for params in variants(name):
        *modules, inputs = pair(name, **params)
        counts = []
        for module, backend in zip(modules, ("eager", "fused"), strict=True):
            with ops.recorded() as ran:
                counts.append(macs.count(module.eval(), inputs))
            assert set(ran.values()) == {backend}
        assert counts[0].by_kind == counts[1].by_kind
        ours = [{op: n for op, n in counted.by_op.items() if op.startswith("upbench::")} for counted in counts]
        assert ours[0] == ours[1] != {}
        assert not any("fused" in op for op in ours[0])
        assert counts[0].uncounted == counts[1].uncounted == {}


@pytest.mark.parametrize("name", FUSED)
def test_what_ran_is_recorded(name: str) -> None:
    ran: set[str] = set()
    for params in variants(name):
        plain, fused, inputs = pair(name, **params)
        for module, backend in ((plain, "eager"), (fused, "fused")):
            with ops.recorded() as found, torch.no_grad():
                module(*inputs)
            assert set(found.values()) == {backend}
            ran |= set(found) if backend == "fused" else set()
    assert ran == set(registry.get(name).fused_ops)


@pytest.mark.parametrize("name", registry.names())
def test_cards_say_who_has_a_fused_form(name: str) -> None:
    assert registry.get(name).fused == bool(upbench.build(name, 32).fused_ops)


def test_deterministic_algorithms_are_honoured() -> None:
    torch.use_deterministic_algorithms(True)
    try:
        for name in ("ldaaqu", "carafe"):
            _, fused, inputs = pair(name)
            results = []
            for _ in range(2):
                leaf = inputs[0].detach().requires_grad_()
                results.append(torch.autograd.grad(fused(leaf).square().sum(), leaf)[0])
            assert torch.equal(*results)
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(dtype: torch.dtype) -> None:
    x = torch.ones(1, 1, 7, 7, dtype=dtype)
    weight = torch.full((1, 1, 49, 7, 7), 1 / 64, dtype=dtype)
    out = ops.window_assemble(x, weight, 7, 1, backend="fused")
    assert out.dtype == dtype
    assert out[0, 0, 3, 3] == torch.tensor(49 / 64, dtype=dtype)


def test_reasons() -> None:
    x, weight = torch.randn(1, 2, 3, 3), torch.randn(1, 1, 9, 6, 6)
    with pytest.raises(BackendError, match="window_assemble cannot run fused: its inputs must have one dtype"):
        ops.window_assemble(x, weight.half(), 3, 2, backend="fused")
    with pytest.raises(BackendError, match="no fused kernels for meta"):
        ops.window_assemble(x.to("meta"), weight.to("meta"), 3, 2, backend="fused")
    with pytest.raises(BackendError, match="its border mirrors more pixels than the map has"):
        ops.mirrored_similarity(x, 7, backend="fused")
    with pytest.raises(BackendError, match="its border mirrors more pixels than the map has"):
        ops.mirrored_assemble(x, weight[:, 0], 7, 2, backend="fused")
    with pytest.raises(BackendError, match="one point per output pixel"):
        ops.sample_points(x, torch.zeros(1, 1, 2, 6, 6, 2), "zeros", backend="fused")
    with pytest.raises(BackendError, match="must be one of auto, eager, fused"):
        ops.window_assemble(x, weight, 3, 2, backend="fast")
    with ops.recorded() as found:
        assert ops.window_assemble(x.to("meta"), weight.to("meta"), 3, 2, backend="auto").shape == (1, 2, 6, 6)
    assert found == {"window_assemble": "eager"}


def test_the_automatic_choice_is_the_faster_one() -> None:
    """Backward with a few channels the eager form is; who names the fused one gets it."""
    for channels, grad, expected in ((2, True, "eager"), (2, False, "fused"), (16, True, "fused")):
        x, weight = torch.randn(1, channels, 3, 3, requires_grad=grad), torch.randn(1, 1, 9, 6, 6)
        reasons: dict[str, str] = {}
        with ops.recorded(reasons) as found:
            ops.window_assemble(x, weight, 3, 2, backend="auto")
        assert found == {"window_assemble": expected}
        assert list(reasons) == (["window_assemble"] if expected == "eager" else [])
        with ops.recorded() as found:
            ops.window_assemble(x, weight, 3, 2, backend="fused")
        assert found == {"window_assemble": "fused"}
    for side, expected in ((6, "eager"), (48, "fused")):  # the larger map is 16 x 96 x 192 values
        points = torch.zeros(1, 1, 1, 2 * side, 4 * side, 2)
        with ops.recorded(reasons) as found:
            ops.sample_points(torch.randn(1, 16, side, 2 * side), points, "border", backend="auto")
        assert found == {"sample_points": expected}
    assert reasons["sample_points"] == "it is faster there up to 262144 values"
    points.requires_grad_()
    with ops.recorded(reasons) as found:  # with gradients that map is small as well
        ops.sample_points(torch.randn(1, 16, side, 2 * side), points, "border", backend="auto")
    assert found == {"sample_points": "eager"}
    assert reasons["sample_points"] == "it is faster there up to 1048576 values"
    x = torch.randn(1, 16, 3, 3, requires_grad=True)
    with ops.recorded() as found:  # channels of a group, not of the map
        ops.window_assemble(x, torch.randn(1, 8, 9, 6, 6), 3, 2, backend="auto")
    assert found == {"window_assemble": "eager"}
