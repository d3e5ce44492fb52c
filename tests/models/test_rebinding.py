"""Calls by a global name are answered by copies of the class's functions; all others by a mode, with the same results."""

from __future__ import annotations

import copy
import functools
import types
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.utils.checkpoint import checkpoint

import upbench
from tests.models import hosts
from tests.models.hosts import image, segmenter, with_helper
from upbench.errors import InputError
from upbench.models import answering

pytestmark = pytest.mark.filterwarnings("ignore")
factor = 2


class Ways(nn.Module):
    """Every way in which code names the function, of its class's own and of others'."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.up = F.interpolate
        self.last = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        from torch.nn.functional import interpolate as local

        x = self.conv(x)
        made = [
            F.interpolate(x, scale_factor=factor),
            nn.functional.interpolate(x, None, 2),
            self.first(x),
            self.second(x),
            *[F.upsample(each, scale_factor=2) for each in (x, x)],
            F.interpolate(
                x,
                scale_factor=2,
                mode="nearest",
            ),
        ]
        others = [
            self.up(x, scale_factor=2),
            local(x, scale_factor=2),
            functools.partial(F.interpolate, scale_factor=2)(x),
            F.upsample_nearest(x, scale_factor=2),
            hosts.resize(x, torch.Size((8, 8))),
        ]
        return self.last(torch.stack(made + others).sum(0))

    def first(self, x: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(x, scale_factor=2)

    def second(self, x: Tensor) -> Tensor:
        return interpolate(x, scale_factor=2)


def test_the_ways_in_which_code_names_the_function_are_told_apart() -> None:
    x, model = torch.rand(1, 3, 4, 4), Ways().eval()
    sites = upbench.sites(model, x)
    assert [site.by_name for site in sites] == [True] * 7 + [False] * 5
    with torch.no_grad():
        before = model(x)
        # One module whose calls are not all by name is answered by a mode, all of them.
        upbench.replace(model, "repeat", sites=sites)
        with answering.counted() as answered:
            assert torch.equal(model(x), before)
    assert len(answered) == len(sites) == 12


def test_names_are_looked_up_when_the_call_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    class Doubling(hosts.Segmenter):
        def forward(self, image: Tensor) -> Tensor:
            return F.interpolate(self.head([self.stem(image)] * 3), scale_factor=2) * factor

    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Conv2d(8, 2, 1)

        def forward(self, features: list[Tensor]) -> Tensor:
            return self.last(F.interpolate(features[0], scale_factor=2)) * factor

    x, model = image(), Doubling().eval()
    model.head = Head()
    upbench.replace(model, "dysample", inputs=x)
    assert model.head.__dict__[answering.STATE].by_name
    with torch.no_grad():
        before = model(x)
        monkeypatch.setitem(Head.forward.__globals__, "factor", 4)
        torch.testing.assert_close(model(x), 4 * before)


def test_a_helper_is_answered_as_a_call_of_its_own() -> None:
    x = image()
    direct, helped = segmenter(), with_helper()
    for model in (direct, helped):
        upbench.replace(model, "carafe", inputs=x, compressed=8)
    states = [model.head.__dict__[answering.STATE] for model in (direct, helped)]
    assert [state.by_name for state in states] == [True, False]
    with torch.no_grad():
        assert torch.equal(direct(x), helped(x))


@pytest.mark.parametrize("make", [segmenter, with_helper], ids=["by name", "by a mode"])
def test_a_compiled_model_keeps_its_upsamplers(make: Any) -> None:
    x, model = image(), make()
    upbench.replace(model, "carafe", inputs=x, compressed=8)
    torch._dynamo.reset()
    with torch.no_grad():
        want = model(x)
        found = torch.compile(model, backend="eager", fullgraph=make is segmenter)
        torch.testing.assert_close(found(x), want)
        torch.testing.assert_close(found(x), want)
    torch._dynamo.reset()


def test_copies_are_of_the_same_form() -> None:
    model, x = upbench.replace(segmenter(), "dysample", inputs=image()), image()
    twin = copy.deepcopy(model)
    assert type(twin.head) is type(model.head)
    with torch.no_grad():
        twin.upsamplers["head:0"].offset.weight.add_(1)
        assert not torch.equal(twin(x), model(x))


def test_an_inner_function_that_a_checkpoint_runs_again_is_refused() -> None:
    class Own(hosts.Head):
        def forward(self, features: list[Tensor]) -> Tensor:
            return checkpoint(self.inner, features, use_reentrant=False)

        inner = types.FunctionType(hosts.Head.forward.__code__, hosts.Head.forward.__globals__, "inner")

    model, x = segmenter(), image()
    model.head = Own()
    upbench.replace(model, "dysample", inputs=x)
    out = model(x).sum()
    with pytest.raises(InputError, match="checkpoint the module"):
        out.backward()
