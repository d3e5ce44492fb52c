"""What users' modules are made of is counted whole: operators that a trace does not know, einsums, and every spelling."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.upsamplers.test_contract import CARDS, setting_of
from upbench import registry
from upbench.benchmark import inputs
from upbench.measure import counting, cross_check, dispatched, macs
from upbench.measure.einsum import contractions
from upbench.specs import run_spec as spec

CPU = torch.device("cpu")


class Of(nn.Module):
    """A module made of a function of its inputs, with layers or parameters that the function may use."""

    def __init__(self, function: Callable[..., Tensor], **parts: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.function(self, *tensors)


def rand(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


class HiddenConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(x, weight).relu()


@torch.jit.script
def scripted(x: Tensor, weight: Tensor) -> Tensor:
    if x.size(0) > 0:
        x = torch.conv2d(x, weight)
    for _ in range(2):
        x = torch.relu(x)
    return x


IMAGE, TOKENS, SQUARE = rand(1, 8, 6, 5), rand(2, 5, 8), rand(5, 5)
WEIGHT = nn.Parameter(torch.ones(4, 8, 3, 3))


def attention(**options: bool) -> Of:
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    return Of(lambda m, x: m.layer(x, x, x, **options)[0], layer=layer)


def whole(layer: nn.Module) -> Of:
    return Of(lambda m, x: m.layer(x), layer=layer)


def first(layer: nn.Module) -> Of:
    return Of(lambda m, x: m.layer(x)[0], layer=layer)


# Name -> module, its inputs, and by hand: MACs of class conv and of class gather. Evaluation mode.
ATTENTION = (4 * 2 * 5 * 8 * 8, 2 * (2 * 5 * 5 * 8))
OPERATORS: dict[str, tuple[nn.Module, tuple[Tensor, ...], int, int]] = {
    'padding="same"': (whole(nn.Conv2d(8, 32, 3, padding="same")), (IMAGE,), 32 * 30 * 8 * 9, 0),
    'padding="same", 1d': (whole(nn.Conv1d(5, 4, 3, padding="same")), (TOKENS,), 2 * 4 * 8 * 5 * 3, 0),
    'padding="valid"': (whole(nn.Conv2d(8, 4, 3, padding="valid")), (IMAGE,), 4 * 12 * 8 * 9, 0),
    "attention layer": (attention(), (TOKENS,), *ATTENTION),
    "attention layer without weights": (attention(need_weights=False), (TOKENS,), *ATTENTION),
    "encoder layer": (
        whole(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)),
        (TOKENS,),
        ATTENTION[0] + 2 * 10 * 8 * 16,
        ATTENTION[1],
    ),
    "scaled_dot_product_attention": (
        Of(lambda m, q, k, v: F.scaled_dot_product_attention(q, k, v)),
        (rand(2, 3, 5, 8), rand(2, 3, 7, 8), rand(2, 3, 7, 4)),
        0,
        2 * 3 * 5 * 7 * (8 + 4),
    ),
    "tensordot": (Of(lambda m, x: torch.tensordot(x, x, dims=([2], [2]))), (TOKENS,), 0, 10 * 10 * 8),
    "GRU": (first(nn.GRU(8, 4, batch_first=True)), (TOKENS,), 10 * 3 * 4 * (8 + 4), 0),
    "LSTM": (first(nn.LSTM(8, 4, batch_first=True)), (TOKENS,), 10 * 4 * 4 * (8 + 4), 0),
    "LSTM, both ways, with projection": (
        first(nn.LSTM(8, 4, proj_size=3, bidirectional=True, batch_first=True)),
        (TOKENS,),
        2 * 10 * (4 * 4 * (8 + 3) + 4 * 3),
        0,
    ),
    "RNN": (first(nn.RNN(8, 4, batch_first=True)), (TOKENS,), 10 * 4 * (8 + 4), 0),
    "GRUCell": (whole(nn.GRUCell(8, 4)), (TOKENS[0],), 5 * 3 * 4 * (8 + 4), 0),
    "autograd function": (Of(lambda m, x: HiddenConvolution.apply(x, m.w), w=WEIGHT), (IMAGE,), 4 * 12 * 72, 0),
    "scripted function": (Of(lambda m, x: scripted(x, m.w), w=WEIGHT), (IMAGE,), 4 * 12 * 72, 0),
    "scripted layer": (whole(torch.jit.script(nn.Conv2d(8, 4, 3))), (IMAGE,), 4 * 12 * 72, 0),
    "scripted whole": (torch.jit.script(nn.Conv2d(8, 4, 3)), (IMAGE,), 4 * 12 * 72, 0),
    "compiled layer": (whole(torch.compile(nn.Conv2d(8, 4, 3))), (IMAGE,), 4 * 12 * 72, 0),
    "compiled whole": (torch.compile(nn.Conv2d(8, 4, 3)), (IMAGE,), 4 * 12 * 72, 0),
    "vmap": (
        Of(lambda m, x, w: torch.func.vmap(F.conv2d)(x, w)),
        (rand(2, 3, 8, 6, 5), rand(2, 4, 8, 3, 3)),
        2 * 3 * 4 * 12 * 72,
        0,
    ),
    "bilinear layer": (Of(lambda m, x: m.layer(x, x), layer=nn.Bilinear(8, 8, 3)), (TOKENS,), 10 * 3 * (8 * 8 + 8), 0),
    "baddbmm": (Of(lambda m, x: torch.baddbmm(SQUARE, x, x.mT)), (TOKENS,), 0, 2 * 5 * 5 * 8),
    "addbmm": (Of(lambda m, x: torch.addbmm(SQUARE, x, x.mT)), (TOKENS,), 0, 2 * 5 * 5 * 8),
    "addmv": (Of(lambda m, x: torch.addmv(x[0], x, x[1])), (SQUARE,), 0, 25),
    "mv": (Of(lambda m, x: torch.mv(x, x[1])), (SQUARE,), 0, 25),
    "dot": (Of(lambda m, x: torch.dot(x[0], x[1])), (SQUARE,), 0, 5),
    "vdot": (Of(lambda m, x: torch.vdot(x[0], x[1])), (SQUARE,), 0, 5),
    "inner": (Of(lambda m, x: torch.inner(x, x)), (TOKENS,), 0, 10 * 10 * 8),
    "multi_dot": (Of(lambda m, x: torch.linalg.multi_dot([x, x.t(), x])), (TOKENS[0],), 0, 2 * 5 * 5 * 8),
    "chain_matmul": (Of(lambda m, x: torch.chain_matmul(x, x.t(), x)), (TOKENS[0],), 0, 2 * 5 * 5 * 8),
    "cdist": (Of(lambda m, x: torch.cdist(x, x)), (TOKENS,), 0, 2 * 5 * 5 * 8),
    "conv_tbc": (
        Of(lambda m, x: torch.conv_tbc(x, torch.ones(3, 8, 4), torch.ones(4), 1)),
        (TOKENS,),
        2 * 5 * 24 * 4,
        0,
    ),
    "sparse by dense": (Of(lambda m, x: torch.sparse.mm(torch.eye(5).to_sparse(), x)), (TOKENS[0],), 0, 5 * 8),
    "embedding_bag with weights": (
        Of(lambda m, i, w: m.table(i, per_sample_weights=w), table=nn.EmbeddingBag(10, 4, mode="sum")),
        (torch.tensor([[1, 2, 3]]), torch.ones(1, 3)),
        3 * 4,
        0,
    ),
    "quantised linear": (whole(torch.ao.nn.quantized.dynamic.Linear(8, 4)), (TOKENS,), 10 * 8 * 4, 0),
    "complex convolution": (
        Of(
            lambda m, x: (
                F.conv2d(torch.complex(x, x), torch.complex(torch.ones(4, 8, 1, 1), torch.ones(4, 8, 1, 1))).real
            )
        ),
        (IMAGE,),
        3 * 30 * 8 * 4,
        0,
    ),
    "complex product": (
        Of(lambda m, x: (torch.complex(x, x) @ torch.complex(x, x).mT).real),
        (TOKENS,),
        0,
        4 * 2 * 5 * 5 * 8,
    ),
    "grid_sample of a volume": (
        Of(lambda m, x, grid: F.grid_sample(x, grid, align_corners=False)),
        (rand(1, 8, 3, 4, 5), torch.zeros(1, 2, 2, 2, 3)),
        0,
        8 * 8 * 8,
    ),
    "trilinear": (
        Of(lambda m, x: F.interpolate(x, scale_factor=2, mode="trilinear")),
        (rand(1, 2, 3, 4, 5),),
        0,
        8 * 960,
    ),
    "linear": (Of(lambda m, x: F.interpolate(x, scale_factor=2, mode="linear")), (TOKENS,), 0, 2 * 160),
    "antialiased": (
        Of(lambda m, x: F.interpolate(x, scale_factor=2, mode="bilinear", antialias=True)),
        (IMAGE,),
        0,
        4 * 4 * 240,
    ),
    "multi_head_attention_forward": (
        Of(
            lambda m, x: F.multi_head_attention_forward(
                x, x, x, 8, 2, m.into, None, None, None, False, 0.0, m.out, None, training=False
            )[0],
            into=nn.Parameter(torch.ones(24, 8)),
            out=nn.Parameter(torch.ones(8, 8)),
        ),
        (TOKENS,),
        4 * 10 * 64,
        2 * 5 * 2 * 2 * 8,
    ),
    "data parallel": (whole(nn.DataParallel(nn.Conv2d(8, 4, 3))), (IMAGE,), 4 * 12 * 72, 0),
    "fold of unfold": (Of(lambda m, x: F.fold(F.unfold(x, 3, padding=1), (6, 5), 3, padding=1)), (IMAGE,), 0, 0),
}


@pytest.mark.parametrize("name", list(OPERATORS))
def test_no_operator_counts_as_zero(name: str) -> None:
    module, tensors, conv, gather = OPERATORS[name]
    counted = counting.count(module.eval(), tensors)
    assert (counted.by_kind["conv"], counted.by_kind["gather"]) == (conv, gather)
    assert counted.missing == {}
    assert cross_check.disagreements(None, counted, cross_check.torch_count(module, tensors)) == []


def test_what_no_counter_knows_is_missing_and_never_zero() -> None:
    alone = counting.count(Of(lambda m, x: torch.fft.ifft2(torch.fft.fft2(x)).real), (IMAGE,))
    assert alone.missing == {"aten::_fft_c2c": 2}
    assert not alone.known
    layer = nn.Conv2d(8, 4, 1)
    beside = counting.count(Of(lambda m, x: m.layer(torch.fft.fft2(x).abs()), layer=layer), (IMAGE,))
    assert beside.missing == {"aten::_fft_c2c": 1}
    assert beside.by_kind["conv"] == 30 * 32
    assert beside.known


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_trace_and_what_ran_give_the_same_numbers(card: Any) -> None:
    s = setting_of(card, None, 4, 3)
    run = spec.load({"upsampler": card.name, "input": {"shape": [64, s.height, s.width], "batch": 2}})
    module, tensors = registry.construct(run.card, run.setting, 0, "eager").eval(), inputs.make(run, CPU)
    traced, ran = macs.count(module, tensors), dispatched.count(module, tensors)
    assert ran.by_kind == traced.by_kind
    assert ran.uncounted == {}
    assert {n: m for n, m in ran.by_op.items() if n.startswith("upbench::")} == {
        n: m for n, m in traced.by_op.items() if n.startswith("upbench::")
    }


SIZES = st.fixed_dictionaries({letter: st.integers(1, 4) for letter in "abcde"})


@st.composite
def einsums(draw: st.DrawFn) -> tuple[str, list[list[int]], list[int] | None]:
    """An equation, shapes, and the order of the contractions: None for torch's own, which is left to right."""
    sizes = draw(SIZES)
    dots = draw(st.lists(st.integers(1, 3), max_size=2)) if draw(st.booleans()) else None
    terms, shapes = [], []
    for _ in range(draw(st.integers(1, 4))):
        letters = draw(st.lists(st.sampled_from("abcde"), max_size=4))
        shape = [sizes[x] if letters.count(x) > 1 or draw(st.integers(0, 9)) else 1 for x in letters]
        if dots is not None:
            at, kept = draw(st.integers(0, len(letters))), draw(st.integers(0, len(dots)))
            letters.insert(at, "...")
            shape[at:at] = dots[len(dots) - kept :]
        terms.append("".join(letters))
        shapes.append(shape)
    used = sorted({x for term in terms for x in term if x != "."})
    equation = ",".join(terms)
    if draw(st.integers(0, 3)):
        out = draw(st.permutations(used))[: draw(st.integers(0, len(used)))]
        equation += "->" + ("..." if dots is not None else "") + "".join(out)
    path = None
    if len(terms) > 2 and draw(st.booleans()):
        path = [n for left in range(len(terms), 1, -1) for n in draw(st.permutations(range(left)))[:2]]
    return equation, shapes, path


class Ran(TorchDispatchMode):
    """What an einsum really multiplies and sums, from the operators that it is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.products = self.sums = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func._schema.name
        if name == "aten::bmm":
            self.products += args[0].numel() * args[1].shape[2]
        elif name == "aten::mul":
            self.products += out.numel()
        elif name == "aten::sum":
            self.sums += args[0].numel()
        return out


@settings(max_examples=300, deadline=None)
@given(einsums())
def test_every_einsum_is_the_products_that_run(case: tuple[str, list[list[int]], list[int] | None]) -> None:
    equation, shapes, path = case
    tensors = [torch.ones(shape) for shape in shapes]
    with Ran() as ran:
        torch._C._VariableFunctions.einsum(equation, tensors, path=path)
    steps, sums = contractions(equation, shapes, path)
    assert (sum(step.products for step in steps), sums) == (ran.products, ran.sums)


@pytest.mark.parametrize(
    ("equation", "shapes", "expected"),
    [
        ("bkhw,bckhw->bchw", [(1, 25, 13, 17), (1, 32, 25, 13, 17)], 32 * 25 * 13 * 17),
        ("bkhw,bckhw->bckhw", [(1, 25, 13, 17), (1, 32, 25, 13, 17)], 32 * 25 * 13 * 17),
        ("ij,jk,kl->il", [(2, 3), (3, 40), (40, 5)], 2 * 3 * 40 + 2 * 40 * 5),
        ("bchw,bchw->", [(1, 3, 7, 11), (1, 3, 7, 11)], 3 * 77),
        ("...c,c", [(7, 11, 3), (3,)], 7 * 11 * 3),
        ("ii,ij->j", [(7, 7), (7, 3)], 7 * 3),
    ],
)
def test_einsum_in_exact_integers(equation: str, shapes: list[tuple[int, ...]], expected: int) -> None:
    tensors = tuple(rand(*shape) for shape in shapes)
    module = Of(lambda m, *given: torch.einsum(equation, *given))
    for counted in (macs.count(module, tensors), dispatched.count(module, tensors)):
        assert counted.by_kind["gather"] == expected
    assert cross_check.disagreements(None, macs.count(module, tensors), cross_check.torch_count(module, tensors)) == []


@settings(max_examples=60, deadline=None)
@given(
    dims=st.integers(1, 3),
    transposed=st.booleans(),
    padding=st.sampled_from(["same", "valid", 0, 1, 2]),
    groups=st.integers(1, 3),
    kernel=st.integers(1, 3),
    dilation=st.integers(1, 2),
    stride=st.integers(1, 3),
    batch=st.integers(1, 2),
)
def test_every_convolution_is_its_closed_form(
    dims: int, transposed: bool, padding: str | int, groups: int, kernel: int, dilation: int, stride: int, batch: int
) -> None:
    into, out = 2 * groups, 3 * groups
    x = rand(batch, into, *(7, 8, 9)[:dims])
    common: dict[str, Any] = {"groups": groups, "dilation": dilation}
    if transposed:
        number = padding if isinstance(padding, int) else 0
        common |= {"padding": number, "stride": stride, "output_padding": min(stride, 2) - 1}
        layer = getattr(nn, f"ConvTranspose{dims}d")(into, out, kernel, **common)
    else:
        common |= {"padding": padding, "stride": 1 if padding == "same" else stride}
        layer = getattr(nn, f"Conv{dims}d")(into, out, kernel, **common)
    # A convolution reads a kernel of weights for each output position, a transposed one writes it from each input.
    positions = math.prod((x if transposed else layer(x)).shape[2:])
    expected = batch * positions * into * out // groups * kernel**dims
    module = whole(layer)
    assert counting.count(module, (x,)).by_kind["conv"] == expected
    assert dispatched.count(module, (x,)).by_kind["conv"] == expected


def test_torch_counts_a_module_that_is_given_a_view_of_a_leaf() -> None:
    """The counter's own hooks fail there without autograd."""
    module, x = Of(lambda m, x: m.layer(x.flatten(2).mT), layer=nn.Linear(8, 4)), IMAGE.clone().requires_grad_()
    assert cross_check.torch_count(module, (x,)).by_kind == {"conv": 30 * 32, "gather": 0}
