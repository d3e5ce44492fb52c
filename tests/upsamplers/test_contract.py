"""What every registered upsampler must do. A new card is tested because it is registered."""

from __future__ import annotations

import copy
import importlib
import inspect
import math
import warnings

import pytest
import torch
from torch import Tensor, nn

import upbench
from upbench import registry
from upbench.benchmark import inputs
from upbench.cards import Card
from upbench.errors import InputError, SpecError
from upbench.measure import macs
from upbench.specs import run_spec as spec

CARDS = list(registry.builtin().values())
by_card = pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
SCALES = {"any": (2, 3, 1.5, 2.5), "integer": (2, 3, 4), "2": (2,)}
CASES = [(card, scale) for card in CARDS for scale in SCALES[card.scales]]

# What a tensor or a parameter of each dtype may differ by from float32, relative to the norm.
PRECISION = {torch.bfloat16: 1e-2, torch.float16: 2e-3}


def channels_for(card: Card, scale: float) -> int:
    """Channels that every method can divide: groups, group norms of 32, and the square of a whole scale."""
    return 32 * 9 if scale == 3 else 32


def params_for(card: Card, scale: float) -> dict[str, object]:
    """What must be set for a scale to be possible: a deconvolution's kernel reaches every output pixel."""
    return {"kernel": 4} if card.name == "deconv" and scale == 4 else {}


def make(
    card: Card, scale: float = 2, height: int = 5, width: int = 7, batch: int = 2, **params: object
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A module away from its initialisation (which is often zero), in evaluation, and random inputs."""
    channels = channels_for(card, scale)
    module = upbench.build(card.name, channels, scale, seed=1, **params_for(card, scale), **params).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    shapes = [(batch, channels, height, width)]
    if card.guided:
        shapes.append((batch, channels, math.floor(height * scale), math.floor(width * scale)))
    return module, tuple(torch.randn(shape, generator=generator) for shape in shapes)


@pytest.mark.parametrize(("card", "scale"), CASES, ids=lambda v: getattr(v, "name", str(v)))
def test_output_shape_and_dtype(card: Card, scale: float) -> None:
    module, tensors = make(card, scale)
    out = module(*tensors)
    b, c, h, w = tensors[0].shape
    assert out.shape == (b, c, math.floor(h * scale), math.floor(w * scale))
    assert out.dtype == tensors[0].dtype
    assert torch.isfinite(out).all()


@by_card
def test_gradients_reach_inputs_and_every_parameter(card: Card) -> None:
    module, tensors = make(card)
    module.train()
    leaves = [t.requires_grad_() for t in tensors]
    out = module(*leaves)
    (out * torch.randn(out.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    for tensor in leaves:
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()
        assert tensor.grad.abs().max() > 0
    without = {name for name, p in module.named_parameters() if p.grad is None}
    assert without == set()


@by_card
def test_batch_is_independent(card: Card) -> None:
    module, tensors = make(card, batch=3)
    together = module(*tensors)
    for n in range(3):
        torch.testing.assert_close(module(*(t[n : n + 1] for t in tensors)), together[n : n + 1], rtol=1e-4, atol=1e-5)


@by_card
def test_the_seed_decides_the_weights(card: Card) -> None:
    first, second, other = (upbench.build(card.name, 32, seed=s).state_dict() for s in (3, 3, 4))
    assert all(torch.equal(first[key], second[key]) for key in first)
    drawn = [key for key in first if key.endswith("weight") and first[key].numel() > 64 and first[key].std() > 0]
    assert all(not torch.equal(first[key], other[key]) for key in drawn)


@by_card
def test_a_seed_leaves_the_global_generator_alone(card: Card) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    upbench.build(card.name, 32, seed=9)
    assert torch.equal(torch.rand(1), expected)


@by_card
@pytest.mark.parametrize("size", [(1, 1), (1, 6), (6, 1)])
def test_single_rows_and_columns(card: Card, size: tuple[int, int]) -> None:
    module, tensors = make(card, 2, *size)
    assert torch.isfinite(module(*tensors)).all()


def backends_of(card: Card) -> tuple[str, ...]:
    return ("auto", "eager", "fused") if card.fused else ("auto", "eager")


@by_card
@pytest.mark.parametrize("size", [(5, 7), (1, 1), (14, 14)])
def test_a_batch_of_no_images(card: Card, size: tuple[int, int]) -> None:
    """As torch's own layers: an empty map, and gradients of zero for every input and parameter."""
    shapes = [(0, 32, *size), *([(0, 32, 2 * size[0], 2 * size[1])] * card.guided)]
    for backend in backends_of(card):
        module = upbench.build(card.name, 32, seed=1, backend=backend)
        for training in (False, True):
            kept = copy.deepcopy(module.train(training).state_dict())
            leaves = [torch.randn(shape, requires_grad=True) for shape in shapes]
            with torch.no_grad():
                assert module(*leaves).shape == (0, 32, 2 * size[0], 2 * size[1])
            out = module(*leaves)
            assert out.shape == (0, 32, 2 * size[0], 2 * size[1])
            assert out.dtype == leaves[0].dtype
            out.square().sum().backward()
            for tensor in (*leaves, *module.parameters()):
                assert tensor.grad is not None
                assert tensor.grad.shape == tensor.shape
                assert not tensor.grad.any()
            assert all(torch.equal(kept[key], value) for key, value in module.state_dict().items())
    x, *guide = leaves
    cropped = (torch.randn(0, 32, 2 * size[0] - 1, 2 * size[1]),) if guide else ()
    assert module(x, *cropped, size=(2 * size[0] - 1, 2 * size[1])).shape[2] == 2 * size[0] - 1


@by_card
def test_one_image_of_one_pixel(card: Card) -> None:
    """Forward and backward in every backend, in evaluation and in training; alone it is what it is among others."""
    for backend in backends_of(card):
        module, tensors = make(card, 2, 1, 1)
        if card.fused:
            module.backend = backend
        torch.testing.assert_close(module(*(t[:1] for t in tensors)), module(*tensors)[:1], rtol=1e-4, atol=1e-5)
        with torch.no_grad():
            torch.testing.assert_close(module(*(t[:1] for t in tensors)), module(*tensors)[:1], rtol=1e-4, atol=1e-5)
        if card.name != "indexnet":  # a batch norm in training needs more than one value
            leaves = [t[:1].requires_grad_() for t in tensors]
            module.train()(*leaves).sum().backward()
            assert all(torch.isfinite(t.grad).all() for t in leaves)


@by_card
def test_maps_without_rows_are_refused(card: Card) -> None:
    module, (x, *guide) = make(card)
    with pytest.raises(InputError, match="at least one row and one column"):
        module(x[:, :, :0], *(g[:, :, :0] for g in guide))


@by_card
def test_a_model_in_channels_last(card: Card) -> None:
    """Parameters of five dimensions included: their shape and the state dict stay."""
    module, tensors = make(card)
    expected, kept = module(*tensors), copy.deepcopy(module.state_dict())
    model = nn.Sequential(nn.Conv2d(3, 32, 1), module).to(memory_format=torch.channels_last)
    assert {key: value.shape for key, value in module.state_dict().items()} == {k: v.shape for k, v in kept.items()}
    assert all(torch.equal(value, kept[key]) for key, value in module.state_dict().items())
    four = [p for p in module.parameters() if p.dim() == 4]
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in four)
    lying = tuple(t.contiguous(memory_format=torch.channels_last) for t in tensors)
    torch.testing.assert_close(module(*lying), expected, rtol=1e-4, atol=1e-5)
    model.half().to(memory_format=torch.channels_last)
    assert {p.dtype for p in model.parameters()} == {torch.float16}
    model.to(memory_format=torch.contiguous_format).double()
    assert all(p.is_contiguous() for p in module.parameters() if p.dim() == 4)


def orders(x: Tensor) -> list[Tensor]:
    """The same map as it may lie in memory: channels last, transposed, every second row of a larger one, expanded."""
    wide = torch.zeros(x.shape[0], x.shape[1], 2 * x.shape[2], x.shape[3])
    wide[:, :, ::2] = x
    return [
        x,
        x.contiguous(memory_format=torch.channels_last),
        x.transpose(2, 3).contiguous().transpose(2, 3),
        x.transpose(0, 1).contiguous().transpose(0, 1),
        wide[:, :, ::2],
    ]


@by_card
def test_memory_order_changes_no_value(card: Card) -> None:
    module, tensors = make(card)
    expected = module(*tensors)
    for lying in zip(*(orders(t) for t in tensors), strict=True):
        torch.testing.assert_close(module(*lying), expected, rtol=1e-4, atol=1e-5)
        with torch.no_grad():
            torch.testing.assert_close(module(*lying), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["sapa-b", "sapa-d", "a2u", "resfu"])
@pytest.mark.parametrize("training", [False, True])
def test_group_norm_is_given_contiguous_rows(name: str, training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In other memory orders the gradient of torch 2.13 can end the process."""
    params = {"norm": True} if name == "sapa-d" else {}
    module, tensors = make(registry.get(name), 2, 4, 6, **params)
    given: list[Tensor] = []

    def spy(x: Tensor, *others: object) -> Tensor:
        given.append(x)
        return real(x, *others)

    real = torch.nn.functional.group_norm
    monkeypatch.setattr(torch.nn.functional, "group_norm", spy)
    results = []
    for lying in zip(*(orders(t) for t in tensors), strict=True):
        for backend in ("auto", "eager"):
            module.backend = backend
            with torch.set_grad_enabled(training):
                results.append(module.train(training)(*lying))
    assert given
    assert all(x.is_contiguous() and x.dim() == 3 for x in given)
    for out in results[1:]:
        torch.testing.assert_close(out, results[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [card.name for card in CARDS if card.guided])
@pytest.mark.parametrize("dtypes", [(torch.float16, torch.float32), (torch.float32, torch.float16)], ids=str)
def test_two_dtypes_are_not_called_a_wish_for_a_backend(name: str, dtypes: tuple[torch.dtype, torch.dtype]) -> None:
    """Automatic choice never says that fused was asked for: it computes, or names the dtypes."""
    module, tensors = make(registry.get(name))
    tensors = tuple(t.to(dtype) for t, dtype in zip(tensors, dtypes, strict=True))
    for grad in (False, True):
        try:
            with torch.set_grad_enabled(grad):
                assert module(*tensors).dtype == dtypes[0]
        except (InputError, RuntimeError) as error:
            said = str(error)
            assert "asked" not in said
            assert "float" in said.lower()
            assert "half" in said.lower() or "float16" in said


def test_what_is_compared_must_have_one_dtype() -> None:
    module = upbench.build("sapa-i", 32)
    x, guide = torch.randn(1, 32, 4, 4), torch.randn(1, 32, 8, 8)
    with pytest.raises(InputError, match="a query with keys, which must have one dtype, but are float32 and float16"):
        module(x.half(), guide)
    with torch.autocast("cpu", dtype=torch.bfloat16):  # the way out that the message names
        assert module(x.bfloat16(), guide).shape == (1, 32, 8, 8)
    assert module(x.half(), guide.half()).dtype == torch.float16


@by_card
def test_wrong_inputs_are_one_sentence(card: Card) -> None:
    module, (x, *guide) = make(card)
    with pytest.raises(InputError, match=r"takes \[batch, 32, height, width\]"):
        module(x[:, :3], *guide)
    with pytest.raises(InputError, match="takes"):
        module(x[0], *guide)
    if card.guided:
        with pytest.raises(InputError, match="needs a guide"):
            module(x)
        with pytest.raises(InputError, match="pass size"):
            module(x, guide[0][:, :, :-1])
        with pytest.raises(InputError, match="but takes"):
            module(x, guide[0][:, :3])
    else:
        with pytest.raises(InputError, match="takes no guide"):
            module(x, x)


@by_card
@pytest.mark.parametrize("size", [(9, 13), (10, 14), (11, 15), (9, 15)])
def test_another_output_size(card: Card, size: tuple[int, int]) -> None:
    """The levels of a pyramid over odd sizes: 5x7 becomes anything from 9x13 to 11x15."""
    module, (x, *_) = make(card)
    guide = (torch.randn(2, 32, *size),) if card.guided else ()
    out = module(x, *guide, size=size)
    assert out.shape[2:] == size
    if size == (10, 14):
        torch.testing.assert_close(out, module(x, *guide))
    with pytest.raises(InputError, match="more than one low-resolution pixel"):
        module(x, *guide, size=(17, 14))


@by_card
def test_state_dict_round_trip(card: Card) -> None:
    module, tensors = make(card)
    fresh = upbench.build(card.name, 32, seed=5).eval()
    upbench.load_weights(fresh, copy.deepcopy(module.state_dict()))
    assert torch.equal(fresh(*tensors), module(*tensors))


@by_card
@pytest.mark.parametrize("dtype", list(PRECISION), ids=str)
def test_half_precision_at_width_256(card: Card, dtype: torch.dtype) -> None:
    """A grid in bfloat16 cannot name the pixels of a wide map: the releases are 20 % off here."""
    module, tensors = make(card, height=3, width=256, batch=1)
    module, tensors = module.to(dtype), tuple(t.to(dtype) for t in tensors)
    with torch.no_grad():
        half = module(*tensors)
        # The reference has the same rounded weights and inputs, so that only the computation is judged.
        expected = module.float()(*(t.float() for t in tensors))
    assert half.dtype == dtype
    assert (half.float() - expected).norm() / expected.norm() <= PRECISION[dtype]


@by_card
def test_bfloat16_at_initialisation(card: Card) -> None:
    """Rounding of weights and inputs included."""
    module = upbench.build(card.name, 32, seed=1).eval()
    _, tensors = make(card, height=3, width=256, batch=1)
    with torch.no_grad():
        expected = module(*tensors)
        half = module.bfloat16()(*(t.bfloat16() for t in tensors))
    assert (half.float() - expected).norm() / expected.norm() <= PRECISION[torch.bfloat16]


@by_card
def test_autocast(card: Card) -> None:
    module, tensors = make(card, height=3, width=256, batch=1)
    with torch.no_grad():
        expected = module(*tensors)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = module(*tensors)
    assert (out.float() - expected).norm() / expected.norm() <= PRECISION[torch.bfloat16]


@by_card
def test_closed_forms_equal_the_module_and_the_counter(card: Card) -> None:
    scale = SCALES[card.scales][-1]
    shape = [channels_for(card, scale), 5, 7]
    params = params_for(card, scale)
    run = spec.load({"upsampler": card.name, "scale": scale, "params": params, "input": {"shape": shape, "batch": 2}})
    module = registry.construct(card, run.setting)
    assert card.count_params is not None
    assert card.count_macs is not None
    assert sum(p.numel() for p in module.parameters()) == card.count_params(run.setting)
    counted = macs.count(module.eval(), inputs.make(run, torch.device("cpu")))
    declared = card.count_macs(run.setting)
    assert (counted.by_kind["conv"], counted.by_kind["gather"]) == (declared.conv, declared.gather)
    assert counted.uncounted == {}


@by_card
def test_builds_on_the_meta_device(card: Card) -> None:
    with torch.device("meta"):
        module = upbench.build(card.name, 32)
    assert all(p.is_meta for p in module.parameters())


@by_card
def test_compiles_without_a_graph_break(card: Card) -> None:
    torch.compiler.reset()
    module, tensors = make(card)
    with torch.no_grad():
        out = torch.compile(module, fullgraph=True, backend="aot_eager")(*tensors)
        torch.testing.assert_close(out, module(*tensors), rtol=1e-4, atol=1e-5)


@by_card
def test_exports_with_dynamic_height_and_width(card: Card) -> None:
    module, tensors = make(card, 2, 6, 8, batch=1)
    height, width = torch.export.Dim("height", min=2, max=512), torch.export.Dim("width", min=2, max=512)
    dims = [{2: height, 3: width}] + [{2: 2 * height, 3: 2 * width}] * card.guided
    arguments = dict(zip(("x", "guide"), tensors, strict=False))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(module, (), arguments, dynamic_shapes=dict(zip(arguments, dims, strict=True)))
    _, others = make(card, 2, 5, 9, batch=1)
    out = program.module()(**dict(zip(arguments, others, strict=True)))
    torch.testing.assert_close(out, module(*others), rtol=1e-4, atol=1e-5)


@by_card
def test_card_says_what_a_user_needs(card: Card) -> None:
    assert card.summary
    assert all(param.doc for param in card.params)
    assert all(param.mistake(param.default) is None for param in card.params)
    assert card.scales in SCALES
    if card.paper is not None:
        assert card.notes
        assert card.paper.year


@by_card
def test_scales_that_it_cannot_do_are_refused(card: Card) -> None:
    wrong = {"any": 0.5, "integer": 1.5, "2": 3}[card.scales]
    with pytest.raises(SpecError, match="scale is"):
        upbench.build(card.name, 32, wrong)


@by_card
def test_defaults_of_the_constructor_are_those_of_the_card(card: Card) -> None:
    module, name = card.module.split(":")
    parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    leading = ["channels", "guide_channels", "scale"] if card.guided else ["channels", "scale"]
    assert list(parameters)[: len(leading)] == leading
    assert parameters["scale"].default == 2
    keywords = {name: p.default for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    assert len(keywords) == len(parameters) - len(leading)
    assert {*card.defaults(), *card.fixed} <= set(keywords)
    # A class with several cards has the defaults of the one that fixes nothing but its defaults: dysample, fade.
    if all(keywords[name] in (value, inspect.Parameter.empty) for name, value in card.fixed.items()):
        ours = {name: keywords[name] for name in card.defaults()}
        assert ours == card.defaults()
        assert list(map(type, ours.values())) == list(map(type, card.defaults().values()))
