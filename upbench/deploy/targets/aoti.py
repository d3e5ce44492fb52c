"""AOTInductor: a program compiled to a library that libtorch runs (https://pytorch.org/docs/stable/torch.compiler_aot_inductor.html)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from upbench.deploy.targets import Loaded
from upbench.exchange import aoti_file
from upbench.exchange.capture import Captured

PACKAGES = ("torch",)
EXTRA = ""
VARIANTS = ("float32",)
SAMPLING = aoti_file.SAMPLING
OPEN = True
MOST: int | None = None
RUNS = True


def convert(captured: Captured, path: Path, variant: str, tensors: Sequence[Tensor]) -> None:
    """Compile a package; it needs a C++ compiler."""
    aoti_file.write(captured, path)


def facts(path: Path) -> dict[str, Any]:
    """Return what is known of a package, which is its size alone."""
    return {**aoti_file.facts(path), "left": None, "sizes": aoti_file.sizes(path)}


def load(path: Path, variant: str, threads: int) -> Loaded:
    """Load a package; torch's own number of threads holds."""
    return Loaded(aoti_file.load(path), variant, "float32")
