"""Writes what upsamplers add to two whole models, beside what the papers print, and what they take there in time.

    python -m tests.slow.models_in_whole results/in-models.md            counts alone, no clock
    python -m tests.slow.models_in_whole results/in-models.md --time 10  also latencies, seconds of sampling a row

The latencies are those of `upbench compare --model` on two threads, DySample and LDA-AQU by plain and fused ops. Where
torchvision's operators do not load, a stand-in for its `nms` takes their place; the file says so.
"""

from __future__ import annotations

import argparse
import importlib
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tests.command_line import upbench as run
from tests.models import torchvision_operators
from upbench import papers, registry, units
from upbench.errors import SpecError
from upbench.measure import dispatched
from upbench.measure.macs import Macs
from upbench.models import example_inputs, factory, model_case, repeating, replacing
from upbench.models.model_case import Called
from upbench.models.site import Site

UPSAMPLERS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    *((name, {}) for name in ("deconv", "pixelshuffle", "carafe", "a2u", "fade", "sapa-b", "dysample", "dysample+")),
    ("ldaaqu", {"reduction": 16}),
    ("ldaaqu", {}),
)
MODELS: dict[str, tuple[tuple[int, int], tuple[tuple[str, str], ...], str]] = {
    "torchvision/fasterrcnn_resnet50_fpn": (
        (800, 1280),
        (("lda-aqu/table1", "4 maps"), ("sapa-neurips/readme", "3 maps")),
        "LDA-AQU Table 1 is of an FPN with a fifth level: four maps, the fourth of 20x13; the README of SAPA is of the FPN that "
        "torchvision has: three maps.",
    ),
    "transformers/segformer-b1": (
        (512, 512),
        (("dysample/table4", "6 maps x2"), ("sapa-neurips/readme", "6 maps x2")),
        "The papers enlarge the three maps of the head step by step, by six upsamplers of x2; transformers enlarges each in "
        "one step (x2, x4, x8), so that an upsampler with weights for each sub-pixel is larger there, and reads fewer pixels.",
    ),
}
"""Name -> size of the image, tables with the number of upsamplers in the papers' model, and what differs."""
HOSTS = {"torchvision/fasterrcnn_resnet50_fpn": "faster-rcnn-r50", "transformers/segformer-b1": "segformer-b1"}
WHY: dict[str, str] = {
    "torchvision/fasterrcnn_resnet50_fpn": (
        "Why the figures differ: the papers' fourth map has 260 pixels beside the 21,000 of these three, and hooks on modules count "
        "layers with their biases and norms. So deconv: 9 C^2 x 21,000 = 12.39G here, 9 C^2 x 21,260 = 12.54G and with biases 12.56G "
        "there, printed +12.6G; DySample+: 16,384 x 21,000 = 344M, 16,384 x 21,260 = 348M, printed +0.3G; CARAFE 73,984 x 21,260 = "
        "1.57G, printed +1.6G; parameters are 4/3 of those here. FADE was counted at 1280x832, whose levels halve without a rest "
        "(22,100 pixels), and SAPA-B with an embedding of 64, similarity and assembly included. A2U's +0.3G is not reproduced: all "
        "its convolutions make 0.40G."
    ),
    "transformers/segformer-b1": (
        "Why the figures differ: six maps of x2 have 14,592 pixels before and 58,368 after. deconv makes 9 C^2 for each pixel before: "
        "9 x 256^2 x 14,592 = 8.61G; the papers count 9 C^2 for each pixel after, four times as much: 34.43G, printed +34.4. "
        "DySample: layers 2 g s^2 C = 8,192 for each pixel before, 119.5M; one bilinear sample of 256 channels at 4 a value for each "
        "pixel after, 59.8M; 1.1M for the offsets; less the three bilinear calls that are no longer made, 4 x 256 x 3 x 128^2 = "
        "50.3M: +130M, where +0.3G is printed. No convention that a paper states gives that: a sample counted as 9 to 12 a value "
        "would print all four DySample rows of the table (+0.2, +0.3, +0.3, +0.4); the 4 and 8 that papers use do not. In one step "
        "DySample's layers are 2 g C = 2,048 for each pixel after, 49,152 of them: 100.7M. (`upbench reproduce dysample/table4`)"
    ),
}
"""Name -> why the increments are not those of the papers."""
TIMED = ("dysample", "ldaaqu")


def counted(name: str) -> list[str]:
    """Return the table of what upsamplers add to a model, counted."""
    size, tables, differs = MODELS[name]
    model = factory.build(name)
    args, kwargs = example_inputs.for_image(model, *size)
    notes = model_case.fix_proposals(model)
    sites = replacing.list_sites(model, args, kwargs)
    meant = [site for site in sites if site.learnable]
    whole = dispatched.count(Called(model, args, kwargs), ())
    params = sum(parameter.numel() for parameter in model.parameters())
    listed = ", ".join(f"{site.name} {site.channels}x{site.input[2]}x{site.input[3]} x{site.scale}" for site in meant)
    stepwise = any(site.scale != 2 for site in meant)
    heads = [
        "upsampler",
        "added",
        *(["added in steps of x2"] if stepwise else []),
        *(f"{table}, {what}" for table, what in tables),
    ]
    lines = [
        f"## {name} at {size[0]}x{size[1]}",
        "",
        f"As it is: {units.count(params)} parameters, {units.count(whole.total)} FLOPs",
    ]
    lines[-1] += (
        f" (convolutions and linear layers {units.count(whole.by_kind['conv'])}). Replaced: {listed}. {differs}"
    )
    if whole.uncounted:
        lines.append("Not counted: " + ", ".join(f"{op} ({n}x)" for op, n in whole.uncounted.items()) + ".")
    lines += [*(f"{note}." for note in notes), "", "| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for upsampler, own in UPSAMPLERS:
        label = upsampler + "".join(f" {key}={value}" for key, value in own.items())
        ways: list[Any] = [upsampler, *([partial(_in_steps, upsampler, own)] if stepwise else [])]
        cells = [label, *(_added(model, sites, meant, way, own if way is upsampler else {}) for way in ways)]
        cells += [_printed(table, HOSTS[name], upsampler, own) for table, _ in tables]
        lines.append("| " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    return [*lines, "", WHY[name]]


def _added(model: nn.Module, sites: Sequence[Site], meant: Sequence[Site], way: Any, own: Mapping[str, Any]) -> str:
    """Return the parameters and FLOPs that upsamplers add to a model, or why they cannot stand there."""
    copy = repeating.shared_copy(model)
    try:
        made: Any = replacing.replace(copy, way, [site.name for site in meant], sites=sites, **own)
    except SpecError as error:
        return f"not there: {error.mistakes[0]}"
    added = sum(parameter.numel() for parameter in made.upsamplers.parameters())
    new = [_macs(made.upsamplers[replacing.key_of(site)], site) for site in meant]
    more = sum(counts.total for counts in new) - sum(_own_macs(site) for site in meant)
    layers = sum(counts.by_kind["conv"] for counts in new)
    return f"+{units.count(added)}, +{units.count(more)} (layers {units.count(layers)})"


def _in_steps(upsampler: str, own: Mapping[str, Any], site: Site) -> nn.Module:
    """Return upsamplers of x2 in a row, as the papers put them where a map grows by more."""
    if registry.get(upsampler).guided:
        raise SpecError([f"{upsampler} needs a guide of each step's size"])
    assert site.scale is not None
    steps = int(math.log2(site.scale))
    return nn.Sequential(*(registry.build(upsampler, site.channels, 2, None, 0, "auto", **own) for _ in range(steps)))


def _macs(module: nn.Module, site: Site) -> Macs:
    """Return the FLOPs of an upsampler on the map of a site."""
    given = [torch.zeros(site.input)]
    if getattr(module, "guided", False) and site.guide is not None:
        given.append(torch.zeros(1, site.guide.channels, *site.output[2:]))
    return dispatched.count(module, tuple(given))


def _own_macs(site: Site) -> int:
    """Return the FLOPs of the call that was there."""
    corners = {} if site.mode == "nearest" else {"align_corners": site.align_corners}
    own = nn.Upsample(size=site.output[2:], mode=site.mode or "nearest", **corners)
    return dispatched.count(own, (torch.zeros(site.input),)).total


def _printed(table: str, host: str, upsampler: str, own: Mapping[str, Any]) -> str:
    """Return the increments that a table prints for an upsampler in a host; a dash where it has no such row."""
    params = {**registry.get(upsampler).defaults(), **own}
    for row in papers.find(table).rows:
        wanted = {key: value for key, value in row.settings.items() if key in params}
        if (row.host, row.upsampler) == (host, upsampler) and all(params[key] == v for key, v in wanted.items()):
            figures = [figure.printed for figure in (row.params, row.flops) if figure is not None]
            return ", ".join(figures)
    return units.DASH


def timed(name: str, seconds: float) -> list[str]:
    """Return the table of latencies of a model, as `upbench compare --model` prints it in Markdown."""
    size = "x".join(map(str, MODELS[name][0]))
    arguments = ["compare", *TIMED, "--model", name, "--input", size, "--backend", "eager,fused", "--threads", "2"]
    arguments += ["--budget", f"{seconds:g}"]
    before = os.getloadavg()[0]
    done = run(*arguments, "--format", "markdown", env={"UPBENCH_IN_PROCESS": "1"})
    loads = f"{before:.0f} before and {os.getloadavg()[0]:.0f} after on {os.cpu_count()} cores"
    said = f"Measured at a load of {loads}, {seconds:g} s of sampling a row; ratios are of interleaved rounds."
    if done.exit_code != 0:
        sentence = " ".join(done.stderr.split()) or repr(done.exception)
        return [f"`upbench {' '.join(arguments)}`", "", f"Not measured (exit code {done.exit_code}): {sentence}"]
    return [f"`upbench {' '.join(arguments)}`", "", said, "", done.stdout.strip()]


def _parts(path: Path) -> dict[str, list[str]]:
    """Return the lines of each model that a file has, so that what takes hours need not be measured for another's sake."""
    found: dict[str, list[str]] = {}
    for text in path.read_text().split("\n## ")[1:] if path.exists() else []:
        found[text.split()[0]] = ("## " + text.rstrip()).splitlines()
    return found


def _times(lines: Sequence[str]) -> list[str]:
    """Return the lines of a model from the command on that measured its times."""
    start = next((n for n, line in enumerate(lines) if line.startswith("`upbench compare")), None)
    return [] if start is None else list(lines[start:])


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path)
    parser.add_argument("--time", type=float, default=None)
    parser.add_argument("--only", default="", help="part of a model's name; the part of the other model stays as it is")
    given = parser.parse_args()
    kept = _parts(given.path)
    warnings.simplefilter("ignore")
    torchvision_operators.available()
    packages = ("torch", "torchvision", "transformers")
    lines = [
        "# Upsamplers in whole models",
        "",
        "`python -m tests.slow.models_in_whole results/in-models.md"
        + (f" --time {given.time:g}` with " if given.time else "` with ")
        + ", ".join(f"{package} {version(package)}" for package in packages)
        + ". Random weights; one multiply-accumulate is one FLOP, counted operator by operator as torch dispatches them; "
        "layers: convolutions and linear layers alone, which is what the papers' counters saw for the most part.",
    ]
    if torchvision_operators.STAND_IN:
        # torchvision compiles its own form of roi_align, again for every number of boxes, which is what would be timed.
        module = importlib.import_module("torchvision.ops.roi_align")
        module._roi_align = module._roi_align.__wrapped__
        lines.append("torchvision's operators do not load with this build of torch: `nms` is a stand-in.")
    for name in MODELS:
        part = kept.get(name, [])
        if given.only in name:
            part = counted(name)
            part += ["", *(timed(name, given.time) if given.time else _times(kept.get(name, [])))]
        kept[name] = part
        parts = [["", *kept[name]] for name in MODELS if kept.get(name)]
        given.path.write_text("\n".join([*lines, *(line for one in parts for line in one)]).rstrip("\n") + "\n")


if __name__ == "__main__":
    main()
