"""Shapes in annotations, such as `Float[Tensor, "B C H W"]`, are checked at every call while tests run.

jaxtyping's import hook decorates the functions of the packages below when they are imported, and beartype judges the
arguments and the result. Outside of tests there is no hook, and the annotations are never read.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import jaxtyping
import torch
from beartype import BeartypeConf, beartype
from torch import Tensor, nn

PACKAGES = ("upbench.ops", "upbench.upsamplers")
typechecker = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""An int is a float, as mypy has it."""
NAMED_SHAPE = re.compile(r"\b(Float|Int|Bool)\[Tensor")
JUDGES_ITSELF = {"Upsampler.forward", "Upsampler._check_x", "Upsampler._check_guides"}
"""Functions that refuse wrong shapes with a sentence for the user, which tests want to see; also given proxies by torch.fx."""


def install() -> None:
    """Check the packages from now on; they must not be imported yet."""
    jaxtyping.jaxtyped = functools.partial(_checked, jaxtyping.jaxtyped)
    jaxtyping.install_import_hook(PACKAGES, f"{__name__}.typechecker")


def _checked(jaxtyped: Callable, thing: Any = None, **options: Any) -> Any:
    """What the hook decorates with: jaxtyping's own decorator where a shape is named, and where its checks do no harm."""
    if thing is None:
        return functools.partial(_checked, jaxtyped, **options)
    annotations = " ".join(map(str, getattr(thing, "__annotations__", {}).values()))
    if isinstance(thing, type) or not NAMED_SHAPE.search(annotations) or thing.__qualname__ in JUDGES_ITSELF:
        return thing
    checked = jaxtyped(thing, **options)

    @functools.wraps(thing)
    def call(*args: Any, **kwargs: Any) -> Any:
        # torch.compile looks into what it traces, and cannot look into the checks. Asked first, this is a constant to it.
        if torch.compiler.is_compiling() or _traced(args) or _traced(kwargs.values()):
            return thing(*args, **kwargs)
        return checked(*args, **kwargs)

    return call


def _traced(values: Any) -> bool:
    """Whether sizes are being recorded: to compare them would write the comparison into a graph, or fix a free size."""
    if torch.jit.is_tracing():
        return True
    return any(
        isinstance(v, torch.SymInt) or (isinstance(v, Tensor) and type(v) not in (Tensor, nn.Parameter)) for v in values
    )
