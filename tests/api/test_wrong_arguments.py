"""Arguments of the functions of `import upbench` that are of another kind: one sentence with what was given."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import upbench
from upbench.errors import SpecError


@pytest.mark.parametrize("channels", ["8", 0, -3, 2.5, None, True])
def test_channels_that_are_no_number_are_one_sentence(channels: Any) -> None:
    with pytest.raises(SpecError) as raised:
        upbench.build("dysample", channels=channels)
    assert raised.value.mistakes == (
        f"channels is {channels!r}, but must be a whole number of at least 1, as channels=256",
    )


@pytest.mark.parametrize("wrong", [{"scale": "2"}, {"scale": True}, {"output_size": "8x8"}, {"output_size": (8, 0)}])
def test_other_sizes_that_are_no_numbers_are_named_with_their_value(wrong: dict[str, Any]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(SpecError, match=re.escape(f"{name} is {value!r}, but must be ")):
        upbench.build("bilinear", channels=8, **wrong)


class _Unmade(nn.Module):
    pass


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda x: x, "the function <lambda>, but must be a torch.nn.Module; write it as the forward of one"),
        (_Unmade, "the class _Unmade, but must be a torch.nn.Module; make one first, as _Unmade()"),
        (int, "the class int, but must be a torch.nn.Module"),
        (3, "3, but must be a torch.nn.Module"),
    ],
)
def test_what_is_no_module_is_said(given: Any, said: str, tmp_path: Path) -> None:
    x = torch.rand(1, 8, 4, 4)
    for call in (
        lambda: upbench.sites(given, x),
        lambda: upbench.replace(given, "dysample", inputs=x),
        lambda: upbench.restore(given),
        lambda: upbench.export(given, x, tmp_path / "up.onnx"),
        lambda: upbench.load_weights(given, {}),
    ):
        with pytest.raises(SpecError) as raised:
            call()
        assert str(raised.value) in (f"model is {said}", f"module is {said}")
