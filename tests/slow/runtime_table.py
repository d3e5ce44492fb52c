r"""What a user would run instead on a CPU: each upsampler against torch.compile, onnxruntime and OpenVINO, and their memory.

    python -m tests.slow.runtime_table results/backends-runtimes.md [NAME ...] [--shapes 256x120x120,256x60x60]
    python -m tests.slow.runtime_table results/backends-runtimes-shapes.md dysample ldaaqu --shapes others \
        --others onnxruntime,openvino --times-only

A shape may go on with settings, as in 64x60x60:groups=4:batch=8; keys are batch, scale, threads and parameters, which upsamplers without
them leave out. One thread where none are named, glibc's malloc pinned to keep its memory, offsets as large as trained ones, float32. All ways of an upsampler take turns in
rounds of random order; times are those of the process's processor clock. onnxruntime and OpenVINO are bound to buffers of their
own and write into them; `kept` is `out="reuse"`, `plain` the call that returns new memory. torch.compile is given the eager form. A
result that is off is not timed. The peak is the largest resident set during two calls above that of the loaded model, each way in a process
of its own. The table is written after each upsampler: what was measured stands.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

NAMES = ("dysample", "carafe", "ldaaqu", "fade", "sapa-b", "sapa-d", "dysample+", "dysample-s", "dysample-s+")
SHAPES = ("256x120x120", "256x60x60")
OTHER_SHAPES = (
    *("256x60x60:batch=8", "64x60x60:groups=4", "512x32x32", "256x60x60:scale=4", "256x60x60:threads=2"),
    *("256x120x120:threads=2", "256x180x180", "256x240x240"),
)
"""Where the papers did not look: what `--shapes others` stands for. FADE is for scale 2 alone."""
OURS = ("kept", "plain")
OTHERS = ("compile", "onnxruntime", "openvino")
WAYS = (*OURS, *OTHERS)
TARGETS = {"kept": 1.5, "plain": 1.1}
"""How many times as fast as the best other each of ours is to be, at the shapes of the papers."""
ELSEWHERE = 1.2
"""The same at other shapes, of both."""
BUDGET_S = 15.0
"""Processor seconds that the rounds of one upsampler at one shape take after three rounds."""
TOLERANCE = 1e-3
"""What a result may be off from eager float32, as a part of its largest value."""
MIB = 2**20


def spec_data(name: str, shape: str, backend: str) -> dict[str, Any]:
    """The spec of an upsampler at a shape with settings."""
    from upbench import registry

    shape, *settings = shape.split(":")
    given = {"batch": 1, "scale": 2, "threads": 1}
    params = {}
    for key, value in (one.split("=") for one in settings):
        if key in given:
            given[key] = int(value)
        elif key in registry.get(name).defaults():
            params[key] = int(value)
    return {
        "upsampler": name,
        "params": params,
        "scale": given["scale"],
        "input": {"shape": shape, "batch": given["batch"], "offsets": "trained"},
        "measure": {"backend": backend, "threads": given["threads"]},
    }


class Works:
    """The ways to run one upsampler at one shape."""

    def __init__(self, name: str, shape: str, folder: Path) -> None:
        import torch

        from upbench.benchmark import spec_module
        from upbench.specs import run_spec

        self.folder = folder
        self.specs: dict[str, Any] = {}
        for backend in ("auto", "eager"):
            self.specs[backend] = run_spec.load(spec_data(name, shape, backend))
        self.threads = self.specs["auto"].measure.threads
        torch.set_num_threads(self.threads)
        self.built = spec_module.built
        self.tensors = self.built(self.specs["auto"])[1]

    def call(self, way: str) -> Callable[[], Any]:
        """Load a way and return a call of it that returns its result."""
        import torch

        if way in ("onnxruntime", "openvino"):
            return getattr(self, f"_{way}")()
        module = self.built(self.specs["eager" if way in ("eager", "compile") else "auto"])[0]
        module.reuses_output = way == "kept"
        called: Any = torch.compile(module) if way == "compile" else module
        tensors = self.tensors

        def run() -> Any:
            with torch.no_grad():
                return called(*tensors)

        return run

    def write(self, way: str) -> Path:
        """Write the file that a runtime loads, once."""
        from upbench.exchange import onnx_file, openvino_model
        from upbench.exchange.capture import capture

        file = self.folder / f"{way}.onnx"
        if not file.exists():
            module = self.built(self.specs["eager"])[0]
            sampling = {"onnxruntime": onnx_file.SAMPLING, "openvino": openvino_model.SAMPLING}[way]
            onnx_file.write(capture(module, self.tensors, False, sampling), file)
        return file

    def _onnxruntime(self) -> Callable[[], Any]:
        import numpy as np
        import onnxruntime
        import torch

        options = onnxruntime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads, options.inter_op_num_threads = 4, self.threads, 1
        session = onnxruntime.InferenceSession(
            str(self.write("onnxruntime")), options, providers=["CPUExecutionProvider"]
        )
        bound = session.io_binding()
        for given, tensor in zip(session.get_inputs(), self.tensors, strict=True):
            bound.bind_cpu_input(given.name, tensor.contiguous().numpy())
        (made,) = session.get_outputs()
        out = np.empty(made.shape, dtype=np.float32)
        bound.bind_output(made.name, "cpu", 0, np.float32, out.shape, out.ctypes.data)

        def run() -> Any:
            session.run_with_iobinding(bound)
            return torch.from_numpy(out)

        return run

    def _openvino(self) -> Callable[[], Any]:
        import numpy as np
        import openvino
        import torch

        core = openvino.Core()
        options = {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": self.threads, "INFERENCE_PRECISION_HINT": "f32"}
        model = core.compile_model(core.read_model(str(self.write("openvino"))), "CPU", options)
        request = model.create_infer_request()
        for n, tensor in enumerate(self.tensors):
            request.set_input_tensor(n, openvino.Tensor(tensor.contiguous().numpy(), shared_memory=True))
        out = np.empty(list(model.outputs[0].shape), dtype=np.float32)
        request.set_output_tensor(0, openvino.Tensor(out, shared_memory=True))

        def run() -> Any:
            request.infer()
            return torch.from_numpy(out)

        return run


def timed(name: str, shape: str, folder: Path, ways: Sequence[str]) -> dict[str, Any]:
    """Time ways in rounds: seconds of each, or why it has none."""
    from upbench.deploy.latency import clock_of, rounds

    works, calls, missing = Works(name, shape, folder), {}, {}
    true = works.call("eager")()
    largest = float(true.abs().max())
    for way in ways:
        try:
            call = works.call(way)
            off = float((call() - true).abs().max()) / largest
        except Exception as error:  # noqa: BLE001 # a runtime may raise anything: its row says what
            missing[way] = f"{type(error).__name__}: {error}".splitlines()[0]
            continue
        if off > TOLERANCE:
            missing[way] = f"off by {off:.1e} of the largest value"
        else:
            calls[way] = call
    return {
        "seconds": rounds(calls, BUDGET_S, clock_of(works.threads)),
        "missing": missing,
        "load": os.getloadavg()[0],
    }


def peak(name: str, shape: str, folder: Path, way: str) -> dict[str, Any]:
    """Bytes of the largest resident set during two calls above that before them."""
    call = Works(name, shape, folder).call(way)
    if way == "compile":
        call()  # compiles; what that took is given back
    ctypes.CDLL(None).malloc_trim(0)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    for _ in range(2):
        call()
    return {"bytes": resident("VmHWM") - before}


def resident(field: str) -> int:
    """Bytes of a field of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def child(*arguments: str) -> Any:
    """What this file prints in a process of its own, in which malloc is pinned; None where it failed."""
    from upbench.machine.allocator import worker_environment

    environment = worker_environment("kept", os.environ)
    if not any(":threads=" in one for one in arguments):
        environment |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.slow.runtime_table", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def row(name: str, shape: str, times: dict[str, Any], peaks: dict[str, Any]) -> str:
    """One row of the table."""
    seconds = times["seconds"]
    middle = {way: statistics.median(found) for way, found in seconds.items()}
    cells = [f"{middle[way] * 1e3:.3g}" if way in middle else "-" for way in WAYS]
    others = [way for way in OTHERS if way in middle]
    best = min(others, key=middle.__getitem__) if others else None
    for ours in OURS:
        if best is None or ours not in seconds:
            cells.append("-")
            continue
        ratios = [a / b for a, b in zip(seconds[best], seconds[ours], strict=True)]
        target = TARGETS[ours] if shape in SHAPES else ELSEWHERE
        held = "" if statistics.median(ratios) >= target else " (missed)"
        cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}){held}")
    rounds = len(next(iter(seconds.values()), []))
    memory = [f"{peaks[way] / MIB:.0f}" if peaks.get(way) is not None else "-" for way in WAYS]
    return f"| {name} | {shape} | {' | '.join(cells)} | {best or '-'} | {rounds} | {' | '.join(memory)} |"


def page(found: Sequence[dict[str, Any]], command: str) -> str:
    """The whole file."""
    from importlib.metadata import version

    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")
    times = [f"{way} ms" for way in WAYS]
    heads = ["upsampler", "shape", *times, "best other / kept", "best other / plain", "best", "rounds"]
    heads += [f"{way} MiB" for way in WAYS]
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "onnxruntime", "openvino"))
    head = f"""# Against other runtimes

Made by `{command}` on {cpu}, {platform.platform()}, {packages}.

One thread where the shape names no other number, float32, glibc's malloc pinned to keep its memory, offsets as large as trained ones. Median
processor milliseconds of a call, of several threads those on the wall; all ways of
a row take turns in rounds of random order. The ratios are medians of rounds with their least and largest: how many times as long the
fastest other runtime takes as the call into a kept output (`out="reuse"`; aim {TARGETS["kept"]}) and as the plain call, which returns new
memory (aim {TARGETS["plain"]}); at shapes other than {" and ".join(SHAPES)} the aim of both is {ELSEWHERE}. onnxruntime and OpenVINO (hint f32) write into buffers that they are bound to; torch.compile is given the eager
form. MiB: largest resident set during two calls above that of the loaded model, each in a process of its own.
"""
    rule = ["---"] * 2 + ["---:"] * (len(heads) - 2)
    rows = [row(r["name"], r["shape"], r["times"], r["peaks"]) for r in found]
    table = [f"| {' | '.join(heads)} |", f"|{'|'.join(rule)}|", *rows]
    notes = [f"{r['name']} at {r['shape']}: {way}: {why}" for r in found for way, why in r["times"]["missing"].items()]
    loads = [r["times"]["load"] for r in found]
    notes.append(
        f"Measured from {min(r['at'] for r in found)} to {max(r['at'] for r in found)} UTC; load average of the machine "
        f"(two cores, shared with other work) {min(loads):.0f} to {max(loads):.0f}."
    )
    return "\n".join([head, *table, "", *(f"- {note}" for note in notes), ""])


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--others", default=",".join(OTHERS), help="other runtimes, since compiling takes the longest")
    parser.add_argument("--times-only", action="store_true", help="measure no resident sets")
    given = parser.parse_args()
    ways = ",".join((*OURS, *given.others.split(",")))
    command = f"python -m tests.slow.runtime_table {' '.join(sys.argv[1:])}"
    kept = given.file.with_suffix(".rows")
    shapes = OTHER_SHAPES if given.shapes == "others" else given.shapes.split(",")
    for name in given.names or NAMES:
        for shape in shapes:
            with tempfile.TemporaryDirectory(prefix="upbench-") as folder:
                times = child("--timed", name, shape, folder, ways)
                if times is None:
                    continue
                ran = [way for way in WAYS if way in times["seconds"] and not given.times_only]
                peaks = {way: (child("--peak", name, shape, folder, way) or {}).get("bytes") for way in ran}
            record = {
                "name": name,
                "shape": shape,
                "times": times,
                "peaks": peaks,
                "at": time.strftime("%Y-%m-%d %H:%M"),
            }
            with kept.open("a") as lines:
                lines.write(json.dumps(record) + "\n")
            print(row(name, shape, times, peaks), flush=True)
            given.file.write_text(page(records(kept), command))


def records(file: Path) -> list[dict[str, Any]]:
    """The last record of each upsampler and shape, in the order of NAMES and SHAPES."""
    found = {}
    for line in file.read_text().splitlines():
        record = json.loads(line)
        found[record["name"], record["shape"]] = record
    order = [*NAMES, *SHAPES, *OTHER_SHAPES]
    place = {name: n for n, name in enumerate(order)}
    return [found[key] for key in sorted(found, key=lambda key: [place.get(part, len(order)) for part in key])]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--timed"]:
        print(json.dumps(timed(sys.argv[2], sys.argv[3], Path(sys.argv[4]), sys.argv[5].split(","))))
    elif sys.argv[1:2] == ["--peak"]:
        print(json.dumps(peak(sys.argv[2], sys.argv[3], Path(sys.argv[4]), sys.argv[5])))
    else:
        main()
