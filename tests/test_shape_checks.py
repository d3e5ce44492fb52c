"""Shapes in annotations are checked while tests run, and only then."""

from __future__ import annotations

import subprocess
import sys

import jaxtyping
import pytest
import torch

from upbench import ops, registry
from upbench.upsamplers.carafe import CARAFE

X = torch.zeros(1, 4, 3, 3)


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(
        jaxtyping.TypeCheckError, match=r"window_assemble\.\nThe problem arose whilst typechecking parameter 'weight'"
    ):
        ops.window_assemble(X, torch.zeros(1, 9, 6, 6), 3, 2)


def test_two_names_of_one_size_are_held_together() -> None:
    with pytest.raises(jaxtyping.TypeCheckError):
        ops.gate_fuse(X, X[:, :3], X[:, :1])


def test_a_result_is_checked_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("upbench.ops.window.compute", lambda *args, **options: X)
    with pytest.raises(jaxtyping.TypeCheckError, match="return value"):
        ops.window_assemble(X, torch.zeros(1, 1, 9, 6, 6), 3, 2)


def test_a_method_of_an_upsampler_is_checked() -> None:
    with pytest.raises(jaxtyping.TypeCheckError):
        CARAFE(4).upsample(X[0])


def test_every_upsampler_names_its_shapes() -> None:
    for card in registry.builtin().values():
        module = registry.build(card.name, channels=288)
        assert all(
            "Float[Tensor" in a
            for n, a in type(module).upsample.__annotations__.items()
            if n in ("x", "guide", "return")
        )


def test_outside_of_tests_nothing_is_checked() -> None:
    """What is given here is refused by torch itself, where it first meets it."""
    code = (
        "import torch\nfrom upbench import ops\n"
        "try:\n    ops.gate_fuse(torch.zeros(1, 4, 3, 3), torch.zeros(1, 3, 3, 3), torch.zeros(1, 1, 3, 3))\n"
        "except RuntimeError as error:\n    assert 'must match' in str(error)\nelse:\n    raise SystemExit(1)\n"
        "import sys\nassert 'beartype' not in sys.modules\nassert not hasattr(ops.gate_fuse, '__wrapped__')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
