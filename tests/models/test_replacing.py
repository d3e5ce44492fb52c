"""Finding and replacing the upsampling of models: what is found, what stays as it was, what is refused."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import upbench
from tests.models.hosts import Head, Neck, Odd, Segmenter, image, segmenter
from upbench.errors import InputError, SpecError, UpbenchError
from upbench.models import answering, repeating

pytestmark = pytest.mark.filterwarnings("ignore")


def out(model: nn.Module, *inputs: Any) -> Tensor:
    with torch.no_grad():
        return model(*inputs)


def levels(height: int = 16, width: int = 12) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(2)
    return tuple(
        torch.randn((1, channels, height // s, width // s), generator=generator)
        for channels, s in ((16, 1), (16, 2), (32, 4))
    )


def test_sites_of_a_segmenter_have_owner_number_shapes_and_guides() -> None:
    found = upbench.sites(segmenter(), image())
    assert [site.name for site in found] == ["head:0", "head:1", "model:0"]
    assert [(site.input[1:], site.output[1:], site.scale) for site in found[:2]] == [
        ((16, 4, 3), (16, 8, 6), 2),
        ((16, 8, 6), (16, 16, 12), 2),
    ]
    assert [str(site.guide) for site in found[:2]] == ["child laterals.1 (16)", "child laterals.0 (16)"]
    assert [site.kind for site in found] == ["feature map", "feature map", "prediction"]
    assert "head:0" in found.to_markdown()
    assert list(found.to_dataframe()["site"]) == ["head:0", "head:1", "model:0"]


def test_every_kind_of_call_that_is_no_feature_map_is_named() -> None:
    found = upbench.sites(Odd(), image(16, 16))
    kinds = [site.kind for site in found]
    assert kinds == [
        *("image", "parameters", "identity", "downsampling", "feature map", "pooled map", "learned", "one channel"),
        "prediction",
    ]
    assert all(site.why_not for site in found if not site.learnable)


def test_one_module_that_is_called_several_times_has_a_site_for_each_call() -> None:
    p3, p4, p5 = levels()
    neck = Neck().eval()
    found = upbench.sites(neck, p3, p4, p5)
    assert [site.name for site in found] == ["up:0", "reduce.1:0", "up:1", "up:2"]
    upbench.replace(neck, "carafe", inputs=(p3, p4, p5), where=["up:0", "reduce.1:0"], compressed=8)
    assert sorted(name for name, _ in neck.upsamplers.named_children()) == ["reduce/1:0", "up:0"]
    with answering.counted() as answered:
        out(neck, p3, p4, p5)
    assert answered == {"up:0": 1, "reduce.1:0": 1}


@pytest.mark.parametrize("size", [(64, 48), (56, 40), (52, 44)])
def test_calls_that_are_repeated_give_the_same_bits(size: tuple[int, int]) -> None:
    model, x = segmenter(), image(*size)
    before = out(model, x)
    upbench.replace(model, "repeat", inputs=x, where=["head:0", "head:1", "model:0"])
    with answering.counted() as answered:
        assert torch.equal(out(model, x), before)
    assert answered == {"head:0": 1, "head:1": 1, "model:0": 1}


def test_bilinear_in_place_of_bilinear_changes_nothing() -> None:
    model, x = segmenter(), image()
    before = out(model, x)
    upbench.replace(model, "bilinear", inputs=x)
    torch.testing.assert_close(out(model, x), before)


@pytest.mark.parametrize("name", ["dysample", "carafe", "fade", "resfu"])
def test_a_size_that_is_no_multiple_is_made_all_the_same(name: str) -> None:
    model, x = segmenter(), image(52, 44)
    assert [site.scale for site in upbench.sites(model, x)][:2] == [2, 2]
    upbench.replace(model, name, inputs=x)
    assert out(model, x).shape == (1, 4, 52, 44)


def test_dysample_can_begin_as_the_call_that_it_replaces() -> None:
    model, x = segmenter(), image()
    before = out(model, x)
    upbench.replace(model, "dysample", inputs=x, start="original")
    torch.testing.assert_close(out(model, x), before, rtol=1e-5, atol=1e-6)
    with pytest.raises(SpecError, match="carafe cannot begin as bilinear"):
        upbench.replace(segmenter(), "carafe", inputs=x, start="original")


class TwoKinds(torch.nn.Module):
    """One bilinear call and one nearest."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 8, 3, stride=4, padding=1)
        self.smooth = torch.nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.plain = torch.nn.Upsample(scale_factor=2)
        self.head = torch.nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.plain(self.smooth(self.stem(x))))


def test_where_a_start_fits_one_call_alone_that_one_is_named() -> None:
    model, x = TwoKinds().eval(), image()
    with pytest.raises(SpecError, match=r"at plain:0\), or give --where smooth:0 \(where='smooth:0'\), which"):
        upbench.replace(model, "dysample", inputs=x, start="original")
    upbench.replace(model, "dysample", "smooth:0", inputs=x, start="original")


@pytest.mark.parametrize("name", ["dysample", "carafe", "fade", "ldaaqu"])
def test_the_model_keeps_class_weights_and_names_and_learns(name: str) -> None:
    model, x = segmenter(), image()
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    assert upbench.replace(model, name, inputs=x) is model
    assert isinstance(model, Segmenter)
    assert type(model).__name__ == "Segmenter"
    assert {
        key: v for key, v in model.state_dict().items() if not key.startswith("upsamplers.")
    }.keys() == weights.keys()
    model.train()
    model(x).sum().backward()
    assert all(parameter.grad is not None for parameter in model.upsamplers.parameters())
    # Weights of the model from before it was replaced still fit, and leave the upsamplers alone.
    own = {key: value.clone() for key, value in model.upsamplers.state_dict().items()}
    model.load_state_dict(weights)
    assert all(torch.equal(value, own[key]) for key, value in model.upsamplers.state_dict().items())


def test_weights_before_or_after_replacing_give_the_same_model() -> None:
    x, trained = image(), segmenter()
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.mul_(1.5)
    first, second = segmenter(), segmenter()
    first.load_state_dict(trained.state_dict())
    upbench.replace(first, "dysample", inputs=x)
    upbench.replace(second, "dysample", inputs=x)
    second.load_state_dict(trained.state_dict())
    assert torch.equal(out(first, x), out(second, x))
    # A replaced model's own weights: into another one, strictly.
    third = upbench.replace(segmenter(), "dysample", inputs=x, seed=5)
    third.load_state_dict(first.state_dict())
    assert torch.equal(out(third, x), out(first, x))
    with pytest.raises(RuntimeError, match="Missing key"):
        third.load_state_dict({key: v for key, v in first.state_dict().items() if "head:0.offset" not in key})
    # The plain model has no place for upsamplers, before as after.
    for plain in (segmenter(), upbench.restore(second)):
        with pytest.raises(RuntimeError, match=r"Unexpected key.*upsamplers\."):
            plain.load_state_dict(first.state_dict())
    segmenter().load_state_dict(second.state_dict())


def test_copies_have_upsamplers_of_their_own() -> None:
    model, x = upbench.replace(segmenter(), "carafe", inputs=image()), image()
    before = out(model, x)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for twin in (copy.deepcopy(model), torch.load(file, weights_only=False)):
        assert torch.equal(out(twin, x), before)
        with torch.no_grad():
            for parameter in twin.upsamplers.parameters():
                parameter.add_(0.1)
        assert not torch.equal(out(twin, x), before)
        assert torch.equal(out(model, x), before)
    average = torch.optim.swa_utils.AveragedModel(model)
    average.update_parameters(model)
    assert torch.equal(out(average, x), before)
    with torch.no_grad():
        for parameter in model.upsamplers.parameters():
            parameter.add_(1.0)
    average.update_parameters(model)  # the mean of both, of the upsamplers as of the rest
    pairs = zip(average.module.upsamplers.parameters(), model.upsamplers.parameters(), strict=True)
    assert all(torch.allclose(mean, new - 0.5, atol=1e-5) for mean, new in pairs)


def test_restore_gives_the_model_back() -> None:
    model, x = segmenter(), image()
    before, keys = out(model, x), list(model.state_dict())
    twin = copy.deepcopy(upbench.replace(model, "dysample", inputs=x))
    for each in (model, twin):
        assert upbench.restore(each) is each
        assert type(each) is Segmenter
        assert type(each.head) is Head
        assert torch.equal(out(each, x), before)
        assert list(each.state_dict()) == keys
    with pytest.raises(SpecError, match="nothing to restore"):
        upbench.restore(model)


def test_a_checkpointed_part_runs_again_with_the_same_upsamplers() -> None:
    class Checkpointed(Segmenter):
        def forward(self, image: Tensor) -> Tensor:
            features = [self.stem(image)]
            for down in self.down:
                features.append(down(features[-1]))
            return checkpoint(self.head, features, use_reentrant=False)

    torch.manual_seed(0)
    model, x = Checkpointed(), image()
    upbench.replace(model, "dysample", inputs=x)
    model(x).square().sum().backward()
    found = [parameter.grad.clone() for parameter in model.parameters()]
    plain = copy.deepcopy(model)
    plain.zero_grad()
    features = [plain.stem(x)]
    for down in plain.down:
        features.append(down(features[-1]))
    plain.head(features).square().sum().backward()
    for one, parameter in zip(found, plain.parameters(), strict=True):
        torch.testing.assert_close(one, parameter.grad)


def test_autocast_and_an_optimizer_made_before_or_after_replacing() -> None:
    model, x = segmenter(), image()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    upbench.replace(model, "dysample", inputs=x)
    optimizer.add_param_group({"params": list(model.upsamplers.parameters())})
    with torch.autocast("cpu", torch.bfloat16):
        model(x).float().sum().backward()
    before = model.upsamplers["head:0"].offset.weight.clone()
    optimizer.step()
    moved = model.upsamplers["head:0"].offset.weight.clone()
    assert not torch.equal(before, moved)
    torch.optim.SGD(model.parameters(), 0.1).step()  # made after replacing it has the upsamplers by itself
    assert not torch.equal(moved, model.upsamplers["head:0"].offset.weight)


def test_exports_hold_the_new_upsamplers() -> None:
    model, x = upbench.replace(segmenter(), "dysample", inputs=image()), image()
    program = torch.export.export(model, (x,), strict=False)
    assert any("grid_sampler" in str(node.target) for node in program.graph.nodes)
    torch.testing.assert_close(program.module()(x), out(model, x), rtol=1e-4, atol=1e-5)


def test_a_function_may_make_the_modules() -> None:
    def make(site: Any) -> nn.Module:
        return nn.Upsample(scale_factor=site.scale, mode="bilinear")

    model, x = segmenter(), image(52, 44)
    before = out(model, x)
    upbench.replace(model, make, inputs=x)
    assert out(model, x).shape == before.shape
    assert [type(module) for module in model.upsamplers.values()] == [nn.Upsample, nn.Upsample]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"where": "decoder.*"}, "'decoder.*' matches no upsampling call; this model makes: head:0, head:1, model:0"),
        ({"where": "model*"}, "--where model:0 (where='model:0') replaces it all the same"),
        ({"upsampler": "dysampel"}, "dysample"),
        ({"groups": 3}, "groups"),
        ({"inputs": ()}, "give its inputs"),
        ({"inputs": torch.rand(1, 5, 8, 8)}, "Segmenter failed on these inputs"),
        ({"upsampler": "anyup"}, "takes guides of another kind"),
        ({"start": "zero"}, "give released or original"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value[:12],
)
def test_what_cannot_be_replaced_is_refused_and_the_model_unchanged(arguments: dict[str, Any], sentence: str) -> None:
    model = segmenter()
    given: dict[str, Any] = {"upsampler": "dysample", "inputs": image(), **arguments}
    with pytest.raises(UpbenchError) as refusal:
        upbench.replace(model, **given)
    assert sentence in str(refusal.value)
    assert type(model) is Segmenter
    assert not hasattr(model, "upsamplers")


def test_a_lateral_goes_before_the_level_that_it_is_made_of() -> None:
    class Pyramid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lateral = nn.Conv2d(16, 16, 1)
            self.last = nn.Conv2d(16, 4, 1)

        def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
            lateral = self.lateral(fine)
            return self.last(lateral + nn.functional.interpolate(coarse, size=fine.shape[2:]))

    fine, coarse, _ = levels()
    model = Pyramid().eval()
    (site,) = upbench.sites(model, fine, coarse)
    assert [str(source) for source in site.guides] == ["argument 0 (16)", "child lateral (16)"]
    assert str(site.guide) == "child lateral (16)"
    upbench.replace(model, "fade", inputs=(fine, coarse))
    assert out(model, fine, coarse).shape == (1, 4, 16, 12)


def test_a_guide_must_be_the_only_one() -> None:
    model = Neck().eval()
    with pytest.raises(
        SpecError, match=r"fade needs a guide: no tensor of the output's size is at hand there \(at up:0"
    ):
        upbench.replace(model, "fade", inputs=levels())


def test_a_replaced_model_says_so() -> None:
    model = upbench.replace(segmenter(), "dysample", inputs=image())
    table = upbench.sites(model)
    assert table.answered == {"head:0": "DySample", "head:1": "DySample"}
    with pytest.raises(SpecError, match=r"call upbench\.restore"):
        upbench.replace(model, "carafe", inputs=image())


def test_another_size_than_the_one_replaced_with() -> None:
    model = upbench.replace(segmenter(), "dysample", inputs=image())
    assert out(model, image(96, 128)).shape == (1, 4, 96, 128)

    class Fixed(Segmenter):
        def forward(self, image: Tensor) -> Tensor:
            return self.head.classify(nn.functional.interpolate(self.stem(image).repeat(1, 2, 1, 1), size=(64, 64)))

    fixed = upbench.replace(Fixed().eval(), "dysample", inputs=image(128, 128))
    with pytest.raises(InputError, match="was built for scale 2, but is to make 64x64 of 8x8"):
        out(fixed, image(32, 32))


def test_of_two_guides_that_fit_alike_none_is_taken() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right, self.last = (nn.Conv2d(16, 16, 1) for _ in range(3))

        def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
            both = self.left(fine) + self.right(fine)
            return self.last(both + nn.functional.interpolate(coarse, size=fine.shape[2:]))

    fine, coarse, _ = levels()
    model = Twice().eval()
    with pytest.raises(
        SpecError, match=r"3 tensors .* none is the only one: argument 0 \(16\), child left .*, child right"
    ):
        upbench.replace(model, "fade", inputs=(fine, coarse))
    assert type(model) is Twice


def test_a_map_that_grows_sixteen_times_is_one_site_of_that_scale() -> None:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Conv2d(8, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(nn.functional.interpolate(x, scale_factor=16, mode="bilinear"))

    model, x = Deep().eval(), torch.rand(1, 8, 2, 3)
    (site,) = upbench.sites(model, x)
    assert (site.kind, site.scale) == ("feature map", 16)
    upbench.replace(model, "dysample", inputs=x)
    assert out(model, x).shape == (1, 4, 32, 48)
    with pytest.raises(SpecError, match=r"smaller than the scale 16: .* \(at model:0\)"):
        upbench.replace(upbench.restore(model), "deconv", inputs=x)


def test_a_call_that_runs_only_once_is_refused_where_it_is_measured() -> None:
    class Once(Segmenter):
        def forward(self, image: Tensor) -> Tensor:
            self.calls = getattr(self, "calls", 0) + 1
            return (
                super().forward(image) if self.calls == 1 else self.head.classify(self.stem(image).repeat(1, 2, 1, 1))
            )

    model, x = Once().eval(), image()
    listed = upbench.sites(model, x)
    meant = [site for site in listed if site.learnable]
    with pytest.raises(UpbenchError, match=r"a model: head:0, head:1 did not run in a second forward"):
        repeating.check_repeated("a model", model, listed, meant, (x,), {})
