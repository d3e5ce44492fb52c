"""What libraries make anew at every call, and the tests need once: typer's command line, and the conversions of torch's ONNX exporter.

A tenth and a thirtieth of the processor time of all tests went there.
"""

from __future__ import annotations

import copy
import functools
import importlib.util
from typing import Any

import typer.main
import typer.testing

from upbench.cli.app import app


def install() -> None:
    """Keep both for the rest of the process."""
    line = functools.cache(typer.main.get_command)
    typer.testing._get_command = lambda given: line(given) if given is app else typer.main.get_command(given)
    if importlib.util.find_spec("onnxscript") is not None:
        _keep_conversions()


def _keep_conversions() -> None:
    """Give every export a registry of its own, filled from one that was made before."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    made = functools.cache(ONNXRegistry.from_torchlib)

    def filled(cls: type[ONNXRegistry], *asked: Any, **more: Any) -> ONNXRegistry:
        registry = copy.copy(made(*asked, **more))
        registry.functions = {target: list(known) for target, known in registry.functions.items()}
        return registry

    ONNXRegistry.from_torchlib = classmethod(filled)
