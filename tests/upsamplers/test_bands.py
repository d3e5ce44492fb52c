"""Large outputs are computed in bands of rows: the same values as of the whole, whatever the bands and the sizes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import upbench
from upbench.measure import memory
from upbench.ops import bands

sides = st.tuples(st.integers(4, 24), st.integers(4, 24))
SMALL = {"dim": 16, "lfu_dim": 8, "heads": 2}


def banded(monkeypatch: pytest.MonkeyPatch, band_bytes: int) -> None:
    monkeypatch.setattr(bands, "LARGE", 1)
    monkeypatch.setattr(bands, "BYTES", band_bytes)


@settings(max_examples=8, deadline=None)
@given(sides, sides, st.integers(1, 2), st.sampled_from([1, 3]), st.integers(0, 5), st.integers(0, 2**16))
def test_anyup(
    image: tuple[int, int], size: tuple[int, int], batch: int, kernel: int, band_rows: int, seed: int
) -> None:
    """Images smaller and larger than the output; bands of one row and of several, the last of fewer."""
    module = upbench.build("anyup", 5, 2, seed=seed, kernel=kernel, **SMALL).eval().double()
    x, guide = torch.randn(batch, 5, 4, 3).double(), torch.randn(batch, 3, *image).double()
    with torch.no_grad():
        whole = module(x, guide, size=size)
        with pytest.MonkeyPatch.context() as patch:
            banded(patch, band_rows * 16 * 8 * image[1])
            found = module(x, guide, size=size)
    torch.testing.assert_close(found, whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_precision(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the bands add to the rounding is less than what the dtype has."""
    module = upbench.build("anyup", 5, 2, seed=1, **SMALL).eval()
    x, guide = torch.randn(1, 5, 6, 6), 100 + torch.randn(1, 3, 12, 12)
    with torch.no_grad():
        exact = module.double()(x.double(), guide.double())
        module = module.to(dtype)
        whole = module(x.to(dtype), guide.to(dtype))
        banded(monkeypatch, 4000)
        found = module(x.to(dtype), guide.to(dtype))
    assert found.dtype == dtype
    assert (found - exact).abs().max() <= 2 * (whole - exact).abs().max() + torch.finfo(dtype).eps


def test_who_computes_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not where gradients are recorded, layers are watched, or the eager form was asked for."""
    module = upbench.build("anyup", 5, 2, seed=1, **SMALL).eval()
    x, guide = torch.randn(1, 5, 4, 4), torch.randn(1, 3, 8, 8)
    called: list[str] = []
    monkeypatch.setattr(type(module), "_upsample_large", lambda *_: called.append("bands") or torch.zeros(1, 5, 8, 8))
    with torch.no_grad():
        module(x, guide)
    assert not called, "a small map is computed whole"
    banded(monkeypatch, 4000)
    module(x, guide)
    with torch.no_grad():
        module.backend = "eager"
        module(x, guide)
        module.backend = "auto"
        handle = module.aggregation.register_forward_hook(lambda *_: None)
        module(x, guide)
        handle.remove()
        assert not called
        module(x, guide)
    assert called == ["bands"]


def test_what_is_held_is_one_map() -> None:
    """Of the layers between image and queries; the output itself apart."""
    module = upbench.build("anyup", 4, 2, seed=1, **SMALL).eval()
    x, guide = torch.randn(1, 4, 6, 6), torch.randn(1, 3, 96, 96)
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        banded(patch, 2**14)
        module(x, guide, size=(96, 96))
        peak = memory.peak_bytes(lambda: module(x, guide, size=(96, 96)), torch.device("cpu"))
    one = 16 * 96 * 96 * 4
    assert peak <= 1.25 * one + 4 * 96 * 96 * 4
