"""Guesses what a value of a spec that is not allowed was meant to be, for the end of its message."""

from __future__ import annotations

import re
from typing import get_args

from pydantic.fields import FieldInfo

from upbench.errors import suggestion

OTHER_NAMES = {
    "float16": ("fp16", "half", "f16", "16"),
    "bfloat16": ("bf16", "brain"),
    "float32": ("fp32", "single", "float", "f32", "32", "full"),
    "float64": ("fp64", "double", "f64", "64"),
    "autocast-float16": ("amp", "autocast", "mixed", "autocast-fp16", "autocast-half", "amp-fp16"),
    "autocast-bfloat16": ("autocast-bf16", "amp-bf16"),
    "inference": ("eval", "infer", "test", "forward", "fwd"),
    "training": ("train", "forward-backward", "fwd-bwd"),
    "training-backward": ("backward", "bwd"),
    "channels_last": ("nhwc", "channels-last", "channelslast"),
    "contiguous": ("nchw", "channels_first", "channels-first"),
    "cuda": ("gpu", "nvidia"),
    "fused": ("triton", "kernel", "native"),
    "eager": ("torch", "reference", "plain", "python"),
    "default": ("on", "reduce-overhead", "inductor"),
}
"""Value -> what other tools call it, for the hint in a message."""


def hint(field: FieldInfo, value: object) -> str:
    """Return '; did you mean ...?' for a value that other tools use, or that is close to an allowed one.

    Args:
        field: Field of the spec.
        value: The value that is not allowed.

    Returns:
        The end of a sentence; empty where nothing is close.
    """
    if not isinstance(value, str):
        return ""
    name = value.strip().lower().removeprefix("torch.")
    choices = [str(choice) for choice in get_args(field.annotation) if isinstance(choice, str)]
    if field.annotation is str:  # the device
        choices = ["auto", "cpu", "cuda"]
    if not choices:
        return "; it is text, write it without quotes, and 1e-1 as 0.1" if _is_number(value) else ""
    if choices[0] == "float32" and re.match("u?int|float8|fp8|q?u?int8", name):
        return "; integers and 8-bit floats are not measured"
    meant = next((to for to, names in OTHER_NAMES.items() if name in names and to in choices), None)
    meant = meant or (name if name in choices else None)
    return f"; did you mean {meant!r}?" if meant else suggestion(value, choices)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
