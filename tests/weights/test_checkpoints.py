"""Checkpoints as people have them: wrapped, averaged, with foreign classes, of other dtypes, damaged, of another kind."""

from __future__ import annotations

import argparse
import collections
import enum
import io
import pickle
import re
import sys
import types
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import nn

import upbench
from upbench.errors import WeightsError

RAN: list[str] = []


class Hub:
    """A class of a training framework, which must not be run."""

    def __init__(self, *items: object) -> None:
        RAN.append("init")
        self.items = list(items)

    def __setstate__(self, state: object) -> None:
        RAN.append("setstate")

    def __reduce__(self) -> tuple[Any, ...]:
        return (_make, (1,))


class Arguments(dict):
    """As the configurations of many frameworks."""


class Phase(enum.Enum):
    train = 1


def _make(n: int) -> Hub:
    RAN.append("make")
    return Hub(n)


@pytest.fixture
def source() -> nn.Module:
    return upbench.build("carafe", 16, seed=1)


@pytest.fixture
def module() -> nn.Module:
    return upbench.build("carafe", 16, seed=2)


def same(first: nn.Module, second: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def refused(module: nn.Module, weights: Any, **more: Any) -> str:
    """The sentence of weights that are refused; the module is as before, and no escape code is in the sentence."""
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        upbench.load_weights(module, weights, **more)
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    text = str(caught.value)
    assert "\x1b" not in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    "path",
    [
        "state_dict", "model", "model_state_dict", "net", "network", "params", "params_ema", "state_dict_ema", "module",
        "ema", "generator", "weights", "state_dict.model", "ema.module", "checkpoint.net.params", "anything",
    ],
)  # fmt: skip
@pytest.mark.parametrize("in_memory", [True, False])
def test_a_sole_state_dict_is_found_wherever_it_is(
    source: nn.Module, module: nn.Module, tmp_path: Path, path: str, in_memory: bool
) -> None:
    held: Any = source.state_dict()
    optimiser = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]}
    for name in reversed(path.split(".")):
        held = {name: held, "epoch": 3, "optimizer": optimiser}
    file = tmp_path / "a.pth"
    torch.save(held, file)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        upbench.load_weights(module, held if in_memory else file)
    assert same(module, source)


@pytest.mark.parametrize("front", ["module.", "_orig_mod.", "model.", "module._orig_mod.", "model.module."])
def test_what_wrappers_put_before_keys_is_taken_away(source: nn.Module, module: nn.Module, front: str) -> None:
    wrapped = {front + key: value for key, value in source.state_dict().items()}
    upbench.load_weights(module, {"state_dict": wrapped})
    assert same(module, source)
    whole = {f"{front}neck.0.{key}": value for key, value in source.state_dict().items()}
    for prefix in ("neck.0.", "neck.0"):
        assert same(upbench.load_weights(upbench.build("carafe", 16, seed=3), whole, prefix=prefix), source)


def test_an_averaged_model_of_torch_loads(source: nn.Module, module: nn.Module) -> None:
    averaged = torch.optim.swa_utils.AveragedModel(source)
    upbench.load_weights(module, averaged.state_dict())
    assert same(module, source)


@pytest.mark.parametrize(
    ("plain", "averaged"),
    [("state_dict", "state_dict_ema"), ("params", "params_ema"), ("model", "ema"), ("net", "ema.net")],
)
def test_averaged_weights_beside_plain_ones_are_mentioned_and_can_be_chosen(
    source: nn.Module, module: nn.Module, tmp_path: Path, plain: str, averaged: str
) -> None:
    other = upbench.build("carafe", 16, seed=5).state_dict()
    held: dict[str, Any] = {}
    inside = held
    *outer, last = averaged.split(".")
    for name in outer:
        inside = inside.setdefault(name, {})
    inside[last] = other
    held[plain] = source.state_dict()
    torch.save(held, tmp_path / "a.pth")
    with pytest.warns(UserWarning, match=f"took the weights under '{plain}'.*key='{averaged}' takes"):
        upbench.load_weights(module, tmp_path / "a.pth")
    assert same(module, source)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        upbench.load_weights(module, tmp_path / "a.pth", key=averaged)
        assert torch.equal(module.state_dict()["channel_compressor.bias"], other["channel_compressor.bias"])
        upbench.load_weights(module, held, key=plain)
    assert same(module, source)
    assert f"it has {averaged}, {plain}; did you mean" in refused(module, held, key=plain + "x")


def test_of_several_models_the_one_that_fits_is_taken_and_else_a_key_is_asked_for(
    source: nn.Module, module: nn.Module
) -> None:
    other = nn.Linear(3, 3).state_dict()
    with pytest.warns(UserWarning, match="took the weights under 'generator'; there are others under 'discriminator'"):
        upbench.load_weights(module, {"discriminator": other, "generator": source.state_dict()})
    assert same(module, source)
    both = {"first": source.state_dict(), "second": source.state_dict()}
    assert "holds several state dicts: first, second; choose one with key='first'" in refused(module, both)
    upbench.load_weights(module, both, key="first")


@pytest.mark.parametrize("zipped", [True, False])
def test_foreign_classes_are_neither_run_nor_in_the_way(
    source: nn.Module, module: nn.Module, tmp_path: Path, zipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = types.ModuleType("a_framework_that_is_gone")
    gone.Config = type("Config", (dict,), {"__module__": gone.__name__})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, gone.__name__, gone)
    held = {
        "state_dict": source.state_dict(),
        "message_hub": {"hub": Hub(), "history": collections.deque([1, 2])},
        "args": argparse.Namespace(lr=0.1, path=Path("a")),
        "best": numpy.float64(0.5),
        "phase": Phase.train,
        "config": gone.Config(a=1),  # type: ignore[attr-defined]
        "mean": numpy.arange(3.0),
        "counts": collections.defaultdict(int, a=1),
        "dtype": torch.float16,
    }
    torch.save(held, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    monkeypatch.delitem(sys.modules, gone.__name__)
    RAN.clear()
    upbench.load_weights(module, tmp_path / "a.pth")
    assert same(module, source)
    assert RAN == []


def test_code_in_a_pickle_is_not_run(module: nn.Module, tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (exec, (f"open({str(marker)!r}, 'w')",))

    for name, save in (("a.pth", torch.save), ("b.pkl", lambda o, p: p.write_bytes(pickle.dumps(o)))):
        save({"state_dict": Evil()}, tmp_path / name)
        refused(module, tmp_path / name)
    assert not marker.exists()


def test_arrays_and_plain_pickles_load(source: nn.Module, module: nn.Module, tmp_path: Path) -> None:
    arrays = {key: value.numpy() for key, value in source.state_dict().items()}
    assert same(upbench.load_weights(module, arrays), source)
    for protocol in (2, 4):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "someone"}, protocol))
        fresh = upbench.build("carafe", 16, seed=3)
        assert same(upbench.load_weights(fresh, tmp_path / "a.pkl"), source)
    torch.save(arrays, tmp_path / "a.pth")
    assert same(upbench.load_weights(upbench.build("carafe", 16, seed=3), tmp_path / "a.pth"), source)
    swapped = {key: value.astype(value.dtype.newbyteorder(">")) for key, value in arrays.items()}
    assert same(upbench.load_weights(upbench.build("carafe", 16, seed=3), swapped), source)


def test_open_files_load(source: nn.Module, module: nn.Module, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(source.state_dict(), buffer)
    buffer.seek(0)
    assert same(upbench.load_weights(module, buffer), source)
    path = tmp_path / "a.pth"
    path.write_bytes(buffer.getvalue())
    with path.open("rb") as file:
        assert same(upbench.load_weights(upbench.build("carafe", 16, seed=3), file), source)
    with path.open(encoding="latin1") as text:
        assert "was opened as text; open it with mode 'rb'" in refused(module, text)
    assert "not list" in refused(module, [1])
    assert "not bytes" in refused(module, b"abc")


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "bool", "complex64", "float8_e4m3fn"])
def test_values_of_another_kind_are_refused(source: nn.Module, module: nn.Module, dtype: str) -> None:
    state = source.state_dict()
    key = "channel_compressor.weight"
    state[key] = (state[key] * 127).to(getattr(torch, dtype))
    text = refused(module, state)
    assert f"{key} has values of {dtype}, but the module's are float32" in text
    assert "Build the module" not in text


@pytest.mark.parametrize("dtype", [torch.qint8, torch.quint8, torch.qint32])
@pytest.mark.parametrize("in_memory", [True, False])
def test_quantised_values_are_refused_and_the_hint_works(
    source: nn.Module, module: nn.Module, tmp_path: Path, dtype: torch.dtype, in_memory: bool
) -> None:
    state = source.state_dict()
    key = "channel_compressor.bias"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        state[key] = torch.quantize_per_tensor(state[key], 0.01, 0, dtype)
        torch.save(state, tmp_path / "a.pth")
    name = str(dtype).removeprefix("torch.")
    assert f"{key} is quantised ({name}); give value.dequantize()" in refused(
        module, state if in_memory else tmp_path / "a.pth"
    )
    upbench.load_weights(module, {**state, key: state[key].dequantize()})


def test_values_that_are_no_numbers_or_do_not_fit_are_refused_by_name(source: nn.Module, module: nn.Module) -> None:
    key = "channel_compressor.bias"
    for bad in (float("nan"), float("inf")):
        state = {name: value.clone() for name, value in source.state_dict().items()}
        state[key][3] = bad
        assert f"{key} has 1 value that is not finite" in refused(module, state)
    half = upbench.build("carafe", 16, seed=2).half()
    large = {**source.state_dict(), key: torch.full((64,), 1e6)}
    assert f"{key} has values up to 1e+06, beyond what float16 can hold" in refused(half, large)
    small = {**source.state_dict(), key: torch.full((64,), 1e-20)}
    assert f"{key} has only values that float16 rounds to 0" in refused(half, small)
    sparse = {**source.state_dict(), key: torch.zeros(64).to_sparse()}
    assert f"{key} is sparse" in refused(module, sparse)
    assert f"{key} is on the meta device" in refused(module, {**source.state_dict(), key: torch.zeros(64).to("meta")})
    assert f"{key} is a str, not a tensor" in refused(module, {**source.state_dict(), key: "x"})
    assert f"{key} is an array of <U1" in refused(module, {**source.state_dict(), key: numpy.array(["x"] * 64)})
    assert "the key 3 is int" in refused(module, {**source.state_dict(), 3: torch.zeros(1)})


def test_casts_that_keep_the_meaning_are_made(source: nn.Module, module: nn.Module) -> None:
    doubles = {key: value.double() for key, value in source.state_dict().items()}
    assert same(upbench.load_weights(module, doubles), source)
    upbench.load_weights(module, {key: value.bfloat16() for key, value in source.state_dict().items()})
    norm = nn.BatchNorm2d(4)
    averaged = {**norm.state_dict(), "num_batches_tracked": torch.tensor(7.0)}
    assert int(upbench.load_weights(norm, averaged).num_batches_tracked) == 7
    assert "num_batches_tracked has values of float32, but the module's are int64" in refused(
        norm, {**averaged, "num_batches_tracked": torch.tensor(7.5)}
    )


def _code(text: str) -> str:
    """The call in a sentence."""
    return re.search(r"upbench\.load_weights\(module, .*\)$", text)[0]  # type: ignore[index]


def test_whole_models_are_named_and_the_hint_works(source: nn.Module, module: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    for held in (source, {"epoch": 1, "model": source, "optimizer": None}):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.save(held, path)
        text = refused(module, path)
        assert "upbench.upsamplers.carafe.CARAFE" in text
        fresh = upbench.build("carafe", 16, seed=3)
        exec(_code(text), {"upbench": upbench, "torch": torch, "module": fresh, "path": path})
        assert same(fresh, source)
    assert "is a module (CARAFE), not a state dict; give its state_dict()" in refused(module, source)


def test_other_archives_are_named_and_their_hints_work(source: nn.Module, module: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    eager = upbench.build("carafe", 16, seed=1, backend="eager").eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(nn.Sequential(nn.Conv2d(1, 1, 1)), torch.zeros(1, 1, 2, 2)).save(str(path))
    text = refused(nn.Sequential(nn.Conv2d(1, 1, 1)), path)
    assert "is TorchScript" in text
    exec(
        _code(text),
        {"upbench": upbench, "torch": torch, "module": nn.Sequential(nn.Conv2d(1, 1, 1)), "path": str(path)},
    )
    numpy.savez(tmp_path / "a.npz", **{key: value.numpy() for key, value in eager.state_dict().items()})
    text = refused(module, tmp_path / "a.npz")
    assert "is an archive of numpy arrays" in text
    exec(_code(text), {"upbench": upbench, "numpy": numpy, "module": module, "path": tmp_path / "a.npz"})
    assert same(module, eager)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("model/a.pth", "x")
    assert "is a zip archive that torch.save did not write; unpack it, it holds model/a.pth" in refused(
        module, tmp_path / "a.zip"
    )


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "is a Git LFS pointer"),
        (b"<!DOCTYPE html>\n<html>Sign in</html>", "is an HTML or XML page"),
        (b"\n <html lang=en>", "is an HTML or XML page"),
        (b"upsampler: carafe\n", "it is a text file that begins with 'upsampler: carafe'"),
        (b"\x1f\x8b\x08\x00abc", "is a compressed archive"),
        (b"\x93NUMPY\x01\x00", "is a single numpy array"),
        (b"\x00\x01\xff\xfe" * 50, "cannot be read as weights"),
        (b"\x80\x02}q\x00.", "is an empty dict"),
        (b"\x80\x02]q\x00.", "holds a list, not a state dict"),
        (b"PK\x03\x04 and then nothing", "is cut off"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{\"a\": 1}", "safetensors"),
    ],
)  # fmt: skip
def test_files_of_another_kind_are_named(module: nn.Module, tmp_path: Path, content: bytes, part: str) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    text = refused(module, path)
    assert part in text
    assert str(path) in text


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_is_cut_off_is_named(module: nn.Module, source: nn.Module, tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "a.pth"
    torch.save(source.state_dict(), path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for part in (0.3, 0.9, 0.99):
        path.write_bytes(whole[: int(len(whole) * part)])
        assert "cut off" in refused(module, path)
    assert "is a folder" in refused(module, tmp_path)
    assert "there is no such file" in refused(module, tmp_path / "none.pth")
    assert "is an empty dict" in refused(module, {})


def test_a_module_whose_own_loading_fails_is_as_before(source: nn.Module) -> None:
    class Strict(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)

        def load_state_dict(self, state: Any, *more: Any, **others: Any) -> Any:
            result = super().load_state_dict(state, *more, **others)
            if float(state["second.bias"][0]) == 7:
                raise ValueError("seven")
            return result

    module = Strict()
    state = {key: torch.full_like(value, 7) for key, value in module.state_dict().items()}
    assert "the weights do not fit Strict: ValueError: seven" in refused(module, state)
