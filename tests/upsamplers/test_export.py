"""What leaves for another runtime is made of torch's own operators, and runs where upbench is not installed."""

from __future__ import annotations

import copy
import functools
import importlib.util
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import upbench
from tests.upsamplers.test_contract import CARDS, by_card, drawn, setting_of
from upbench import ops, registry
from upbench.cards import Card
from upbench.measure import macs
from upbench.measure.output import joined, maps
from upbench.ops import exporting, whole_ops

# One of each class: the others are its settings.
CLASSES = [card for n, card in enumerate(CARDS) if card.module not in {other.module for other in CARDS[:n]}]
by_class = pytest.mark.parametrize("card", CLASSES, ids=lambda card: card.name)
pytestmark = pytest.mark.filterwarnings("ignore")
onnx = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="needs onnx, onnxscript and onnxruntime",
)


UNKNOWN_TO_THE_TRACE_EXPORTER = {"aten::max_unpool2d", "aten::adaptive_avg_pool2d"}
"""Operators that torch.onnx.export(dynamo=False) cannot write, or only where their sizes are constants (torch 2.13)."""


class Model(nn.Module):
    """A user's model: a stem, an upsampler somewhere inside, a head."""

    def __init__(self, card: Card, backend: str = "auto") -> None:
        super().__init__()
        setting = setting_of(card)
        self.stem = nn.Conv2d(3, setting.channels, 1)
        self.neck = nn.ModuleDict({"up": registry.construct(card, setting, 1, backend)})
        self.head = nn.Conv2d(card.output_channels(setting), 4, 1)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in self.neck.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))

    def forward(self, image: Tensor, *guides: Tensor) -> Tensor:
        out, *more = maps(self.neck["up"](self.stem(image), *guides))
        return self.head(out) + sum(each.mean() for each in more)


def make(card: Card, backend: str = "auto", images: int = 2) -> tuple[Model, tuple[Tensor, ...]]:
    generator = torch.Generator().manual_seed(0)
    height, width = (6, 8) if card.default_scale < 16 else (3, 4)
    setting = setting_of(card, None, height, width, images)
    shapes = [(images, 3, setting.height, setting.width), *card.guide_shapes(setting)]
    return Model(card, backend).eval(), tuple(torch.randn(shape, generator=generator) for shape in shapes)


def expected(model: nn.Module, tensors: tuple[Tensor, ...]) -> Tensor:
    """Of a copy: a batch norm in training keeps what it saw. Random draws are those of one seed."""
    torch.manual_seed(0)
    return copy.deepcopy(model)(*tensors).detach()


def close(program: Callable[..., Tensor], model: nn.Module, tensors: tuple[Tensor, ...]) -> None:
    torch.manual_seed(0)
    out = program(*tensors)
    torch.testing.assert_close(out.detach(), expected(model, tensors), rtol=1e-4, atol=1e-4)


def operators(program: torch.export.ExportedProgram) -> set[str]:
    return {str(node.target) for node in program.graph.nodes if node.op == "call_function"}


def kinds(traced: torch.jit.ScriptModule) -> set[str]:
    return {node.kind() for node in traced.inlined_graph.nodes()}


@functools.cache
def exported(name: str, training: bool) -> tuple[Model, tuple[Tensor, ...], torch.export.ExportedProgram]:
    """A model, inputs, and the program that is exported of both: seconds, which two tests need not spend twice."""
    model, tensors = make(registry.get(name))
    return model, tensors, torch.export.export(copy.deepcopy(model.train(training)), tensors)


@functools.cache
def traced_of(name: str, training: bool) -> tuple[Model, tuple[Tensor, ...], torch.jit.ScriptModule]:
    """A model, inputs, and what is traced of both."""
    model, tensors = make(registry.get(name))
    return model, tensors, torch.jit.trace(copy.deepcopy(model.train(training)), tensors, check_trace=False)


def modes(name: str) -> tuple[bool, ...]:
    """Whether it is in training: once each where a layer computes something else then, in evaluation alone where none does."""
    layers = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
    model, _ = make(registry.get(name))
    return (False, True) if any(isinstance(m, layers) for m in model.modules()) else (False,)


@by_class
def test_exported_graphs_hold_torchs_operators_alone(card: Card) -> None:
    for training in modes(card.name):
        model, tensors, program = exported(card.name, training)
        assert {name for name in operators(program) if not name.startswith(("aten.", "<built-in", "wrap_"))} == set()
        close(program.module(), model, tensors)


def test_some_layers_compute_something_else_in_training() -> None:
    assert {card.name for card in CLASSES if modes(card.name) == (False, True)} >= {"indexnet", "jbu", "lift", "loftup"}


@by_class
def test_strict_export(card: Card) -> None:
    """Of one image: a size of 1 is one that torch takes for granted."""
    model, tensors = make(card, images=1)
    program = torch.export.export(model, tensors, strict=True)
    assert not any("upbench" in name for name in operators(program))
    close(program.module(), model, tensors)


@by_class
def test_traces_hold_torchs_operators_alone(card: Card) -> None:
    for training in modes(card.name):
        model, tensors, traced = traced_of(card.name, training)
        assert {kind.split("::")[0] for kind in kinds(traced)} <= {"aten", "prim"}
        close(traced, model, tensors)


def test_saved_files_run_where_upbench_is_not(tmp_path: Path) -> None:
    for card in CLASSES:
        for file, (model, tensors, _) in (("pt2", exported(card.name, False)), ("pt", traced_of(card.name, False))):
            torch.save((tensors, expected(model, tensors)), tmp_path / f"{card.name}.{file}.tensors")
        torch.export.save(exported(card.name, False)[2], tmp_path / f"{card.name}.pt2")
        traced_of(card.name, False)[2].save(str(tmp_path / f"{card.name}.pt"))
    code = (
        "import sys, pathlib\n"
        "sys.modules['upbench'] = None\n"  # what an import of it then raises is an ImportError
        "import torch\n"
        "torch.set_num_threads(1)\n"  # more starve each other where processors are few
        "for file in sorted(pathlib.Path(sys.argv[1]).glob('*.tensors')):\n"
        "    tensors, expected = torch.load(file)\n"
        "    saved = str(file.with_suffix(''))\n"
        "    module = torch.export.load(saved).module() if saved.endswith('.pt2') else torch.jit.load(saved)\n"
        "    torch.testing.assert_close(module(*tensors), expected, rtol=1e-4, atol=1e-4)\n"
        "    print(file.stem)\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 2 * len(CLASSES)


def _runs_in_onnxruntime(file: Path, model: nn.Module, tensors: tuple[Tensor, ...]) -> None:
    import onnx as format_
    import onnxruntime

    graph = format_.load(str(file)).graph
    assert not any("upbench" in node.domain or "upbench" in node.op_type for node in graph.node)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options)
    names = [given.name for given in session.get_inputs()]
    (out,) = session.run(None, {name: t.numpy() for name, t in zip(names, tensors, strict=True)})
    truth = expected(copy.deepcopy(model).double(), tuple(t.double() for t in tensors))
    # Some methods make much of a last bit; a file may be as far off as torch's own float32 is, four times.
    own = float((expected(model, tensors) - truth).abs().max())
    torch.testing.assert_close(torch.from_numpy(out).double(), truth, rtol=1e-4, atol=max(1e-4, 4 * own))


@onnx
@by_class
def test_onnx_from_an_exported_program(card: Card, tmp_path: Path) -> None:
    """Torch makes that program itself of a model that asks where it goes; the others have one already."""
    model, tensors, program = exported(card.name, False)
    given = (model, tensors) if card.name == "a2u" else (program, ())
    torch.onnx.export(*given, str(tmp_path / "up.onnx"), dynamo=True, verbose=False)
    _runs_in_onnxruntime(tmp_path / "up.onnx", model, tensors)


@onnx
@by_class
def test_onnx_from_a_trace(card: Card, tmp_path: Path) -> None:
    """With opset 16 or later, which has grid_sample. What that exporter does not know it has to refuse."""
    model, tensors = make(card)
    try:
        torch.onnx.export(model, tensors, str(tmp_path / "up.onnx"), dynamo=False, opset_version=17)
    except torch.onnx.errors.OnnxExporterError:
        assert kinds(torch.jit.trace(model, tensors, check_trace=False)) & UNKNOWN_TO_THE_TRACE_EXPORTER
    else:
        _runs_in_onnxruntime(tmp_path / "up.onnx", model, tensors)


@pytest.mark.parametrize("name", [card.name for card in CLASSES if card.fused])
def test_a_fused_module_leaves_as_the_plain_one_does(name: str) -> None:
    model, tensors = make(registry.get(name), backend="fused")
    program = torch.export.export(model, tensors)
    assert not any("upbench" in operator for operator in operators(program))
    close(program.module(), model, tensors)
    with ops.recorded() as ran:
        torch.jit.trace(model, tensors, check_trace=False)
    assert set(ran.values()) == {"eager"}


@pytest.mark.parametrize("name", ["carafe", "ldaaqu", "sapa-d"])
def test_compiling_is_no_export(name: str) -> None:
    """What torch.compile sees keeps the fused ops whole."""
    model, tensors = make(registry.get(name))
    seen: set[str] = set()

    def backend(graph: torch.fx.GraphModule, example: object) -> object:
        seen.update(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    torch.compiler.reset()
    with torch.no_grad():
        close(torch.compile(model, fullgraph=True, backend=backend), model, tensors)
    assert any("upbench" in target and "fused" in target for target in seen)


def test_our_own_counter_keeps_ops_whole() -> None:
    module = upbench.build("carafe", channels=32).eval()
    x = torch.randn(1, 32, 6, 8)
    assert "upbench::window_assemble" in macs.count(module, (x,)).by_op
    with whole_ops():
        traced = torch.jit.trace(module, (x,), check_trace=False)
    assert any(kind.startswith("upbench::") for kind in kinds(traced))
    assert not exporting()


@by_card
def test_modules_can_be_copied_pickled_and_saved(card: Card, tmp_path: Path) -> None:
    model, tensors = make(card)
    torch.save(model, tmp_path / "model.pt")
    loaded = torch.load(tmp_path / "model.pt", weights_only=False)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), loaded):
        assert torch.equal(other(*tensors), model(*tensors))


@by_card
def test_fx_takes_an_upsampler_as_one_layer(card: Card) -> None:
    """Alone, with the weights of the module."""
    model, _ = make(card)
    bare, given = model.neck["up"], drawn(setting_of(card, None, 6, 8), card)
    graph = torch.fx.symbolic_trace(bare)
    for traced in (graph, copy.deepcopy(graph)):
        torch.manual_seed(0)
        out = joined(traced(*given))
        torch.manual_seed(0)
        torch.testing.assert_close(out, joined(copy.deepcopy(bare)(*given)), rtol=1e-4, atol=1e-4)
    assert sum(p.numel() for p in graph.parameters()) == sum(p.numel() for p in bare.parameters())


@by_class
def test_fx_inside_a_model(card: Card) -> None:
    class Neck(Model):
        def forward(self, image: Tensor, *guides: Tensor) -> Tensor:
            return self.neck["up"](self.stem(image), *guides[: len(card.guides)])

    class Alone(Neck):
        def forward(self, image: Tensor) -> Tensor:
            return super().forward(image)

    class Guided(Neck):
        def forward(self, image: Tensor, guide: Tensor) -> Tensor:
            return super().forward(image, guide)

    class TwiceGuided(Neck):
        def forward(self, image: Tensor, guide: Tensor, second_guide: Tensor) -> Tensor:
            return super().forward(image, guide, second_guide)

    _, tensors = make(card)
    neck = (Alone, Guided, TwiceGuided)[len(card.guides)](card).eval()
    graph = torch.fx.symbolic_trace(neck)
    assert [node.target for node in graph.graph.nodes if node.op == "call_module"] == ["stem", "neck.up"]
    assert graph.neck.state_dict().keys() == neck.neck.state_dict().keys()
    torch.manual_seed(0)
    out = joined(graph(*tensors))
    torch.manual_seed(0)
    torch.testing.assert_close(out, joined(neck(*tensors)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(12, 16), (10, 14), (7, 9), (3, 2)])
def test_pooling_by_matrices_is_pooling(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """What A2U's pooling is made of in an ONNX file that is written from a trace."""
    x = torch.randn(2, 3, *size)
    plain = ops.pool_map(x, 6)
    monkeypatch.setattr("upbench.ops.resize.exporting", lambda: True)
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.testing.assert_close(ops.pool_map(x, 6), plain)
