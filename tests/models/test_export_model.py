"""`upbench export --model`: a model with an upsampler in it as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import upbench
from tests.command_line import refused
from tests.command_line import upbench as run
from tests.models.hosts import image, pooled
from upbench.exchange import formats
from upbench.models import exported
from upbench.specs import run_spec

HOST = ("--model", "tests.models.hosts:segmenter", "--input", "64x48")
pytestmark = pytest.mark.filterwarnings("ignore")


def test_a_model_with_an_upsampler_is_written_and_returns_the_same(tmp_path: Path) -> None:
    file = tmp_path / "segmenter.pt2"
    done = run("export", "carafe:compressed=8", *HOST, "--fixed", "--where", "head:0", "-o", file)
    assert done.exit_code == 0, done.output
    assert "inputs: 1x3x64x48" in done.stdout
    model = {"name": "tests.models.hosts:segmenter", "input": "64x48", "where": ["head:0"]}
    module, _ = exported.built(
        run_spec.load({"upsampler": "carafe", "params": {"compressed": 8}, "model": model}, "a spec")
    )
    with torch.no_grad():
        torch.testing.assert_close(torch.export.load(file).module()(image()), module(image()), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("suffix", "upsampler"),
    [(".pt2", "bilinear"), pytest.param(".pt2", "dysample", marks=pytest.mark.slow), (".onnx", "dysample")],
)
def test_a_file_of_a_model_takes_other_sizes_than_the_traced_one(
    tmp_path: Path, suffix: str, upsampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime", reason="needs onnxruntime")
        pytest.importorskip("onnxscript", reason="needs onnxscript")
    monkeypatch.setenv("COLUMNS", "80")
    file = tmp_path / f"pooled{suffix}"
    done = run("export", upsampler, "--model", "tests.models.hosts:pooled", "--input", "8x6", "-o", file)
    assert done.exit_code == 0, done.output
    form = formats.of(file)
    assert form.sizes(file) == [["batch", 3, "height", "width"]]
    assert "inputs: batchx3xheightxwidth" in done.stdout
    if suffix == ".onnx":
        session = pytest.importorskip("onnxruntime").InferenceSession(file)
        names = [", ".join(one.name for one in every) for every in (session.get_inputs(), session.get_outputs())]
        assert f"names: inputs {names[0]}; outputs {names[1]}\n" in done.stdout
    assert max(map(len, done.stdout.replace(str(tmp_path), "").splitlines())) <= 80
    model = upbench.replace(pooled(), upsampler, inputs=image(8, 6))
    call = form.load(file)
    for size in ((8, 6), (9, 13), (12, 7)):
        given = image(*size)
        with torch.no_grad():
            torch.testing.assert_close(call(given)[0], model(given), rtol=1e-4, atol=1e-6)


def test_a_model_that_takes_a_list_of_images_is_a_file_of_their_sizes(tmp_path: Path) -> None:
    inputs, file = tmp_path / "inputs.py", tmp_path / "out.pt2"
    inputs.write_text(
        "import torch\n\n\ndef two():\n    torch.manual_seed(0)\n"
        "    return ([torch.rand(1, 3, 64, 48), torch.rand(1, 3, 32, 48)],)\n"
    )
    host = ("--model", "tests.models.hosts:Listed", "--model-input", f"{inputs}:two")
    done = run("export", "bilinear", *host, "--fixed", "-o", file)
    assert done.exit_code == 0, done.output
    assert "inputs: 1x3x64x48, 1x3x32x48" in done.stdout
    assert [out.shape[2:] for out in formats.of(file).load(file)(*(image(n, 48) for n in (64, 32)))] == [
        (64, 48),
        (32, 48),
    ]


def test_a_size_that_the_model_makes_a_constant_of_is_named(tmp_path: Path) -> None:
    host = ("--model", "tests.models.hosts:pooled", "--model-arg", "bakes=true", "--input", "8x6")
    said = refused("export", "bilinear", *host, "-o", tmp_path / "out.pt2")
    assert "batchx3x8xwidth only: its forward makes a constant of the height, as" in said
    assert not (tmp_path / "out.pt2").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--where", "head:0"], "--where: needs --model"),
        (["--input", "64x64"], "--input: needs --model"),
        ([*HOST, "--shape", "8x8x8", "--prefix", "up."], "--shape, --prefix: cannot be given with --model"),
        ([*HOST[:2]], "model: needs inputs"),
        ([*HOST, "--where", "neck.*"], "matches no upsampling call"),
        (["--model", "smp/none-x", "--input", "64x64"], "unknown model"),
        (
            ["--model", "tests.models.hosts:Listed", "--model-input", "INPUTS:lists"],
            "is called with list, but open sizes",
        ),
    ],
    ids=lambda value: "" if isinstance(value, list) else value[:24],
)
def test_what_cannot_be_written_is_refused(tmp_path: Path, arguments: list[Any], sentence: str) -> None:
    inputs = tmp_path / "inputs.py"
    inputs.write_text("import torch\n\n\ndef lists():\n    return ([torch.rand(1, 3, 64, 48)],)\n")
    given = [str(argument).replace("INPUTS", str(inputs)) for argument in arguments]
    said = refused("export", "dysample", *given, "-o", tmp_path / "out.pt2")
    assert sentence in said
    assert not (tmp_path / "out.pt2").exists()
