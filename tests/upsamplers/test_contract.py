"""What every registered upsampler must do. A new card is tested because it is registered."""

from __future__ import annotations

import copy
import importlib
import inspect
import itertools
import math
import warnings
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import upbench
from upbench import registry
from upbench.benchmark import inputs
from upbench.cards import Card, Setting
from upbench.errors import InputError, SpecError
from upbench.measure import macs
from upbench.measure.output import joined, maps
from upbench.specs import run_spec as spec

CARDS = list(registry.builtin().values())
by_card = pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)


def scales_of(card: Card) -> tuple[float, ...]:
    return {"any": (2, 3, 1.5, 2.5), "integer": (2, 3, 4)}.get(card.scales) or (int(card.scales),)


CASES = [(card, scale) for card in CARDS for scale in scales_of(card)]

# What a tensor or a parameter of each dtype may differ by from float32, relative to the norm.
PRECISION = {torch.bfloat16: 1e-2, torch.float16: 2e-3}


def setting_of(
    card: Card, scale: float | None = None, height: int = 5, width: int = 7, batch: int = 2, **given: object
) -> Setting:
    """A setting that the card allows: as many channels as it can divide (the square of a whole scale among them), and
    the least change of one number among its params where the defaults cannot do the scale; an input that is large enough.
    """
    scale = card.default_scale if scale is None else scale
    changes: list[dict[str, object]] = [{}]
    changes += [{p.name: n} for n in range(1, 9) for p in card.params if p.type is int and p.mistake(n) is None]
    for params, channels in itertools.product(changes, (32, 64, 32 * 9)):
        setting = registry.setting_of(card, channels, None, scale, {**params, **given})
        if not card.mistakes(setting):
            least = card.least_size(setting)
            return replace(setting, batch=batch, height=max(height, least), width=max(width, least))
    raise AssertionError(f"{card.name} cannot be built at scale {scale:g}")


def drawn(setting: Setting, card: Card) -> tuple[Tensor, ...]:
    """Random inputs of a setting's shapes."""
    generator = torch.Generator().manual_seed(0)
    x = (setting.batch, setting.channels, setting.height, setting.width)
    return tuple(torch.randn(shape, generator=generator) for shape in (x, *card.guide_shapes(setting)))


def make(
    card: Card, scale: float | None = None, height: int = 5, width: int = 7, batch: int = 2, **params: object
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A module away from its initialisation (which is often zero), in evaluation, and random inputs."""
    setting = setting_of(card, scale, height, width, batch, **params)
    module = registry.construct(card, setting, seed=1).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return module, drawn(setting, card)


def tolerance(card: Card, module: nn.Module, tensors: tuple[Tensor, ...], expected: Tensor) -> float:
    """What bfloat16 may differ by. Where the card says that rounding moves the result: twice what float32 makes of weights
    and inputs that are only rounded, which no computation could avoid."""
    if card.rounding is None:
        return PRECISION[torch.bfloat16]
    rounded = copy.deepcopy(module).bfloat16().float()
    moved = distance(rounded(*(t.bfloat16().float() for t in tensors)), expected)
    return max(PRECISION[torch.bfloat16], 2 * moved)


def distance(out: object, expected: Tensor) -> float:
    return float((joined(out).float() - expected).norm() / expected.norm())


def wide(card: Card) -> int:
    """The width of an input whose output is 512 wide: half precision cannot name its pixels."""
    return 512 // card.default_scale


@pytest.mark.parametrize(("card", "scale"), CASES, ids=lambda v: getattr(v, "name", str(v)))
def test_output_shapes_and_dtype(card: Card, scale: float) -> None:
    module, tensors = make(card, scale)
    out = maps(module(*tensors))
    b, _, h, w = tensors[0].shape
    channels = card.output_channels(setting_of(card, scale))
    assert out[0].shape == (b, channels, math.floor(h * scale), math.floor(w * scale))
    assert len(out) == len(card.outputs)
    assert all(each.dtype == tensors[0].dtype and torch.isfinite(each).all() for each in out)


@by_card
def test_gradients_reach_inputs_and_every_parameter_that_lives(card: Card) -> None:
    module, tensors = make(card)
    module.train()
    x, *guides = (t.requires_grad_() for t in tensors)
    out = joined(module(x, *guides))
    (out * torch.randn(out.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    for tensor in [x, *guides] if card.guide_gradient else [x]:
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()
        assert tensor.grad.abs().max() > 0
    if not card.guide_gradient:
        assert all(guide.grad is None or guide.grad.abs().max() == 0 for guide in guides)
    without = {name for name, p in module.named_parameters() if p.grad is None}
    assert without == set(card.dead_parameters(setting_of(card)))


@by_card
def test_dead_parameters_have_no_effect(card: Card) -> None:
    """The other half of the promise: what is named dead may be anything."""
    module, tensors = make(card)
    expected = joined(module(*tensors))
    own = dict(module.named_parameters())
    with torch.no_grad():
        for name in card.dead_parameters(setting_of(card)):
            own[name].normal_()
    assert torch.equal(joined(module(*tensors)), expected)


@by_card
def test_a_sample_depends_on_others_only_where_the_card_says_so(card: Card) -> None:
    module, tensors = make(card, batch=3)
    together = joined_samples(module(*tensors))
    alone = [joined_samples(module(*(t[n : n + 1] for t in tensors))) for n in range(3)]
    alike = [torch.allclose(one[0], together[n], rtol=1e-4, atol=1e-5) for n, one in enumerate(alone)]
    assert all(alike) if card.batch_independent else not all(alike)


def joined_samples(out: object) -> Tensor:
    """What a module returned, one row a sample."""
    return torch.cat([each.flatten(1) for each in maps(out)], 1)


@by_card
def test_the_seed_decides_the_weights(card: Card) -> None:
    setting = setting_of(card)
    first, second, other = (registry.construct(card, setting, seed=s).state_dict() for s in (3, 3, 4))
    assert all(torch.equal(first[key], second[key]) for key in first)
    random = [key for key in first if key.endswith("weight") and first[key].numel() > 64 and first[key].std() > 0]
    assert all(not torch.equal(first[key], other[key]) for key in random)


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
    setting = replace(setting_of(card), height=size[0], width=size[1])
    module = registry.construct(card, setting).eval()
    if min(size) < card.least_size(setting):
        assert any("needs at least" in sentence for sentence in card.size_mistakes(setting))
        with pytest.raises(InputError, match="needs at least"):
            module(*drawn(setting, card))
    else:
        assert all(torch.isfinite(each).all() for each in maps(module(*drawn(setting, card))))


@by_card
def test_the_least_size_is_enough(card: Card) -> None:
    setting = setting_of(card, height=1, width=1)
    assert setting.height == setting.width == card.least_size(setting)
    assert torch.isfinite(joined(registry.construct(card, setting).eval()(*drawn(setting, card)))).all()


def backends_of(card: Card) -> tuple[str, ...]:
    return ("auto", "eager", "fused") if card.fused else ("auto", "eager")


@by_card
@pytest.mark.parametrize("size", [(5, 7), (1, 1), (14, 14)])
def test_a_batch_of_no_images(card: Card, size: tuple[int, int]) -> None:
    """As torch's own layers: an empty map, and gradients of zero for every input and parameter."""
    setting = replace(setting_of(card, None, *size), batch=0)
    expected = (0, card.output_channels(setting), setting.out_height, setting.out_width)
    for backend in backends_of(card):
        module = registry.construct(card, setting, 1, backend)
        for training in (False, True):
            kept = copy.deepcopy(module.train(training).state_dict())
            leaves = [t.requires_grad_() for t in drawn(setting, card)]
            with torch.no_grad():
                assert maps(module(*leaves))[0].shape == expected
            out = maps(module(*leaves))
            assert out[0].shape == expected
            assert out[0].dtype == leaves[0].dtype
            joined(out).square().sum().backward()
            for tensor in (*leaves, *module.parameters()):
                assert tensor.grad is not None
                assert tensor.grad.shape == tensor.shape
                assert not tensor.grad.any()
            assert all(torch.equal(kept[key], value) for key, value in module.state_dict().items())
    x, *guides = leaves
    less = (expected[2] - 1, expected[3])
    sizes = module.guide_sizes(x.shape[2:], less)
    cropped = [g if s is None else torch.randn(0, g.shape[1], *s) for g, s in zip(guides, sizes, strict=True)]
    assert maps(module(x, *cropped, size=less))[0].shape[2] == expected[2] - 1


@by_card
def test_one_image_of_the_least_size(card: Card) -> None:
    """Of one pixel, mostly: forward and backward in every backend, in evaluation and in training; alone it is what it
    is among others."""
    for backend in backends_of(card):
        module, tensors = make(card, None, 1, 1)
        if card.fused:
            module.backend = backend
        one = tuple(t[:1] for t in tensors)
        for grad in (True, False) if card.batch_independent else ():
            with torch.set_grad_enabled(grad):
                first = joined_samples(module(*tensors))[:1]
                torch.testing.assert_close(joined_samples(module(*one)), first, rtol=1e-4, atol=1e-5)
        if not any(isinstance(m, nn.BatchNorm2d) for m in module.modules()):  # in training it needs more than one value
            leaves = [t.requires_grad_() for t in one]
            joined(module.train()(*leaves)).sum().backward()
            assert all(torch.isfinite(t.grad).all() for t in leaves if t.grad is not None)


@by_card
def test_maps_without_rows_are_refused(card: Card) -> None:
    module, (x, *guides) = make(card)
    with pytest.raises(InputError, match="at least one row and one column"):
        module(x[:, :, :0], *(g[:, :, :0] for g in guides))


@by_card
def test_a_model_in_channels_last(card: Card) -> None:
    """Parameters of five dimensions included: their shape and the state dict stay."""
    module, tensors = make(card)
    expected, kept = joined(module(*tensors)), copy.deepcopy(module.state_dict())
    model = nn.Sequential(nn.Conv2d(3, 32, 1), module).to(memory_format=torch.channels_last)
    assert {key: value.shape for key, value in module.state_dict().items()} == {k: v.shape for k, v in kept.items()}
    assert all(torch.equal(value, kept[key]) for key, value in module.state_dict().items())
    four = [p for p in module.parameters() if p.dim() == 4]
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in four)
    lying = tuple(t.contiguous(memory_format=torch.channels_last) for t in tensors)
    torch.testing.assert_close(joined(module(*lying)), expected, rtol=1e-4, atol=1e-5)
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
    expected = joined(module(*tensors))
    for lying in zip(*(orders(t) for t in tensors), strict=True):
        torch.testing.assert_close(joined(module(*lying)), expected, rtol=1e-4, atol=1e-5)
        with torch.no_grad():
            torch.testing.assert_close(joined(module(*lying)), expected, rtol=1e-4, atol=1e-5)


@by_card
@pytest.mark.parametrize("training", [False, True])
def test_group_norm_is_given_contiguous_rows(card: Card, training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In other memory orders the gradient of torch 2.13 can end the process."""
    norms = {p.name: True for p in card.params if p.name == "norm"}
    height, width = (4, 6) if card.default_scale < 16 else (2, 3)
    module, tensors = make(card, None, height, width, **norms)
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
            torch.manual_seed(0)  # of dropout
            with torch.set_grad_enabled(training):
                results.append(joined(module.train(training)(*lying)))
    assert all(x.is_contiguous() and x.dim() == 3 for x in given)
    assert bool(given) or not any(isinstance(m, nn.GroupNorm) for m in module.modules())
    for out in results[1:]:
        torch.testing.assert_close(out, results[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("card", [card for card in CARDS if card.guided], ids=lambda card: card.name)
@pytest.mark.parametrize("dtypes", [(torch.float16, torch.float32), (torch.float32, torch.float16)], ids=str)
def test_two_dtypes_are_not_called_a_wish_for_a_backend(card: Card, dtypes: tuple[torch.dtype, torch.dtype]) -> None:
    """Automatic choice never says that fused was asked for: it computes, or names the dtypes."""
    module, (x, *guides) = make(card)
    tensors = (x.to(dtypes[0]), *(guide.to(dtypes[1]) for guide in guides))
    for grad in (False, True):
        try:
            with torch.set_grad_enabled(grad):
                assert maps(module(*tensors))[0].dtype == dtypes[0]
        except (InputError, RuntimeError) as error:
            said = str(error)
            assert "asked" not in said
            assert "float" in said.lower()
            assert "half" in said.lower() or "float16" in said


@by_card
def test_wrong_inputs_are_one_sentence(card: Card) -> None:
    module, (x, *guides) = make(card)
    with pytest.raises(InputError, match=rf"takes \[batch, {x.shape[1]}, height, width\]"):
        module(x[:, :3], *guides)
    with pytest.raises(InputError, match="takes"):
        module(x[0], *guides)
    if not guides:
        with pytest.raises(InputError, match="takes no guide"):
            module(x, x)
    for n, guide in enumerate(guides):
        with pytest.raises(InputError, match=r"needs (a guide|2 guides)"):
            module(x, *guides[:n])
        with pytest.raises(InputError, match="but takes"):
            module(x, *guides[:n], guide[:, :2], *guides[n + 1 :])
        if module.guide_sizes(x.shape[2:], (1, 1))[n] is not None:
            with pytest.raises(InputError, match=r"pass size|resize it"):
                module(x, *guides[:n], guide[:, :, :-1], *guides[n + 1 :])


@by_card
@pytest.mark.parametrize("change", [(-1, -1), (0, 0), (1, 1), (-1, 1)])
def test_another_output_size(card: Card, change: tuple[int, int]) -> None:
    """The levels of a pyramid over odd sizes: at scale 2, 5x7 becomes anything from 9x13 to 11x15."""
    module, (x, *guides) = make(card)
    whole = tuple(card.default_scale * n for n in x.shape[2:])
    size = (whole[0] + change[0], whole[1] + change[1])

    def resized(size: tuple[int, int]) -> list[Tensor]:
        wanted = module.guide_sizes(x.shape[2:], size)
        return [g if s is None else torch.randn(*g.shape[:2], *s) for g, s in zip(guides, wanted, strict=True)]

    others = resized(size)
    out = maps(module(x, *others, size=size))
    assert out[0].shape[2:] == size
    if change == (0, 0):
        torch.testing.assert_close(joined(out), joined(module(x, *others)))
    far = (whole[0] + 3 * card.default_scale, whole[1])
    if card.any_size:
        assert maps(module(x, *resized(far), size=far))[0].shape[2:] == far
        module.output_size = far
        assert maps(module(x, *resized(far)))[0].shape[2:] == far
    else:
        with pytest.raises(InputError, match="more than one low-resolution pixel"):
            module(x, *resized(far), size=far)


@by_card
def test_state_dict_round_trip(card: Card) -> None:
    module, tensors = make(card)
    fresh = registry.construct(card, setting_of(card), seed=5).eval()
    upbench.load_weights(fresh, copy.deepcopy(module.state_dict()))
    assert torch.equal(joined(fresh(*tensors)), joined(module(*tensors)))


@by_card
@pytest.mark.parametrize("dtype", list(PRECISION), ids=str)
def test_half_precision_at_width_256(card: Card, dtype: torch.dtype) -> None:
    """A grid in bfloat16 cannot name the pixels of a wide map: the releases are 20 % off here."""
    module, tensors = make(card, height=3, width=wide(card), batch=1)
    module, tensors = module.to(dtype), tuple(t.to(dtype) for t in tensors)
    with torch.no_grad():
        half = joined(module(*tensors))
        # The reference has the same rounded weights and inputs, so that only the computation is judged.
        expected = joined(module.float()(*(t.float() for t in tensors)))
    assert half.dtype == dtype
    assert (half.float() - expected).norm() / expected.norm() <= PRECISION[dtype]


@by_card
def test_bfloat16_at_initialisation(card: Card) -> None:
    """Rounding of weights and inputs included."""
    module = registry.construct(card, setting_of(card), seed=1).eval()
    _, tensors = make(card, height=3, width=wide(card), batch=1)
    with torch.no_grad():
        expected = joined(module(*tensors))
        allowed = tolerance(card, module, tensors, expected)
        half = module.bfloat16()(*(t.bfloat16() for t in tensors))
    assert distance(half, expected) <= allowed


@by_card
def test_autocast(card: Card) -> None:
    """Of few channels inside: under autocast torch's own convolutions in bfloat16 are slow on many processors."""
    narrow = {p.name: 64 for p in card.params if p.name == "dim"}
    module, tensors = make(card, height=3, width=wide(card), batch=1, **narrow)
    with torch.no_grad():
        expected = joined(module(*tensors))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = module(*tensors)
        assert distance(out, expected) <= tolerance(card, module, tensors, expected)


@pytest.mark.parametrize("card", [card for card in CARDS if card.rounding], ids=lambda card: card.name)
def test_only_methods_that_rounding_moves_have_a_wider_tolerance(card: Card) -> None:
    module, tensors = make(card, height=3, width=wide(card), batch=1)
    with torch.no_grad():
        expected = joined(module(*tensors))
        assert tolerance(card, module, tensors, expected) > PRECISION[torch.bfloat16]


@by_card
def test_closed_forms_equal_the_module_and_the_counter(card: Card) -> None:
    setting = setting_of(card, scales_of(card)[-1])
    shape = [setting.channels, setting.height, setting.width]
    written = {"upsampler": card.name, "scale": setting.scale, "params": dict(setting.params)}
    run = spec.load({**written, "input": {"shape": shape, "batch": 2}})
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
        module = registry.construct(card, setting_of(card))
    assert all(p.is_meta for p in module.parameters())


@by_card
def test_compiles_without_a_graph_break(card: Card) -> None:
    torch.compiler.reset()
    module, tensors = make(card)
    with torch.no_grad():
        out = torch.compile(module, fullgraph=True, backend="aot_eager")(*tensors)
        torch.testing.assert_close(joined(out), joined(module(*tensors)), rtol=1e-4, atol=1e-5)


@by_card
def test_exports_with_every_size_dynamic(card: Card) -> None:
    """The number of images as well as their size."""
    # In float64: some methods make of an input's last bit a thousand times as much.
    module, tensors = make(card, None, 6, 8, batch=2)
    module, tensors = module.double(), tuple(t.double() for t in tensors)
    least = max(2, card.least_size(setting_of(card)))
    batch = torch.export.Dim("batch", min=2, max=64)
    height, width = torch.export.Dim("height", min=least, max=512), torch.export.Dim("width", min=least, max=512)
    # The sides of every guide are whole multiples of those of x.
    ratios = [[g // n for g, n in zip(t.shape[2:], tensors[0].shape[2:], strict=True)] for t in tensors]
    dims = [{0: batch, 2: a * height if a > 1 else height, 3: b * width if b > 1 else width} for a, b in ratios]
    arguments = dict(zip(("x", "guide", "second_guide"), tensors, strict=False))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(module, (), arguments, dynamic_shapes=dict(zip(arguments, dims, strict=True)))
    others = tuple(t.double() for t in make(card, None, 5, 9, batch=3)[1])
    out = program.module()(**dict(zip(arguments, others, strict=True)))
    torch.testing.assert_close(joined(out), joined(module(*others)), rtol=1e-4, atol=1e-5)


@by_card
def test_card_says_what_a_user_needs(card: Card) -> None:
    assert card.summary
    assert all(param.doc for param in card.params)
    assert all(param.mistake(param.default) is None for param in card.params)
    assert card.scales in ("any", "integer") or card.only_scale == int(card.scales)
    if card.paper is not None:
        assert card.notes
        assert card.paper.year


@by_card
def test_scales_that_it_cannot_do_are_refused(card: Card) -> None:
    wrong = {"any": 0.5, "integer": 1.5}.get(card.scales, card.default_scale + 1)
    with pytest.raises(SpecError, match="scale is"):
        upbench.build(card.name, 32, wrong)


@by_card
def test_defaults_of_the_constructor_are_those_of_the_card(card: Card) -> None:
    module, name = card.module.split(":")
    parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    leading = ["channels", "guide_channels", "scale"] if card.guided else ["channels", "scale"]
    assert list(parameters)[: len(leading)] == leading
    assert parameters["scale"].default == card.default_scale
    keywords = {name: p.default for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    assert len(keywords) == len(parameters) - len(leading)
    assert {*card.defaults(), *card.fixed} <= set(keywords)
    # A class with several cards has the defaults of the one that fixes nothing but its defaults: dysample, fade.
    if all(keywords[name] in (value, inspect.Parameter.empty) for name, value in card.fixed.items()):
        ours = {name: keywords[name] for name in card.defaults()}
        assert ours == card.defaults()
        assert list(map(type, ours.values())) == list(map(type, card.defaults().values()))
