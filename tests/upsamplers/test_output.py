"""`out=`: a call writes into memory that is given or kept, returns the same values, and says why not where it cannot."""

from __future__ import annotations

import copy
import json
import threading

import pytest
import torch
from torch import Tensor

import upbench
from tests.command_line import upbench as run
from tests.upsamplers.test_contract import by_card, drawn, make, setting_of
from upbench import registry
from upbench.cards import Card
from upbench.errors import InputError, SpecError
from upbench.measure.output import maps

DEFORMED = ("dysample", "dysample-s+", "sapa-d", "ldaaqu", "anyup", "carafe")
"""Upsamplers whose last op is one that takes the memory of its result from its caller."""


def built(name: str = "dysample", **given: object) -> tuple[torch.nn.Module, Tensor]:
    module = upbench.build(name, 16, seed=0, backend="fused", **given)  # type: ignore[arg-type]
    return module.eval(), torch.randn(1, 16, 6, 5)


@by_card
@torch.no_grad()
def test_the_values_are_those_of_a_plain_call(card: Card) -> None:
    module, tensors = make(card)
    others = tuple(t.flip(-1) for t in tensors)
    plain, expected = maps(module(*tensors)), maps(module(*others))
    out = tuple(torch.full_like(t, torch.nan) for t in plain)
    given = out[0] if len(out) == 1 else out
    assert module(*tensors, out=given) is given
    assert all(torch.equal(a, b) for a, b in zip(out, plain, strict=True))
    module.reuses_output = True  # type: ignore[assignment]
    for _ in range(2):
        assert all(torch.equal(a, b) for a, b in zip(maps(module(*tensors)), plain, strict=True))
        assert all(torch.equal(a, b) for a, b in zip(maps(module(*others)), expected, strict=True))


@pytest.mark.parametrize("name", DEFORMED)
@torch.no_grad()
def test_a_fused_op_writes_where_it_is_told(name: str) -> None:
    card = registry.get(name)
    setting = setting_of(card)
    module = upbench.build(name, setting.channels, seed=0, backend="fused", out="reuse").eval()
    tensors = drawn(setting, card)
    first = module(*tensors)
    assert module(*tensors).data_ptr() == first.data_ptr()
    other = upbench.build(name, setting.channels, seed=0, backend="fused").eval()
    given = torch.empty_like(first)
    assert other(*tensors, out=given).data_ptr() == given.data_ptr()
    assert torch.equal(given, first)
    assert other(*tensors).data_ptr() not in (first.data_ptr(), given.data_ptr())


@torch.no_grad()
def test_a_contiguous_out_is_copied_into() -> None:
    module, x = built()
    given = torch.empty(1, 16, 12, 10)
    assert module(x, out=given) is given
    assert given.is_contiguous()
    assert torch.equal(given, module(x))


@torch.no_grad()
def test_plain_results_are_never_written_over() -> None:
    module, x = built()
    first = module(x)
    kept = first.clone()
    module(x.flip(-1))
    assert torch.equal(first, kept)


@torch.no_grad()
def test_a_result_that_is_fed_back_is_not_written_while_it_is_read() -> None:
    module, _ = built("sapa-d", out="reuse")
    plain, _ = built("sapa-d")
    x = torch.randn(1, 16, 6, 5)
    guide = torch.randn(1, 16, 12, 10)
    fed = module(x, guide)
    torch.testing.assert_close(module(x, fed), plain(x, plain(x, guide)), rtol=0, atol=0)


@torch.no_grad()
def test_threads_and_copies_have_results_of_their_own() -> None:
    module, x = built(out="reuse")
    mine = module(x)
    found: list[int] = []

    def other() -> None:
        with torch.no_grad():
            found.append(module(x).data_ptr())

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    twin = copy.deepcopy(module)
    assert twin.reuses_output
    assert mine.data_ptr() not in (found[0], twin(x).data_ptr())
    assert module(x).data_ptr() == mine.data_ptr()


@torch.no_grad()
def test_other_sizes_dtypes_and_modes_take_new_memory() -> None:
    module, x = built(out="reuse")
    first = module(x)
    assert module(x[:, :, :3]).shape == (1, 16, 6, 10)
    assert module(x, size=(11, 10)).shape == (1, 16, 11, 10)
    with torch.inference_mode():
        inside = module(x)
    torch.testing.assert_close(module(x), first)
    torch.testing.assert_close(inside, first)
    assert module.double()(x.double()).dtype == torch.float64


def test_where_gradients_are_recorded_nothing_is_kept() -> None:
    module, x = built(out="reuse")
    first, second = module(x), module(x)
    assert first.data_ptr() != second.data_ptr()
    (first + second).sum().backward()
    assert all(p.grad is not None for p in module.parameters())


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (torch.empty(1, 16, 12, 11), r"an out of shape \[1, 16, 12, 11\], but its result has shape \[1, 16, 12, 10\]"),
        (torch.empty(1, 16, 12, 10, dtype=torch.float64), "an out of dtype float64, but its result has dtype float32"),
        (torch.empty(1, 16, 12, 10, device="meta"), "an out of device meta, but its result has device cpu"),
        ((torch.empty(1, 16, 12, 10),) * 2, "returns one map, but out has 2 maps"),
        ((8, 8), "an out that is no tensor but int"),
    ],
)
@torch.no_grad()
def test_an_out_that_cannot_take_the_result_is_refused(given: object, sentence: str) -> None:
    module, x = built()
    with pytest.raises(InputError, match=sentence):
        module(x, out=given)


def test_out_is_refused_where_it_would_spoil_what_is_read() -> None:
    module, x = built()
    out = torch.empty(1, 16, 12, 10)
    with pytest.raises(InputError, match="while gradients are recorded"):
        module(x, out=out)
    guided, _ = built("fade")
    with torch.no_grad(), pytest.raises(InputError, match="shares memory with what it reads"):
        guided(x, out, out=out)
    with torch.inference_mode():
        inside = torch.empty(1, 16, 12, 10)
    with torch.no_grad(), pytest.raises(InputError, match=r"made in torch\.inference_mode"):
        module(x, out=inside)


def test_build_refuses_what_it_does_not_know() -> None:
    with pytest.raises(SpecError, match="out is 'keep', but must be \"reuse\" or left out"):
        upbench.build("carafe", 16, out="keep")
    with pytest.raises(SpecError, match="is no upsampler of upbench's own"):
        upbench.build("tests.modules.carafe:CARAFE", 16, out="reuse")


def test_kept_results_are_a_runtime() -> None:
    arguments = ("dysample", "--shape", "16x6x5", "--budget", "0.02", "--backend", "fused")
    result = run("compare", *arguments, "--runtime", "torch,torch-reuse", "--format", "json")
    assert result.exit_code == 0, result.output
    plain, reuse = json.loads(result.stdout)["records"]
    assert reuse["label"] == "dysample [fused] [torch-reuse]"
    assert reuse["memory"] == plain["memory"]
    assert reuse["output"]["digest"] == plain["output"]["digest"]
    refused = run("compare", *arguments, "--runtime", "torch-reuse", "--mode", "training")
    assert refused.exit_code == 2
    assert "a result that backward needs is not written over" in refused.stderr
