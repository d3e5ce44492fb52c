"""Files of weights as they are damaged, written and wrapped in the wild."""

from __future__ import annotations

import io
import pickle
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import upbench
from upbench.errors import WeightsError


@pytest.fixture
def source() -> nn.Module:
    torch.manual_seed(1)
    return upbench.build("carafe", channels=8)


@pytest.fixture
def module() -> nn.Module:
    torch.manual_seed(2)
    return upbench.build("carafe", channels=8)


def loaded(module: nn.Module, source: nn.Module) -> bool:
    own = module.state_dict()
    return all(torch.equal(own[key], value) for key, value in source.state_dict().items())


def _inverted(path: Path, record: str) -> None:
    """Invert some bytes in the middle of a record of a zip archive, as a bad disk or transfer does."""
    import zipfile

    with zipfile.ZipFile(path) as archive:
        info = next(one for one in archive.infolist() if one.filename.endswith(record))
    content = bytearray(path.read_bytes())
    start = content.find(info.filename.encode()) + len(info.filename) + info.file_size // 2
    for n in range(start, start + 64):
        content[n] ^= 255
    path.write_bytes(content)


def test_a_damaged_record_is_named_and_nothing_is_loaded(module: nn.Module, source: nn.Module, tmp_path: Path) -> None:
    torch.save(source.state_dict(), tmp_path / "w.pth")
    _inverted(tmp_path / "w.pth", "data/2")
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(WeightsError, match=r"w\.pth: is damaged: \S*data/2 does not match its checksum"):
        upbench.load_weights(module, tmp_path / "w.pth")
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_a_file_that_was_written_without_checksums_loads(module: nn.Module, source: nn.Module, tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(source.state_dict(), tmp_path / "w.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert loaded(upbench.load_weights(module, tmp_path / "w.pth"), source)


def test_a_pickle_of_tensors_loads(module: nn.Module, source: nn.Module, tmp_path: Path) -> None:
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"model": dict(source.state_dict())}))
    assert loaded(upbench.load_weights(module, tmp_path / "w.pkl"), source)


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "uint16"])
def test_values_without_a_storage_class_are_refused_by_their_dtype(
    module: nn.Module, source: nn.Module, tmp_path: Path, dtype: str
) -> None:
    def cast(value: Tensor) -> Tensor:
        return value.abs().to(torch.int32).to(getattr(torch, dtype))

    torch.save({key: cast(value) for key, value in source.state_dict().items()}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=f"has values of {dtype}"):
        upbench.load_weights(module, tmp_path / "w.pth")


def test_another_format_is_not_said_to_be_cut_off(module: nn.Module, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\x08\x08\x12\x07pytorch\x1a\x05" + bytes(99))
    with pytest.raises(
        WeightsError, match=r"torch\.save and pickle write no such file; it begins with the bytes 08 08"
    ):
        upbench.load_weights(module, tmp_path / "m.onnx")


@pytest.mark.parametrize("mark", ["_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "module._orig_mod."])
@pytest.mark.parametrize("inside", [False, True])
def test_wrappers_inside_keys_are_taken_away(module: nn.Module, source: nn.Module, mark: str, inside: bool) -> None:
    state = {}
    for key, value in source.state_dict().items():
        layer, _, name = key.rpartition(".")
        state[f"{layer}.{mark}{name}" if inside and not mark.startswith("module") else f"{mark}{key}"] = value
    assert loaded(upbench.load_weights(module, state), source)


def test_statistics_are_not_offered_as_weights(module: nn.Module, source: nn.Module) -> None:
    score = {"ModelCheckpoint": {"best_model_score": torch.tensor(0.3)}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert loaded(upbench.load_weights(module, {"state_dict": source.state_dict(), "callbacks": score}), source)


def test_a_key_is_offered_only_where_it_would_load(module: nn.Module, source: nn.Module) -> None:
    held = {"G": source.state_dict(), "D": {"w": torch.ones(2)}, "G_ema": source.state_dict()}
    with pytest.warns(UserWarning, match="took the weights under 'G'; .* 'D', 'G_ema', which key='G_ema' takes"):
        upbench.load_weights(module, held)
    with pytest.warns(UserWarning, match="there are others under 'D', which do not fit"):
        upbench.load_weights(module, {"G": source.state_dict(), "D": {"w": torch.ones(2)}})


@pytest.mark.parametrize("address", ["https://example.org/w.pth", "s3://bucket/w.pth", "file:///w.pth"])
def test_an_address_is_not_a_file(module: nn.Module, address: str) -> None:
    with pytest.raises(WeightsError, match="only files are read") as raised:
        upbench.load_weights(module, address)
    assert address in str(raised.value)


def test_a_file_object_at_its_end_is_said_to_be_there(module: nn.Module, source: nn.Module) -> None:
    file = io.BytesIO()
    torch.save(source.state_dict(), file)
    with pytest.raises(WeightsError, match="rewind it"):
        upbench.load_weights(module, file)
    with pytest.raises(WeightsError, match="it is empty"):
        upbench.load_weights(module, io.BytesIO())
    file.seek(0)
    upbench.load_weights(module, file)
    assert loaded(module, source)
