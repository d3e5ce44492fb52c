"""The stages that papers' hosts have in `hosts.yaml`, against the upsampling calls of models that are really run."""

from __future__ import annotations

from typing import Any

import pytest

import upbench
from tests.models import torchvision_operators
from upbench import papers
from upbench.models import example_inputs, factory
from upbench.models.site import Site

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(not torchvision_operators.available(), reason="needs torchvision"),
]
Step = tuple[int, tuple[int, int], tuple[int, int]]
"""Channels, and height and width before and after."""


def sites(name: str, arguments: dict[str, Any], height: int, width: int) -> list[Site]:
    model = factory.build(name, arguments)
    args, kwargs = example_inputs.for_image(model, height, width)
    return [site for site in upbench.sites(model, *args, **kwargs) if site.learnable or site.kind == "learned"]


def steps(found: list[Site], by_two: bool = False) -> list[Step]:
    """What sites do; with `by_two` each in steps of x2, as the papers replace them."""
    made: list[Step] = []
    for site in found:
        size, target = site.input[2:], site.output[2:]
        while by_two and 2 * size[0] < target[0]:
            made.append((site.channels, size, (2 * size[0], 2 * size[1])))
            size = made[-1][2]
        made.append((site.channels, size, target))
    return sorted(made)


def stages(host: str, height: int, width: int) -> list[Step]:
    whole = papers.host(host)
    moved = whole if all(stage.stride is None for stage in whole.stages) else papers.at(whole, height, width)
    return sorted((s.channels, (s.height, s.width), (s.out_height, s.out_width)) for s in moved.stages)


SMALL = {
    "min_size": 96,
    "max_size": 128,
    "rpn_pre_nms_top_n_test": 20,
    "rpn_post_nms_top_n_test": 10,
    "box_detections_per_img": 2,
}


def test_faster_rcnn() -> None:
    found = sites("torchvision/fasterrcnn_resnet50_fpn", SMALL, 96, 128)
    assert steps(found) == stages("faster-rcnn-r50/three-stage", 96, 128)


def test_mask_rcnn_and_its_mask_head() -> None:
    found = sites("torchvision/maskrcnn_resnet50_fpn", SMALL, 96, 128)
    assert steps([site for site in found if site.learnable]) == stages("mask-rcnn-r50", 96, 128)
    (head,) = (site for site in found if site.kind == "learned")
    assert head.module.startswith("roi_heads.mask_predictor")
    assert steps([head]) == stages("mask-rcnn-r50/mask-head", 96, 128)


def test_segformer_b1_enlarges_in_one_step_what_the_papers_do_in_several() -> None:
    pytest.importorskip("transformers")
    found = sites("transformers/segformer-b1", {}, 64, 96)
    assert [site.scale for site in found] == [2, 4, 8]
    assert steps(found, by_two=True) == stages("segformer-b1", 64, 96)


def test_upernet() -> None:
    pytest.importorskip("segmentation_models_pytorch")
    found = sites("smp/upernet-resnet18", {"decoder_channels": 512}, 64, 96)
    path = [site for site in found if (site.scale == 2 and site.output[2] < 16) or "fpn" in site.module]
    fuse = [site for site in found if site not in path]
    assert steps(path) == stages("upernet-r50", 64, 96)
    assert steps(fuse) == stages("upernet-r50/fuse", 64, 96)
