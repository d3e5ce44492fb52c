"""What every registered upsampler must do. A new card is tested because it is registered."""

from __future__ import annotations

import copy
import math
import warnings

import pytest
import torch
from torch import Tensor, nn

import upbench
from upbench import inputs, registry, spec
from upbench.cards import Card
from upbench.errors import InputError, SpecError
from upbench.measure import macs

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
