"""`upbench compare --model`: a whole model, as it is and with upsamplers in the place of its own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import upbench
from tests.command_line import refused
from tests.command_line import upbench as run
from tests.models.hosts import Segmenter, image, segmenter
from upbench import registry
from upbench.machine import environment
from upbench.models import model_case, repeating, replacing

HOST = ("--model", "tests.models.hosts:segmenter", "--input", "64x48", "--threads", "1", "--budget", "0.05")
DILATED = ("--model", "tests.models.hosts:Dilated", "--input", "64x72", "--exact")
pytestmark = pytest.mark.filterwarnings("ignore")


class Drawing(Segmenter):
    """Returns other values with every call."""

    def forward(self, image: Tensor) -> Tensor:
        self.calls = getattr(self, "calls", 0) + 1
        return super().forward(image) + self.calls


class Nothing(Segmenter):
    """Finds nothing, as a detector with random weights: boxes [0, 4] and their scores."""

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        found = super().forward(image)
        return {"boxes": found.flatten()[:0].view(0, 4), "scores": found.flatten()[:0]}


@pytest.mark.parametrize("more", [["--exact"], ["--budget", "0.05"]])
def test_a_model_that_finds_nothing_is_compared_all_the_same(more: list[str]) -> None:
    host = ("--model", "tests.models.test_compare_model:Nothing", "--input", "64x48", "--threads", "1")
    done = run("compare", "dysample", *host, *more, "--format", "json")
    assert done.exit_code == 0, done.output
    outputs = [record["output"] for record in json.loads(done.stdout)["records"]]
    assert all(out is None or out["mean"] is None for out in outputs)
    assert all(record["params"] for record in json.loads(done.stdout)["records"])


def test_what_is_added_is_what_the_closed_forms_say() -> None:
    done = run("compare", "dysample", "carafe:compressed=8", "fade", *HOST, "--format", "json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [record["label"] for record in found["records"]] == ["as it is", "dysample", "carafe compressed=8", "fade"]
    assert found["sites"] == ["head:0", "head:1"]
    base, *others = found["records"]
    own = sum(4 * 16 * height * width for height, width in ((8, 6), (16, 12)))
    for record in others:
        name, params = record["spec"]["upsampler"], record["spec"]["params"]
        card = registry.get(name)
        at = registry.setting_of(card, 16, 16, 2, params)
        settings = [replace(at, height=height, width=width) for height, width in ((4, 3), (8, 6))]
        assert card.count_macs is not None
        assert card.count_params is not None
        macs = [card.count_macs(setting) for setting in settings]
        added = {kind: record["macs"][kind] - base["macs"][kind] for kind in ("conv", "gather")}
        assert added == {"conv": sum(m.conv for m in macs), "gather": sum(m.gather for m in macs) - own}, name
        assert record["params"] - base["params"] == 2 * card.count_params(at)
    assert found["verdicts"][0] is None
    assert all(0 < share < 1 for share in found["shares"])


def test_the_table_has_a_row_for_the_model_as_it_is() -> None:
    done = run("compare", "dysample", *HOST, "--where", "head:0", "--mode", "training", env={"COLUMNS": "120"})
    assert done.exit_code == 0, done.output
    assert "as it is" in done.stdout
    assert "Replaced: head:0." in done.stdout
    assert "training" in done.stdout.splitlines()[0]


def test_copies_share_the_weights_of_the_model() -> None:
    model = segmenter()
    twin = repeating.shared_copy(model)
    assert twin.stem is not model.stem
    assert twin.stem.weight is model.stem.weight
    replacing.replace(twin, "dysample", inputs=image())
    assert type(model) is Segmenter
    assert {p.data_ptr() for p in model.parameters()} <= {p.data_ptr() for p in twin.parameters()}


def test_weights_of_a_file_are_those_that_run(tmp_path: Path) -> None:
    model = segmenter()
    torch.save({"state_dict": model.state_dict()}, tmp_path / "weights.pt")
    done = run("compare", "dysample", *HOST, "--weights", tmp_path / "weights.pt", "--format", "json")
    assert done.exit_code == 0, done.output
    wrong = {key: value for key, value in model.state_dict().items() if "stem" not in key}
    torch.save(wrong, tmp_path / "wrong.pt")
    said = refused("compare", "dysample", *HOST, "--weights", tmp_path / "wrong.pt")
    assert "2 weights are missing in it and 0 unknown to the model (stem.weight" in said


def test_weights_of_a_replaced_model_are_loaded_once_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trained = upbench.replace(segmenter(), "dysample", inputs=image())
    for value in trained.parameters():
        value.data += 0.01
    torch.save(trained.state_dict(), "trained.pt")
    weights = ("--weights", "trained.pt")
    done = run("export", "dysample", *HOST[:4], "--fixed", *weights, "-o", "trained.pt2")
    assert done.exit_code == 0, done.output
    given = image(64, 48)
    with torch.no_grad():
        written = torch.export.load("trained.pt2").module()(given)
        torch.testing.assert_close(written[0], trained(given), rtol=1e-4, atol=1e-6)
    done = run("compare", "dysample", "carafe:compressed=8", *HOST, *weights, "-v")
    assert done.exit_code == 0, done.output
    said = " ".join(done.stdout.split())
    assert "The file of weights has other upsamplers than carafe compressed=8, which have random weights." in said
    assert "its upsamplers are not those that stand in the model; carafe: " in refused(
        "compare", "carafe", *HOST, *weights
    )
    said = refused("export", "dysample", *HOST[:4], "--fixed", *weights, "--where", "head:0", "-o", "part.pt2")
    assert "they are of head:0, head:1, and replaced were head:0, see --where" in said


def test_the_channels_that_parameters_have_to_fit_are_those_of_the_sites() -> None:
    host = ("--model", "tests.models.hosts:pooled", "--model-arg", "width=9", "--input", "8x6", *HOST[4:])
    done = run("compare", "dysample", "--set", "groups=3", *host, env={"COLUMNS": "100"})
    assert done.exit_code == 0, done.output
    assert "dysample groups=3" in done.stdout
    said = " ".join(done.stdout.split())
    assert "noise floor" in said
    assert "UNSURE" not in said or "UNSURE: " in said


def test_counts_alone_need_no_timing() -> None:
    table = run("compare", "bilinear", "dysample", *HOST, "--exact")
    assert table.exit_code == 0, table.output
    assert "+46.73K" in table.stdout or "+35.05K" in table.stdout
    assert not {"Latency", "Share"} & set(table.stdout.replace(":", " ").split())
    assert "latency" not in table.stderr
    whole = json.loads(run("compare", "bilinear", *HOST, "--exact", "--format", "json").stdout)
    assert whole["latency_ratios"] == [None, None]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["dysample", *HOST, "--where", "neck.*"], "matches no upsampling call; this model makes: head:0"),
        (["dysample", *HOST, "--host", "faster-rcnn-r50"], "--host: cannot be given with --model"),
        (["dysample", *HOST, "--shape", "8x8x8"], "--shape: cannot be given with --model"),
        (["dysample", *HOST, "--runtime", "onnxruntime"], "--runtime: cannot be given with --model"),
        (
            ["dysample", *HOST, "--columns", "time", "--sort", "latency"],
            "--columns, --sort: cannot be given with --model",
        ),
        (
            ["dysample", *HOST, "--exact", "--max", "latency=1ms", "--strict"],
            "--strict, --max: cannot be given with --model",
        ),
        (["dysample", *HOST, "--min", "params=1"], "--min: cannot be given with --model; leave it out, or --model"),
        (["dysample", *HOST, "--accuracy", "ap.csv"], "--accuracy: cannot be given with --model"),
        (["dysample", *HOST, "--model-arg", "width"], "--model-arg width: `width` is not KEY=VALUE"),
        (["none*", *HOST], "none*: matches no upsampler"),
        (["dysample", "dysample", *HOST], "dysample: given twice"),
        (["anyup", *HOST], "anyup takes guides of another kind"),
        (["dysample:groups=3", *HOST], "groups is 3, which does not divide channels (16)"),
        (
            ["dysample", *DILATED, "--where", "model:0"],
            "possible here: 1, 3, 7, 21 (at model:0); give --set groups=3\n",
        ),
        (["bilinear", "dysample", *DILATED, "--where", "model:0"], "(at model:0); write dysample:groups=3\n"),
        (["dysample", *DILATED, "--where", "asp*"], "model:0 can be: --where model:0 (where='model:0')"),
        (["dysample", *HOST[:3], "1x1"], "`upbench sites` lists every call of the model"),
        (["dysample", "--where", "head:0"], "--where: needs --model"),
        (["dysample", "--model", "tests.models.hosts:segmenter"], "a model needs inputs"),
        (["dysample", *HOST, "--reference", "carafe"], "carafe"),
        (["dysample", *HOST[:2], "--model-input", "inputs.py:make", "--batch", "2"], "--batch: cannot be given with"),
        (["dysample", "--model", "a:", "--input", "8x8"], "is neither a name"),
        (["dysample", "--model", "torch.nn:Identity", "--input", "8x8"], "makes no upsampling call"),
        (["a2u", "--model", "tests.models.hosts:Neck", "--input", "8x8"], "Neck failed on these inputs: TypeError"),
        (["dysample", *HOST[:3], "4x4"], "head:0 cannot be replaced: its output has the size of its input"),
        (
            ["dysample", "--model", "tests.models.test_compare_model:Drawing", "--input", "32x32"],
            "returns other values",
        ),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_what_cannot_be_measured_is_refused(arguments: list[Any], sentence: str) -> None:
    assert sentence in refused("compare", *arguments)


def test_a_model_with_a_loss_of_its_own_is_trained_by_it() -> None:
    class WithLoss(Segmenter):
        def forward(self, image: Tensor) -> Any:
            out = super().forward(image)
            return {"loss_map": out.square().mean(), "loss_edge": out.abs().mean()} if self.training else out

    called = model_case.Called(WithLoss().train(), (image(),), {})
    (loss,) = called.train()()
    assert loss.dim() == 0
    assert [tuple(t.shape) for t in called.eval()()] == [(1, 4, 64, 48)]
    assert isinstance(upbench.replace(WithLoss().eval(), "dysample", inputs=image()), nn.Module)


def test_the_model_is_on_the_device_whose_clock_times_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """auto is the same device for both, a GPU where there is one."""
    here, seen = torch.device("cpu", 0), []
    usual = model_case.built
    monkeypatch.setattr(environment, "resolve_device", lambda name: here)
    monkeypatch.setattr(
        model_case, "built", lambda job, spec, device: (seen.append(device), usual(job, spec, device))[1]
    )
    done = run("compare", "bilinear", *HOST, "--exact")
    assert done.exit_code == 0, done.output
    assert seen == [here]
