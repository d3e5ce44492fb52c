"""What the real counters print is what is predicted of them, for the zoo and for modules of users."""

from __future__ import annotations

import contextlib
import copy
import importlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tests.command_line import refused, upbench
from tests.models import torchvision_operators
from tests.modules.counted import MODULES, Learned, Summed
from tests.upsamplers.test_contract import drawn, setting_of
from upbench import registry
from upbench.measure import counters

INPUTS = ("x", "guide", "second_guide")
Tensors = tuple[Tensor, ...]


def _fvcore(module: nn.Module, tensors: Tensors) -> int:
    from fvcore.nn import FlopCountAnalysis

    analysis = FlopCountAnalysis(module, tensors)
    return int(analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total())


def _torch(module: nn.Module, tensors: Tensors) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(*tensors)
    return counter.get_total_flops()


def _torchinfo(module: nn.Module, tensors: Tensors) -> int:
    return package("torchinfo").summary(module, input_data=tensors, verbose=0).total_mult_adds


def _thop(module: nn.Module, tensors: Tensors) -> int:
    return int(package("thop").profile(module, tensors, verbose=False)[0])


def _ptflops(backend: str) -> Callable[[nn.Module, Tensors], int | None]:
    def count(module: nn.Module, tensors: Tensors) -> int | None:
        given = tensors[0] if len(tensors) == 1 else dict(zip(INPUTS, tensors, strict=False))
        settings = {"as_strings": False, "print_per_layer_stat": False, "backend": backend}
        return package("ptflops").get_model_complexity_info(
            module, (1,), input_constructor=lambda _: given, **settings
        )[0]

    return count


def _calflops(which: int) -> Callable[[nn.Module, Tensors], int | None]:
    def count(module: nn.Module, tensors: Tensors) -> int | None:
        if next(module.parameters(), None) is None:
            return None  # it fails and leaves torch patched, which would spoil every count after it
        own = importlib.import_module("calflops.calculate_pipline") if package("calflops") else None
        settings = {"print_results": False, "output_as_string": False}
        try:
            return package("calflops").calculate_flops(module, args=list(tensors), **settings)[which]
        except AttributeError:
            own._reload_functionals(own.old_functions)
            own._reload_tensor_methods(own.old_functions)
            own.module_flop_count.clear()
            own.module_mac_count.clear()
            return None

    return count


REAL: dict[str, Callable[[nn.Module, Tensors], int | None]] = {
    "fvcore": _fvcore,
    "FlopCounterMode": _torch,
    "torchinfo": _torchinfo,
    "thop": _thop,
    "ptflops": _ptflops("pytorch"),
    "ptflops aten": _ptflops("aten"),
    "calflops MACs": _calflops(1),
    "calflops FLOPs": _calflops(0),
}


@cache
def package(name: str) -> Any:
    """A counter's package, or a skip with the reason."""
    if name == "ptflops":
        torchvision_operators.available()  # ptflops imports torchvision where it is installed
    return pytest.importorskip(name, reason=f"needs {name}, the extra counters")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
        yield
    logging.disable(logging.NOTSET)


def agree(module: nn.Module, tensors: Tensors) -> list[counters.Prediction]:
    """Assert that every counter prints what is predicted; return the predictions."""
    predicted = counters.predict(module, tensors)
    assert {each.counter for each in predicted} == set(REAL)
    # Counters leave hooks behind: each has a copy of its own.
    printed = {each.counter: REAL[each.counter](copy.deepcopy(module), tensors) for each in predicted}
    assert printed == {each.counter: each.figure for each in predicted}
    return predicted


@pytest.mark.parametrize("name", [card.name for card in registry.builtin().values()])
def test_every_counter_prints_what_is_predicted_for_the_zoo(name: str) -> None:
    card = registry.get(name)
    setting = setting_of(card, None, 2, 3, batch=1)
    agree(registry.construct(card, setting, 0, "auto").eval(), tuple(drawn(setting, card)))


@pytest.mark.parametrize("kind", MODULES)
def test_every_counter_prints_what_is_predicted_for_users_modules(kind: type[nn.Module]) -> None:
    module = kind().train()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    predicted = {each.counter: each for each in agree(module.eval(), (torch.randn(2, 8, 4, 5),))}
    torch.testing.assert_close(dict(module.state_dict()), state)
    if kind is Learned:
        own = (
            8 * 4 * 9 * 2 * 8 * 10 * 4
        )  # of the convolution of a class of one's own, which counters by exact class lose
        assert predicted["thop"].leaves_out["aten::convolution"] == own
    if kind is Summed:
        assert "AttributeError" in (predicted["calflops MACs"].why_not or "")


def test_predicting_leaves_a_module_and_torch_as_they_were() -> None:
    functions = [nn.functional.relu, torch.matmul, torch.Tensor.mul, torch.einsum]
    methods = set(vars(torch.Tensor))
    module = MODULES[0]().train()
    counters.predict(module, (torch.randn(1, 8, 4, 5),))
    assert module.training
    assert all(layer.training and not layer._forward_hooks for layer in module.modules())
    assert functions == [nn.functional.relu, torch.matmul, torch.Tensor.mul, torch.einsum]
    assert set(vars(torch.Tensor)) == methods


class Recurrent(nn.Module):
    """A module with a layer for which counters have rules that are not repeated."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRU(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x.flatten(2).permute(2, 0, 1))[0]


def test_what_is_not_known_is_no_figure() -> None:
    predicted = {each.counter: each for each in counters.predict(Recurrent(), (torch.randn(1, 8, 2, 3),))}
    for name in ("thop", "ptflops", "calflops MACs"):
        assert predicted[name].figure is None
        assert "GRU" in predicted[name].why_not
    nothing = {each.counter: each for each in counters.predict(nn.Upsample(scale_factor=2), (torch.randn(1, 8, 2, 3),))}
    assert nothing["calflops MACs"].figure is None
    assert nothing["thop"].figure == 8 * 4 * 6


def test_the_table_says_what_each_counter_prints_and_leaves_out() -> None:
    result = upbench("profile", "carafe", "--shape", "32x6x5", "--device", "cpu", "--counters", env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    assert "reassemble_fused 96" in result.stdout
    document = json.loads(upbench("profile", "carafe", "--shape", "32x6x5", "--counters", "--format", "json").stdout)
    figures = {row["counter"]: row for row in document["counters"]}
    conv, gather = (32 * 64 + 64 * 9 * 100) * 30, 25 * 32 * 4 * 30
    assert figures["thop"]["figure"] == conv
    assert figures["FlopCounterMode"]["figure"] == 2 * (conv + gather)
    assert figures["FlopCounterMode"]["per_mac"] == 2
    assert figures["thop"]["leaves_out"]["upbench::reassemble_fused"] == gather
    assert document["macs"] > conv + gather
    assert "two tables" in refused("profile", "carafe", "--counters", "--layers")
    assert "three tables" in refused("profile", "carafe", "--counters", "--layers", "--by-op")
