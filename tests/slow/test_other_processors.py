"""The C kernels built for other processors compute what they compute here: AVX2 and plain x86-64 by flags, ARM NEON under qemu.

Calls that the fused ops make here are written down with all the memory they name, and repeated by a small program that
holds the same kernels without Python (`replay/`). What lies in memory depends on the numbers in a vector: for a processor
whose vectors are narrower than here, the calls are those of modules that were built so. A few minutes; what is not
installed is skipped.
"""

from __future__ import annotations

import ctypes
import gc
import platform
import shutil
import subprocess
import sys
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import upbench
from upbench import registry
from upbench.ops import thresholds
from upbench.ops.cpu import layer_numbers, map_kernels, native, point_slopes, squares, threads, window_kernels
from upbench.ops.registration import coordinate_dtype

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the flags are those of x86-64"),
    pytest.mark.skipif(native.kernels() != "c", reason="the C kernels were not built here"),
]
HERE = Path(__file__).parent / "replay"
SOURCES = Path(native.__file__).parent / "csrc"
FLAGS = ("-O3", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-fassociative-math")
TARGETS = {
    "avx2": (("gcc", "-march=x86-64-v3"), (), 8),
    "x86-64": (("gcc", "-march=x86-64"), (), 4),
    "neon": (("aarch64-linux-gnu-gcc",), ("qemu-aarch64", "qemu-aarch64-static"), 4),
}
"""Name of a processor -> compiler with its flags, what may run its programs, and numbers of float32 in one of its registers."""
MODULES = {"_kernels": native, "_windows": window_kernels, "_maps": map_kernels}
NAMES = (
    "dysample",
    "dysample-s+",
    "sapa-d",
    "ldaaqu",
    "carafe",
    "sapa-b",
    "a2u",
    "fade",
    "naf",
    "jafar",
    "freqfusion",
    "resfu",
)
WIDE = {"ldaaqu": 256}
"""Channels of those whose kernels take whole vectors in each group; of others 32."""
TOLERANCE = {torch.bfloat16: 2e-2, torch.float16: 4e-3, torch.float64: 1e-9}
"""What values may be off, as a part of the largest; float32 is 1e-4."""


@dataclass
class Call:
    """One call of an entry: the memory that it named, as it was before and after."""

    module: str
    entry: str
    count: int
    piece: int
    job: bytes
    pointers: list[tuple[int, int, int]] = field(default_factory=list)
    blocks: list[Tensor] = field(default_factory=list)
    before: list[bytes] = field(default_factory=list)
    after: list[Tensor] = field(default_factory=list)

    def written(self) -> bytes:
        """The call as `replay.c` reads it."""
        sizes = (len(self.job), self.count, self.piece, len(self.blocks), len(self.pointers))
        parts = [self.entry.encode().ljust(32, b"\0"), numbers(*sizes), self.job]
        for memory in self.before:
            parts += [numbers(len(memory)), memory]
        return b"".join([*parts, *(numbers(*place) for place in self.pointers)])


def numbers(*values: int) -> bytes:
    return b"".join(value.to_bytes(8, "little", signed=True) for value in values)


def raw(storage: Any) -> bytes:
    return ctypes.string_at(storage.data_ptr(), storage.nbytes())


def addresses(job: ctypes.Structure, start: int = 0) -> Iterator[tuple[int, int]]:
    """The place of every pointer of a struct in it, and its value, those that are NULL left out."""
    for name, kind in job._fields_:  # type: ignore[misc] # no bit fields
        value, place = getattr(job, name), start + getattr(type(job), name).offset
        if isinstance(value, ctypes.Structure):
            yield from addresses(value, place)
        elif kind is ctypes.c_void_p and value:
            yield place, value


def noted(module: Any, entry: str, job: ctypes.Structure, count: int, piece: int) -> Call:
    call = Call(
        module.__name__.rpartition(".")[2],
        entry,
        count,
        piece,
        ctypes.string_at(ctypes.addressof(job), ctypes.sizeof(job)),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tensors = [o for o in gc.get_objects() if type(o) in (Tensor, torch.nn.Parameter) and o.device.type == "cpu"]
    for place, value in addresses(job):
        held = (t for t in tensors if 0 <= value - t.untyped_storage().data_ptr() < t.untyped_storage().nbytes())
        block = next(held)
        index = [b.untyped_storage().data_ptr() for b in call.blocks]
        if block.untyped_storage().data_ptr() not in index:
            call.blocks.append(block)
            call.before.append(raw(block.untyped_storage()))
            index.append(block.untyped_storage().data_ptr())
        where = index.index(block.untyped_storage().data_ptr())
        call.pointers.append((place, where, value - index[where]))
    return call


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], list[Call]]:
    """Calls of every entry, forward and backward, at maps of odd sizes; half precision where a kernel takes it.

    They are given the numbers in a vector.
    """
    return cache(lambda lanes: _calls(lanes, tmp_path_factory.mktemp(f"lanes{lanes}")))


def _calls(lanes: int, folder: Path) -> list[Call]:
    found: list[Call] = []
    run = threads.run

    def running(module: Any, entry: str, job: ctypes.Structure, count: int, piece: int, terms: int) -> None:
        call = noted(module, entry, job, count, piece)
        run(module, entry, job, count, piece, terms)
        call.after = [values(raw(b.untyped_storage()), b.dtype) for b in call.blocks]
        call.blocks = [torch.empty(0, dtype=b.dtype) for b in call.blocks]
        found.append(call)

    with pytest.MonkeyPatch.context() as patch:
        # Values of bfloat16 are read as they are where the processor adds products of them, which the others do not.
        patch.setattr(native, "value_dtype", lambda x, blocks: coordinate_dtype(x.dtype))
        cases = [(n, d) for n in NAMES for d in (torch.float32, torch.bfloat16, torch.float16, torch.float64)]
        here = {case: _call(*case) for case in cases}
        patch.setattr(threads, "run", running)
        if lanes != native.LANES:
            for name, python in MODULES.items():
                patch.setattr(python, "_kernels", _built(name, lanes, folder))
            for python in (native, layer_numbers):
                patch.setattr(python, "LANES", lanes)
            patch.setattr(point_slopes, "WIDEST", 8 * lanes)
            patch.setattr(squares, "SLOWEST_LANES", lanes)
        for case, results in here.items():
            for found_here, expected in zip(_call(*case), results, strict=True):
                close(found_here.double(), expected.double(), case[1], f"{case[0]} by vectors of {lanes}")
    return found


def _built(name: str, lanes: int, folder: Path) -> Any:
    """A module of the kernels for this processor with so many numbers in a vector."""
    flags = next(flags for (compiler, *flags), _, some in TARGETS.values() if compiler == "gcc" and some == lanes)
    include, path = sysconfig.get_path("include"), folder / f"{name}.so"
    if not (Path(include) / "Python.h").exists() or shutil.which("gcc") is None:
        pytest.skip("no compiler for modules of Python here")
    made = ["-shared", "-fPIC", "-fwrapv", "-w", "-DONE_GENERATION", f"-I{include}", "-o", str(path)]
    subprocess.run(["gcc", *flags, *FLAGS, *made, str(SOURCES / f"{name[1:]}.c"), "-lm"], check=True)
    spec = spec_from_file_location(f"narrow.{name}", path)
    assert spec is not None
    module = module_from_spec(spec)
    assert module.lanes == lanes
    return module


def _call(name: str, dtype: torch.dtype) -> list[Tensor]:
    """What a module returns, and the gradients in its maps."""
    card, generator, channels = registry.get(name), torch.Generator().manual_seed(0), WIDE.get(name, 32)
    params = {"resample": True} if name == "freqfusion" else {}
    setting = registry.setting_of(card, channels, None, None, params)
    setting = replace(setting, batch=1, height=9, width=11)
    # On so small a map the automatic choice would be the eager form of A2U.
    module = upbench.build(name, channels, seed=0, backend="fused" if name == "a2u" else "auto", **params).to(dtype)
    shapes = ((1, channels, 9, 11), *card.guide_shapes(setting))
    tensors = [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes]
    with torch.no_grad():
        module.eval()(*tensors)
    with thresholds.for_smaller_maps(2.0**20 if name in WIDE else 1):
        made = module(*tensors)
        out = made if isinstance(made, Tensor) else made[0]
        out.sum().backward()
    return [out.detach(), *(t.grad for t in tensors if t.grad is not None)]


def values(memory: bytes, dtype: torch.dtype) -> Tensor:
    return torch.frombuffer(bytearray(memory), dtype=dtype).double()


@dataclass
class Programs:
    """The commands that repeat calls of each module of kernels on a processor, and the numbers in its vectors."""

    commands: dict[str, list[str]]
    lanes: int


@pytest.fixture(scope="module", params=TARGETS)
def programs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """The kernels built for a processor."""
    (compiler, *flags), emulators, lanes = TARGETS[request.param]
    emulator = [name for name in emulators if shutil.which(name)][:1]
    if shutil.which(compiler) is None or bool(emulators) != bool(emulator):
        pytest.skip(f"{compiler} or what runs its programs is not installed")
    if request.param == "avx2" and "avx2" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor has no AVX2")
    folder = tmp_path_factory.mktemp(request.param)
    made = {}
    for module in MODULES:
        build([compiler, *flags, "-static"], module, folder / module)
        made[module] = [*emulator, str(folder / module)]
    return Programs(made, lanes)


def build(compiler: list[str], module: str, program: Path) -> None:
    """Build the program that repeats calls of a module, by a compiler with its flags."""
    named = [f'-DSOURCE="{module[1:]}.c"', f"-DINIT=PyInit_{module}", "-DONE_GENERATION"]
    where = [f"-I{HERE}", f"-I{SOURCES}", str(HERE / "replay.c"), "-o", str(program), "-lm", "-pthread"]
    subprocess.run([*compiler, *FLAGS, "-w", *named, *where], check=True)


@pytest.mark.skipif(find_spec("ziglang") is None, reason="ziglang, a clang for other systems, is not installed")
@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("target", ["aarch64-macos", "aarch64-linux-gnu"])
def test_clang_builds_them_for_arm(target: str, module: str, tmp_path: Path) -> None:
    """Of a Mac and of Linux. They are not run."""
    build([sys.executable, "-m", "ziglang", "cc", "-target", target], module, tmp_path / module)
    assert (tmp_path / module).stat().st_size > 50_000


def test_vectors_fill_a_register(programs: Programs) -> None:
    for module, command in programs.commands.items():
        done = subprocess.run(command, input=b"", capture_output=True, check=True)
        assert int.from_bytes(done.stdout, "little") == programs.lanes, module


def test_the_kernels_compute_the_same(programs: Programs, recorded: Callable[[int], list[Call]]) -> None:
    entries: dict[str, int] = {}
    calls = recorded(programs.lanes)
    for module, command in programs.commands.items():
        mine = [call for call in calls if call.module == module]
        assert mine, f"no call of {module}"
        done = subprocess.run(command, input=b"".join(c.written() for c in mine), capture_output=True, check=True)
        place = 8  # after the numbers in a vector
        for call in mine:
            entries[call.entry] = entries.get(call.entry, 0) + 1
            for before, after, block in zip(call.before, call.after, call.blocks, strict=True):
                found = values(done.stdout[place : place + len(before)], block.dtype)
                place += len(before)
                # Moments of float32 are float64, and no more exact than what they are of.
                single = torch.float32 in (b.dtype for b in call.blocks)
                close(
                    found,
                    after,
                    torch.float32 if single and block.dtype == torch.float64 else block.dtype,
                    f"{module} {call.entry}",
                )
        assert place == len(done.stdout)
    print(entries)
    assert {
        "given",
        "predicted",
        "filtered",
        "filter_slopes",
        "guide_slopes",
        "moved",
        "boxes",
        "neighbours",
        "assemble",
        "similarity",
        "scatter",
        "affinity",
        "normed",
        "slopes",
        "squares",
        "square_taps",
    } <= set(entries)


def close(found: Tensor, expected: Tensor, dtype: torch.dtype, what: str) -> None:
    known = expected.isfinite() & found.isfinite()
    assert torch.equal(expected.isnan() | expected.isinf(), ~found.isfinite()), what
    if known.any():
        largest = float(expected[known].abs().max())
        off = float((found - expected)[known].abs().max())
        assert off <= TOLERANCE.get(dtype, 1e-4) * largest, (
            f"{what} in {dtype} is off by {off / max(largest, 1e-30):.1e}"
        )
