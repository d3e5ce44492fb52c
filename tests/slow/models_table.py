"""Writes the table of real models: their upsampling calls, which of them were replaced, and what was refused and why.

    python -m tests.slow.models_table results/models.md

Every model has random weights and is run at a small size. Where torchvision's operators do not load, a stand-in for its
`nms` takes their place; the table says so.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import torch

import upbench
from tests.models import torchvision_operators
from upbench.models import answering, example_inputs, factory
from upbench.models.recording import tensors

MODELS: dict[str, tuple[int, int]] = {
    **{
        f"torchvision/{name}": (160, 192)
        for name in (
            *("fasterrcnn_resnet50_fpn", "fasterrcnn_mobilenet_v3_large_fpn", "maskrcnn_resnet50_fpn_v2"),
            *("retinanet_resnet50_fpn", "fcos_resnet50_fpn", "keypointrcnn_resnet50_fpn"),
            *("fcn_resnet50", "deeplabv3_resnet50", "lraspp_mobilenet_v3_large"),
        )
    },
    **{
        f"smp/{name}-resnet18": (128, 160)
        for name in (
            *("fpn", "unet", "unetplusplus", "manet", "linknet", "pspnet", "pan", "deeplabv3", "deeplabv3plus"),
            *("upernet", "segformer"),
        )
    },
    "smp/segformer-mit_b1": (128, 160),
    "transformers/segformer-b0": (128, 160),
    "transformers/segformer-b1": (128, 160),
    "transformers/segformer-b2": (128, 160),
    "transformers/upernet-convnext-tiny": (128, 160),
    "transformers/dpt-large": (384, 384),
    "transformers/glpn": (128, 160),
    "timm/resnet50": (128, 160),
    "timm/hrnet_w18_small": (128, 160),
}
"""Name -> height and width of the image."""
DETECTORS = {"fasterrcnn", "maskrcnn", "keypointrcnn", "retinanet", "fcos"}
SMALL = {"min_size": 160, "max_size": 192}
"""Size to which a detector of torchvision resizes images by itself."""
UPSAMPLER = "dysample"
HEADS = "| model | calls | feature maps | by | replaced by DySample | params added | left, and why |"


def row(name: str, size: tuple[int, int]) -> str:
    """Return the row of a model. A model that fails has its error in it."""
    try:
        model = factory.build(name, SMALL if DETECTORS & set(name.replace("/", "_").split("_")) else None)
        args, kwargs = example_inputs.for_image(model, *size)
        sites = upbench.sites(model, *args, **kwargs)
    except upbench.UpbenchError as error:
        return f"| {name} | - | - | - | - | - | {error} |"
    by = Counter(f"F.{s.op}" for s in sites)
    kinds = Counter(s.kind for s in sites if not s.learnable)
    learnable = sum(s.learnable for s in sites)
    replaced, added = "none", "0"
    if learnable:
        replaced, added = _replaced(model, sites, args, kwargs)
    left = ", ".join(f"{n} {kind}" for kind, n in kinds.items()) or "none"
    listed = ", ".join(f"{n} {op}" for op, n in by.items()) or "none"
    return f"| {name} | {len(sites)} | {learnable} | {listed} | {replaced} | {added} | {left} |"


def _replaced(model: torch.nn.Module, sites: upbench.Sites, args: object, kwargs: object) -> tuple[str, str]:
    def run() -> list[torch.Tensor]:
        torch.manual_seed(0)
        with torch.no_grad():
            return list(tensors((model(*args, **kwargs),)))  # type: ignore[misc]

    before = run()
    upbench.replace(model, "repeat", sites=sites)
    same = all(torch.equal(a, b) for a, b in zip(before, run(), strict=True))
    upbench.restore(model)
    try:
        upbench.replace(model, UPSAMPLER, sites=sites)
    except upbench.UpbenchError as error:
        return f"refused: {error}", "0"
    with answering.counted() as answered:
        run()
    added = sum(p.numel() for p in model.upsamplers.parameters())  # type: ignore[union-attr]
    return f"{len(answered)} ran{'' if same else ', but repeating the own calls gave other bits'}", str(added)


def main(path: str) -> None:
    """Write the table to a file."""
    warnings.simplefilter("ignore")
    torchvision_operators.available()
    packages = ("torch", "torchvision", "segmentation-models-pytorch", "transformers", "timm")
    lines = [
        "# Real models: their upsampling calls, and what replaces them",
        "",
        "`python -m tests.slow.models_table results/models.md` with "
        + ", ".join(f"{p} {version(p)}" for p in packages)
        + ".",
        "Random weights, evaluation mode. Calls are seen by a function mode of torch with the stack of modules; before "
        "DySample took their place, every chosen call was repeated as it is, with the same bits in the output.",
    ]
    if torchvision_operators.STAND_IN:
        lines.append(
            "torchvision's operators do not load with this build of torch: detectors ran with a stand-in for `nms`."
        )
    lines += ["", HEADS, "|" + " --- |" * 7]
    for name, size in MODELS.items():
        lines.append(row(name, size))
        print(lines[-1], flush=True)
    Path(path).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
