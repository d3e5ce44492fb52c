"""What runtimes share that run a file: the module is captured at the size of the inputs, written, loaded and called."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from upbench.errors import install
from upbench.exchange import onnx_file
from upbench.exchange.agreement import truth
from upbench.exchange.capture import capture
from upbench.records.record import Execution
from upbench.specs.run_spec import RunSpec


class Call:
    """A loaded file, called like the module.

    Attributes:
        execution: What runs it, how precisely, and how far off it is.
    """

    def __init__(self, call: Callable[..., tuple[Tensor, ...]], execution: Execution, many: bool) -> None:
        self._call, self.execution, self._many = call, execution, many

    def __call__(self, *tensors: Tensor) -> Any:
        found = self._call(*tensors)
        return found if self._many else found[0]


class Exported(ABC):
    """Runs an ONNX file. A subclass says of which package, and loads the file.

    Attributes:
        name: Name of the runtime.
        package: The package that runs the file.
        extra: The extra of upbench that installs it.
        sampling: How points are read in the file, see `ops.portable`.
        devices: Types of device that it runs on.
    """

    name: str
    package: str
    extra: str
    sampling: str
    devices: tuple[str, ...] = ("cpu",)

    def why_not(self, spec: RunSpec, device: torch.device) -> str | None:
        """Return why it cannot run a spec, as a clause; None where it can."""
        if missing := [name for name in ("onnx", "onnxscript", self.package) if find_spec(name) is None]:
            return f"{' and '.join(missing)} must be installed; {install(self.extra)}"
        if spec.measure.mode != "inference":
            return f"it runs a file, which has no backward, but mode is {spec.measure.mode}; use mode inference"
        if spec.input.dtype not in ("float32", "float16"):
            return f"a file holds float32 or float16, but dtype is {spec.input.dtype}"
        if device.type not in self.devices:
            return f"it runs on {' or '.join(self.devices)}, but the device is {device.type}"
        if spec.measure.backend not in ("auto", "eager"):
            return f"a file holds no backend of ours, but backend is {spec.measure.backend}; leave it out"
        return None

    def prepare(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> Call:
        """Write the module to a file, load it, and compare one call with eager float64.

        Raises:
            ExportError: If the module cannot be captured, converted or loaded.
        """
        given = tuple(t.detach().cpu() for t in inputs)
        plain = module.cpu() if inputs[0].device.type != "cpu" else module
        captured = capture(plain, given, False, self.sampling)
        with tempfile.TemporaryDirectory(prefix="upbench-") as folder:
            file = Path(folder) / "module.onnx"
            onnx_file.write(captured, file)
            call, asked, in_effect = self.load(file, given[0].dtype)
        found = truth(plain, given).judge(call(*given))
        execution = Execution(
            version=version(self.package),
            precision_asked=asked,
            precision=in_effect,
            error=found.error,
            limit=found.limit,
            eager_error=found.eager_error,
        )
        return Call(call, execution, captured.outputs > 1)

    @abstractmethod
    def load(self, file: Path, dtype: torch.dtype) -> tuple[Callable[..., tuple[Tensor, ...]], str, str]:
        """Load a file; it is removed afterwards.

        Args:
            file: The file.
            dtype: Dtype of its inputs.

        Returns:
            A function of tensors, the precision that was asked for, and that in effect as the runtime says it.
        """
