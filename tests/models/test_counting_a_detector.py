"""A whole detector counted three ways: fvcore, torch's own counter and ours, and what each does not know in it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tests.models import torchvision_operators
from upbench.measure import counting
from upbench.models import model_case

pytestmark = pytest.mark.skipif(not torchvision_operators.available(), reason="needs torchvision")
SCHEMA = (
    "roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, int pooled_width, int sampling_ratio, "
    "bool aligned) -> Tensor"
)


class Detector(nn.Module):
    """A detector that takes one tensor and returns tensors, as counters that trace want it."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

        sizes = {"min_size": 64, "max_size": 64, "rpn_post_nms_top_n_test": 4, "num_classes": 3}
        self.model = fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None, **sizes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        (found,) = self.model([x[0]])
        return found["boxes"], found["scores"]


def _present() -> None:
    return None


@pytest.fixture(name="detector")
def _detector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Detector]:
    """The detector, with roi_align as one operator where torchvision's own does not load."""
    library = None
    if torchvision_operators.STAND_IN:
        module = importlib.import_module("torchvision.ops.roi_align")
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define(SCHEMA)
        library.impl("roi_align", module._roi_align.__wrapped__, "CPU")
        monkeypatch.setattr(module, "_has_ops", lambda: True)
        monkeypatch.setattr(module, "_assert_has_ops", _present)
    torch.manual_seed(0)
    try:
        yield Detector().eval()
    finally:
        if library is not None:
            library._destroy()


def test_three_counters_agree_on_what_they_all_know(detector: Detector) -> None:
    tensors = (torch.rand(1, 3, 64, 64),)
    with torch.no_grad():
        fvcore = FlopCountAnalysis(detector, tensors).unsupported_ops_warnings(False)
        fvcore = fvcore.uncalled_modules_warnings(False).tracer_warnings("none")
        by_operator = fvcore.by_operator()
        with FlopCounterMode(display=False) as torchs:
            detector(*tensors)
    ours = counting.count(detector, tensors)
    weighed = by_operator["conv"] + by_operator["linear"]
    assert torchs.get_total_flops() == 2 * weighed > 0
    assert ours.by_kind["conv"] == weighed
    # fvcore adds norms and interpolation, which torch's counter does not see; nearest and
    # pooling count 1 there, and here nothing and as element-wise.
    rest = by_operator["batch_norm"] + by_operator["upsample_bilinear2d"]
    assert ours.by_kind["norm"] + ours.by_kind["gather"] == rest > 0
    assert fvcore.total() == weighed + rest + by_operator["upsample_nearest2d"] + by_operator["adaptive_avg_pool2d"]
    # What none of them knows is listed: by fvcore nms is inside of a scripted function.
    assert {"torchvision::roi_align", "prim::CallFunction"} <= set(fvcore.unsupported_ops())
    assert set(ours.missing) == {"torchvision::nms", "torchvision::roi_align"}
    assert not any("torchvision" in str(name) for name in torchs.get_flop_counts()["Global"])


def test_proposals_are_fixed_in_number_and_training_takes_the_losses_of_its_own(detector: Detector) -> None:
    model, image = detector.model, torch.rand(3, 64, 64)
    assert model_case.fix_proposals(model) == [
        "the number of proposals is fixed, at most 4 an image: non-maximum suppression of proposals is off"
    ]
    targets = [{"boxes": torch.tensor([[4.0, 4.0, 40.0, 40.0]]), "labels": torch.tensor([1])}]
    called = model_case.Called(model, ([image], targets), {})
    (loss,) = called.train()()
    assert loss.dim() == 0
    assert loss.requires_grad
