"""Models of torchvision, segmentation-models-pytorch and transformers, by the command line and from Python."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import upbench
from tests.command_line import refused
from tests.command_line import upbench as run
from tests.models import torchvision_operators
from upbench.errors import UpbenchError
from upbench.models import answering, catalogue, example_inputs, factory, replacing

pytestmark = pytest.mark.filterwarnings("ignore")
needs_torchvision = pytest.mark.skipif(not torchvision_operators.available(), reason="needs torchvision")
MODELS = {
    "torchvision/fasterrcnn_resnet50_fpn": ("torchvision", (64, 64), 4, 3),
    "smp/fpn-resnet18": ("segmentation_models_pytorch", (64, 96), 10, 9),
    "smp/unet-resnet18": ("segmentation_models_pytorch", (64, 96), 5, 5),
    "transformers/segformer-b0": ("transformers", (64, 96), 4, 3),
}
"""Name -> the package it needs, size of the image, upsampling calls, and those of feature maps."""


@needs_torchvision
@pytest.mark.parametrize("name", MODELS)
def test_a_real_model_is_listed_replaced_and_restored(name: str) -> None:
    package, size, calls, learnable = MODELS[name]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}")
    # A detector resizes images to 800 pixels by itself.
    model = factory.build(
        name, {"min_size": 64, "max_size": 96, "rpn_post_nms_top_n_test": 20} if "rcnn" in name else None
    )
    args, kwargs = example_inputs.for_image(model, *size)
    listed = upbench.sites(model, *args, **kwargs)
    assert (len(listed), sum(site.learnable for site in listed)) == (calls, learnable)
    with torch.no_grad():
        before = list(recorded(model, args, kwargs))
        upbench.replace(model, "repeat", sites=listed)
        with answering.counted() as answered:
            after = list(recorded(model, args, kwargs))
        assert set(answered) == {site.name for site in listed if site.learnable}
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
        upbench.restore(model)
        upbench.replace(model, "dysample", sites=listed)
        list(recorded(model, args, kwargs))
    assert sum(p.numel() for p in model.upsamplers.parameters()) > 0


def recorded(model: torch.nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> list[torch.Tensor]:
    from upbench.models.recording import tensors

    torch.manual_seed(0)
    return list(tensors((model(*args, **kwargs),)))


@needs_torchvision
def test_the_command_lists_sites() -> None:
    pytest.importorskip("segmentation_models_pytorch")
    done = run("sites", "smp/unet-resnet18", "--input", "64x96")
    assert "decoder.blocks.0:0" in done.stdout
    assert "5 upsampling calls, 5 of feature maps" in done.stdout
    rows = json.loads(run("sites", "smp/unet-resnet18", "--input", "64x96", "--format", "json").stdout)
    assert [row["scale"] for row in rows] == [2] * 5
    assert rows[0]["guide"] == "argument skip_connection (256)"


def test_a_model_of_ones_own_with_inputs_of_ones_own(tmp_path: Path) -> None:
    inputs = tmp_path / "inputs.py"
    inputs.write_text("import torch\n\ndef make():\n    return {'image': torch.rand(1, 3, 32, 32)}\n")
    done = run("sites", "tests.models.hosts:segmenter", "--model-input", f"{inputs}:make")
    assert "head:1" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["tests.models.hosts:segmenter"], "a model needs inputs: give --input HEIGHTxWIDTH"),
        (["tests.models.hosts:segmenter", "--input", "64"], "is not HEIGHTxWIDTH"),
        (
            ["tests.models.hosts:segmenter", "--input", "99999999x99999999"],
            "GiB do not fit into memory; give a smaller",
        ),
        (["nothing/of-the-kind", "--input", "8x8"], "unknown model 'nothing/of-the-kind'"),
        (["no_such_package:make", "--input", "8x8"], "nor such a module in the environment"),
        (["lraspp_mobilenet_v3_large", "--input", "8x8"], "write torchvision/lraspp_mobilenet_v3_large or timm/"),
        (["unet-resnet50", "--input", "8x8"], "begins with its library: write smp/unet-resnet50; one of your own"),
        (["tests/models/hosts.py:Neck", "--input", "8x8"], "as Python imports it: tests.models.hosts:Neck"),
        (["./tests/models/hosts.py:Neck", "--input", "8x8"], "as Python imports it: tests.models.hosts:Neck"),
        (["tests.models.hosts", "--input", "8x8"], "is written tests.models.hosts:Class"),
        (["tests.models.hosts.Neck", "--input", "8x8"], "is a module here: write tests.models.hosts:Neck"),
        (["tests.models.host:Neck", "--input", "8x8"], "did you mean 'tests.models.hosts:Neck'?"),
        (["tests.models.hosts:HelperHed", "--input", "8x8"], "did you mean 'HelperHead'?"),
        (["tests.models.hosts:segmentor", "--input", "8x8"], "did you mean 'segmenter'?"),
        (["tests.models.hosts:nothing", "--input", "8x8"], "unknown class or function in tests.models.hosts 'nothing'"),
        (["tests.models.hosts:image", "--input", "8x8"], "returned Tensor, but must return a torch.nn.Module"),
        (
            ["tests.models.hosts:Head", "--input", "8x8", "--model-arg", "width=3"],
            "has no such argument; it has: classes",
        ),
        (["tests.models.hosts:Head", "--input", "8x8", "--model-arg", "classes"], "is not KEY=VALUE"),
        (["tests.models.hosts:segmenter", "--model-input", "missing.py:make"], "there is no file missing.py"),
        (["tests.models.hosts:segmenter", "--model-input", f"{__file__}:none"], "has no function 'none'"),
        (["tests.models.hosts:segmenter", "--model-input", f"{__file__}:nothing"], "returned nothing"),
        (["tests.models.test_real_models:fetches", "--input", "8x8"], "wants to fetch weights while it is built"),
    ],
    ids=lambda value: "" if isinstance(value, list) else None,
)
def test_what_cannot_be_listed_is_refused(arguments: list[str], sentence: str) -> None:
    assert sentence in refused("sites", *arguments)


@needs_torchvision
@pytest.mark.parametrize(
    ("name", "package", "sentence"),
    [
        (
            "torchvision/fasterrcnn_resnet5_fpn",
            "torchvision",
            "names of torchvision.models.list_models(); did you mean",
        ),
        ("smp/fpn-resnet19", "segmentation_models_pytorch", "there is no 'resnet19' among the"),
        ("timm/resnet5O", "timm", "there is no 'resnet5O' among the"),
    ],
)
def test_a_name_that_a_library_does_not_have_is_answered_by_the_nearest(name: str, package: str, sentence: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}")
    said = refused("sites", name, "--input", "64x64")
    assert sentence in said
    assert "did you mean" in said


def nothing() -> None:
    """Make no inputs."""


def fetches() -> torch.nn.Module:
    torch.hub.load_state_dict_from_url("https://example.invalid/weights.pth", progress=False)
    return torch.nn.Identity()


def test_names_of_models_are_listed_with_an_example_each() -> None:
    assert "torchvision/fasterrcnn_resnet50_fpn" in catalogue.names()
    assert not any("{" in name for name in catalogue.names())
    assert replacing.arguments({"x": 1}) == ((), {"x": 1})


@pytest.mark.parametrize(
    ("torch_version", "command"),
    [
        ("2.13.0+cpu", "torchvision==0.28.0 --index-url https://download.pytorch.org/whl/cpu"),
        ("2.7.1+cu126", "torchvision==0.22.1 --index-url https://download.pytorch.org/whl/cu126"),
        ("2.7.1", "torchvision==0.22.1"),
    ],
)
def test_the_torchvision_of_a_torch_is_named(monkeypatch: pytest.MonkeyPatch, torch_version: str, command: str) -> None:
    def load(*_: Any) -> Any:
        raise UpbenchError("broken") from RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(factory.torch, "__version__", torch_version)
    monkeypatch.setattr(factory.modules, "load", load)
    with pytest.raises(UpbenchError) as told:
        factory.load("tests.models.hosts:segmenter")
    assert str(told.value).endswith(f"run: pip install --force-reinstall --no-deps {command}")
