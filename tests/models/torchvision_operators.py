"""torchvision where its own operators do not load: its wheel is built against another build of torch.

A stand-in for `nms` in torch's own operators takes their place then; `STAND_IN` says so. Everything else of torchvision
has a form in Python.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from typing import Any

import numpy
import torch
from torch import Tensor

_LIBRARIES: list[torch.library.Library] = []
STAND_IN = False
"""Whether `nms` is the stand-in."""


def available() -> bool:
    """Return whether torchvision is installed; make its import possible where its operators do not load."""
    global STAND_IN
    if importlib.util.find_spec("torchvision") is None:
        return False
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
        _define()
        STAND_IN = True
        import torchvision.ops.boxes

        torchvision.ops.boxes._assert_has_ops = _has_them
        _leave_uncompiled(sys.modules["torchvision.ops.roi_align"])
    return True


def _leave_uncompiled(module: Any) -> None:
    """Its form in Python, which torchvision hands to torch.compile, runs as it is: compiling takes half a minute."""
    plain = module._roi_align.__wrapped__

    @functools.wraps(plain)
    def eager(*args: Any, **options: Any) -> Tensor:
        return plain(*args, **options)

    module._roi_align = eager


def _has_them() -> None:  # a trace compiles what calls it, and cannot read a lambda
    return None


def _define() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.impl(name, _nms, "CPU")
    _LIBRARIES.append(library)


def _nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Return the indices of boxes [N, 4] that no better-scored kept box overlaps by more than the threshold."""
    order = scores.argsort(descending=True, stable=True)
    sides = boxes.detach()[order].double().numpy()
    left, top, right, bottom = sides.T
    area = (right - left) * (bottom - top)
    alive = numpy.ones(len(sides), dtype=bool)
    for n in range(len(sides)):
        if alive[n]:
            width = numpy.minimum(right[n], right[n + 1 :]) - numpy.maximum(left[n], left[n + 1 :])
            height = numpy.minimum(bottom[n], bottom[n + 1 :]) - numpy.maximum(top[n], top[n + 1 :])
            shared = width.clip(min=0) * height.clip(min=0)
            alive[n + 1 :] &= shared <= iou_threshold * (area[n] + area[n + 1 :] - shared)
    return order[torch.from_numpy(alive)]
