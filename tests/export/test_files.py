"""`upbench export` and `upbench.export`: what is written is right at every size, and nothing else is written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import upbench as package
from tests.command_line import refused, upbench
from upbench.benchmark import spec_module
from upbench.errors import UpbenchError
from upbench.exchange import formats, onnx_file
from upbench.specs import run_spec

pytest.importorskip("onnxruntime", reason="needs onnxruntime")
pytest.importorskip("onnxscript", reason="needs onnxscript")
pytestmark = pytest.mark.filterwarnings("ignore")


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_onnx_file_is_open_in_size_says_what_it_is_and_runs_alone(tmp_path: Path) -> None:
    file = tmp_path / "carafe.onnx"
    result = upbench("export", "carafe:k_up=3", "--shape", "16x6x5", "-o", file)
    assert result.exit_code == 0, result.output
    assert "inputs: batchx16xheightxwidth" in result.stdout
    assert result.stdout.count("limit 1.0e-05)") == 3
    assert left(tmp_path) == ["carafe.onnx"]
    about = onnx_file.metadata(file)
    assert json.loads(about["upbench.spec"])["params"]["k_up"] == 3
    assert json.loads(about["upbench.versions"])["torch"] == torch.__version__
    judged = json.loads(about["upbench.tolerance"])
    assert [one["size"] for one in judged] == ["1x16x6x5", "1x16x7x7", "1x16x8x240"]
    assert all(one["error"] <= one["limit"] for one in judged)
    assert onnx_file.facts(file)["left"] == {}
    x = torch.randn(2, 16, 9, 4, generator=torch.Generator().manual_seed(0))
    torch.save(x, tmp_path / "x")
    code = (
        "import sys; sys.modules['upbench'] = None\n"
        "import onnxruntime, torch\n"
        "x = torch.load(sys.argv[2])\n"
        "(out,) = onnxruntime.InferenceSession(sys.argv[1]).run(None, {'x': x.numpy()})\n"
        "torch.save(torch.from_numpy(out), sys.argv[2])\n"
    )
    subprocess.run([sys.executable, "-c", code, str(file), str(tmp_path / "x")], check=True)
    module = package.build("carafe", 16, seed=0, k_up=3).eval()
    torch.testing.assert_close(torch.load(tmp_path / "x"), module(x), rtol=1e-5, atol=1e-5)


def test_points_are_read_by_gathers_or_by_gridsample(tmp_path: Path) -> None:
    module, x = package.build("dysample", 16, seed=0).eval(), torch.randn(1, 16, 4, 6)
    kinds = {}
    for sampling in ("gathers", "gridsample"):
        file = tmp_path / f"{sampling}.onnx"
        found = package.export(module, x, file, sampling=sampling, dynamic=False)
        assert found.inputs == [[1, 16, 4, 6]]
        kinds[sampling] = file.read_bytes().count(b"GridSample")
    assert kinds["gathers"] == 0 < kinds["gridsample"]


def test_a_guided_one_in_half_precision_at_another_opset(tmp_path: Path) -> None:
    file = tmp_path / "up.onnx"
    result = upbench("export", "indexnet", "--shape", "16x4x6", "--dtype", "float16", "--opset", 18, "-o", file)
    assert result.exit_code == 0, result.output
    assert onnx_file.sizes(file) == [
        ["batch", 16, "height", "width"],
        ["batch", 16, "2*height", "2*width"],
    ]
    assert onnx_file.facts(file)["opset"] == 18
    assert onnx_file.load(file)(torch.ones(1, 16, 3, 5).half(), torch.ones(1, 16, 6, 10).half())[0].dtype == torch.half


def test_a_program_of_torch_with_weights_of_safetensors(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch", reason="needs safetensors")
    module = package.build("pixelshuffle", 8, seed=3).eval()
    safetensors.save_file(module.state_dict(), tmp_path / "w.safetensors")
    file = tmp_path / "up.pt2"
    result = upbench("export", "pixelshuffle", "--shape", "8x4x6", "--weights", tmp_path / "w.safetensors", "-o", file)
    assert result.exit_code == 0, result.output
    x = torch.randn(3, 8, 5, 9)
    torch.testing.assert_close(formats.of(file).load(file)(x)[0], module(x))
    assert json.loads(formats.of(file).metadata(file)["upbench.spec"])["upsampler"] == "pixelshuffle"
    loaded = package.load_weights(package.build("pixelshuffle", 8), tmp_path / "w.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), module.parameters(), strict=True))


class Planted(nn.Module):
    """What is exported is right at the traced width alone."""

    def forward(self, x: Tensor) -> Tensor:
        out = F.interpolate(x, size=(2 * x.shape[2], 2 * x.shape[3]), mode="bilinear")
        return out + 0.01 * (x.shape[3] - 8) if torch.compiler.is_exporting() else out


class Baked(nn.Module):
    """A size becomes a constant."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.linspace(0, 1, x.shape[3])


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_a_file_that_is_wrong_at_the_second_size_is_not_written(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"up{suffix}"
    with pytest.raises(UpbenchError, match=r"Planted: the file is .* off at 1x3x7x9; limit 1e-05; .* is not written"):
        package.export(Planted(), torch.randn(1, 3, 6, 8), file)
    assert left(tmp_path) == []
    with pytest.raises(UpbenchError, match=r"it is kept as .*rejected"):
        package.export(Planted(), torch.randn(1, 3, 6, 8), file, keep_rejected=True)
    assert left(tmp_path) == [f"up{suffix}.rejected"]
    assert package.export(Planted(), torch.randn(1, 3, 6, 8), file, dynamic=False).path.exists()


class Several(nn.Module):
    """Goes on by whether there are several samples, as attention of some hosts makes torch.export do."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x if x.shape[0] > 1 else x + x


@pytest.mark.parametrize("samples", [1, 3])
def test_where_the_number_of_samples_cannot_stay_open_rows_and_columns_do(tmp_path: Path, samples: int) -> None:
    file = tmp_path / "up.pt2"
    found = package.export(Several(), torch.randn(samples, 3, 6, 8), file)
    assert found.inputs == [[samples, 3, "height", "width"]]
    assert found.fixed is not None
    assert "with an open number torch.export makes a program of Several that does not hold for one" in found.fixed
    assert formats.of(file).metadata(file)["upbench.fixed"] == found.fixed
    assert [one.size for one in found.agreements] == [f"{samples}x3x6x8", f"{samples}x3x7x9", f"{samples}x3x8x240"]
    x = torch.randn(samples, 3, 9, 5)
    assert torch.equal(formats.of(file).load(file)(x)[0], 2 * x)
    assert package.export(nn.Identity(), torch.randn(1, 3, 6, 8), tmp_path / "open.pt2").fixed is None


class Kept(nn.Module):
    """Goes on by how many values it keeps, as a detector by its boxes."""

    def forward(self, x: Tensor) -> Tensor:
        kept = x[x > 0]
        return x * 2 if kept.numel() > 4 else x


def test_a_forward_that_goes_on_by_a_number_of_values_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(
        UpbenchError, match="follows no forward that goes on by a number of values which only a run tells"
    ):
        package.export(Kept(), torch.randn(1, 3, 6, 8), tmp_path / "up.pt2", dynamic=False)
    assert left(tmp_path) == []


def test_inputs_that_are_no_tensors_are_refused(tmp_path: Path) -> None:
    """The detectors of torchvision take a list of images."""
    with pytest.raises(UpbenchError, match="argument 0 is a list, but a file is called with tensors"):
        package.export(nn.Identity(), ([torch.rand(3, 8, 8)],), tmp_path / "detector.onnx")
    assert list(tmp_path.iterdir()) == []


class Named(nn.Module):
    """Returns its maps by names, as the segmenters of torchvision do."""

    def __init__(self, **beside: object) -> None:
        super().__init__()
        self.beside = beside

    def forward(self, x: torch.Tensor) -> dict[str, object]:
        return {"out": x * 2, "aux": x + 1, **self.beside}


def test_maps_that_are_returned_by_names_are_outputs_of_the_file(tmp_path: Path) -> None:
    x = torch.rand(1, 2, 6, 5)
    done = package.export(Named(), x, tmp_path / "named.pt2")
    assert all(one.passed for one in done.agreements)
    out, aux = torch.export.load(tmp_path / "named.pt2").module()(x)
    assert torch.equal(out, x * 2)
    assert torch.equal(aux, x + 1)
    with pytest.raises(package.UpbenchError, match="returns int beside or instead of tensors"):
        package.export(Named(count=3), x, tmp_path / "number.pt2")
    assert not (tmp_path / "number.pt2").exists()


def test_a_size_that_becomes_a_constant_is_read_back_and_refused(tmp_path: Path) -> None:
    with pytest.raises(UpbenchError, match=r"its forward makes a constant|the file fails on 1x3x7x9"):
        package.export(Baked(), torch.randn(1, 3, 6, 8), tmp_path / "up.onnx")
    assert left(tmp_path) == []


def test_bad_input_is_one_sentence_and_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "up.onnx"
    name = ("export", "carafe", "--shape", "16x4x6", "-o", file)
    assert "opset is 15, but must be 18 to 22: GridSample is known from 16 on" in refused(*name, "--opset", 15)
    assert "dtype is bfloat16, but a file holds float32 or float16" in refused(*name, "--dtype", "bfloat16")
    assert "sampling is 'grid', but must be gathers or gridsample" in refused(*name, "--sampling", "grid")
    assert "scale is 1.5, but carafe can do whole numbers only" in refused(*name, "--scale", 1.5)
    assert "--fixed: a file of one size needs that size" in refused("export", "carafe", "--fixed", "-o", file)
    assert "--prefix: says where an upsampler stands in weights; give --weights" in refused(*name, "--prefix", "up.")
    assert "must end in one of .onnx, .aoti.pt2, .pt2" in refused("export", "carafe", "-o", tmp_path / "up.tflite")
    assert "opset is 18, but a .pt2 file has none" in refused(
        "export", "carafe", "-o", tmp_path / "a.pt2", "--opset", 18
    )
    torch.save(package.build("carafe", 32).state_dict(), tmp_path / "w.pth")
    assert "the weights do not fit CARAFE" in refused(*name, "--weights", tmp_path / "w.pth")
    assert "there is no such file" in refused(*name, "--weights", tmp_path / "none.pth")
    file.write_text("")
    assert f"output {file} exists; remove it" in refused(*name)
    file.unlink()
    monkeypatch.setattr(formats, "find_spec", lambda name: None if name == "onnxscript" else True)
    assert (
        "needs onnxscript; in the clone of upbench run: pip install -c constraints.txt -e '.[onnxruntime]'"
        in refused(*name)
    )
    assert left(tmp_path) == ["w.pth"]


def test_the_weights_in_a_file_are_named(tmp_path: Path) -> None:
    done = upbench("export", "carafe", "--shape", "8x6x5", "--set", "k_up=3", "--seed", 4, "-o", tmp_path / "a.pt2")
    call = done.stdout.splitlines()[-1].partition("upbench.build")[2]
    assert call == "('carafe', 8, seed=4, k_up=3)"
    assert "Warning" not in done.stderr
    given = run_spec.load({"upsampler": "carafe", "params": {"k_up": 3}, "input": {"shape": "8x6x5", "seed": 4}}, "")
    module, _ = spec_module.built(given, None, "")
    same = package.build("carafe", 8, seed=4, k_up=3).state_dict()
    assert all(torch.equal(value, same[key]) for key, value in module.state_dict().items())
