"""upbench: benchmarking and ablation of feature upsamplers.

Importing this package loads no torch; the functions below load it when they are first asked for.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = ["build", "load_weights", "names", "run", "RunSpec", "Record", "UpbenchError"]

_HOME = {
    "build": "upbench.registry",
    "names": "upbench.registry",
    "load_weights": "upbench.weights",
    "run": "upbench.run",
    "RunSpec": "upbench.specs.run_spec",
    "Record": "upbench.record",
    "UpbenchError": "upbench.errors",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'upbench' has no attribute {name!r}")
