"""The runtimes that can run a module, by name: the one list, without torch, so that everything can name them.

A *backend* computes an op, a *runtime* runs a module. A runtime is a file in `upbench.benchmark.runtimes` whose class has a
name, a predicate that says why it cannot run a spec, and `prepare`. One more is one such file and one entry here.
"""

from __future__ import annotations

from upbench.errors import suggestion

CLASSES: dict[str, str] = {
    "torch": "upbench.benchmark.runtimes.eager:Eager",
    "torch-reuse": "upbench.benchmark.runtimes.eager:Reuse",
    "compile": "upbench.benchmark.runtimes.compiled:Compiled",
    "compile-max-autotune": "upbench.benchmark.runtimes.compiled:MaxAutotune",
    "onnxruntime": "upbench.benchmark.runtimes.onnx_runtime:OnnxRuntime",
    "onnxruntime-cuda": "upbench.benchmark.runtimes.onnx_runtime:OnnxRuntimeCuda",
    "onnxruntime-tensorrt": "upbench.benchmark.runtimes.onnx_runtime:OnnxRuntimeTensorRT",
    "openvino": "upbench.benchmark.runtimes.open_vino:OpenVINO",
    "openvino-default": "upbench.benchmark.runtimes.open_vino:OpenVINODefault",
}
"""Name of a runtime -> its class."""

OF_COMPILE = {"off": "torch", "default": "compile", "max-autotune": "compile-max-autotune"}
"""The runtime that a value of `compile` stands for."""


def mistake(runtime: object, compile_mode: str = "off") -> str | None:
    """Return why a spec cannot have a runtime, as a clause that begins with "is"; None where it can.

    Args:
        runtime: Name of the runtime; None where the spec has none.
        compile_mode: Value of `compile`, which is another way to write a runtime.
    """
    if runtime is None:
        return None
    if runtime not in CLASSES:
        return f"is {runtime}, but must be one of {', '.join(CLASSES)}{suggestion(str(runtime), CLASSES)}"
    if compile_mode != "off" and runtime != OF_COMPILE[compile_mode]:
        return f"is {runtime}, but measure.compile is {compile_mode}; leave one of them out"
    return None
