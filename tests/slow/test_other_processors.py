"""The C kernels built for other processors compute what they compute here: AVX2 and plain x86-64 by flags, ARM NEON under qemu.

Calls that the fused ops make here are written down with all the memory they name, and repeated by a small program that
holds the same kernels without Python (`replay/`). Two minutes; what is not installed is skipped.
"""

from __future__ import annotations

import ctypes
import gc
import platform
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import upbench
from upbench import registry
from upbench.ops.cpu import native, threads
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
    "avx2": (("gcc", "-march=x86-64-v3"), ()),
    "x86-64": (("gcc", "-march=x86-64"), ()),
    "neon": (("aarch64-linux-gnu-gcc",), ("qemu-aarch64",)),
}
"""Name of a processor -> compiler with its flags, and what runs its programs."""
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
TOLERANCE = {torch.bfloat16: 2e-2, torch.float16: 4e-3, torch.float64: 1e-9}
"""What values may be off, as a part of the largest; float32 is 1e-4."""


@dataclass
class Call:
    """One call of an entry: the memory that it named, as it was before and after."""

    module: str
    entry: str
    count: int
    job: bytes
    pointers: list[tuple[int, int, int]] = field(default_factory=list)
    blocks: list[Tensor] = field(default_factory=list)
    before: list[bytes] = field(default_factory=list)
    after: list[Tensor] = field(default_factory=list)

    def written(self) -> bytes:
        """The call as `replay.c` reads it."""
        sizes = (len(self.job), 0, self.count, len(self.blocks), len(self.pointers))
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


def noted(module: Any, entry: str, job: ctypes.Structure, count: int) -> Call:
    call = Call(
        module.__name__.rpartition(".")[2], entry, count, ctypes.string_at(ctypes.addressof(job), ctypes.sizeof(job))
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
def calls() -> list[Call]:
    """Calls of every entry, forward and backward, at maps of odd sizes; half precision where a kernel takes it."""
    found: list[Call] = []
    run = threads.run

    def running(module: Any, entry: str, job: ctypes.Structure, count: int, piece: int) -> None:
        call = noted(module, entry, job, count)
        run(module, entry, job, count, piece)
        call.after = [values(raw(b.untyped_storage()), b.dtype) for b in call.blocks]
        call.blocks = [torch.empty(0, dtype=b.dtype) for b in call.blocks]
        found.append(call)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "run", running)
        # Values of bfloat16 are read as they are where the processor adds products of them, which the others do not.
        patch.setattr(native, "value_dtype", lambda x, blocks: coordinate_dtype(x.dtype))
        for name in NAMES:
            for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
                _call(name, dtype)
    return found


def _call(name: str, dtype: torch.dtype) -> None:
    card, generator = registry.get(name), torch.Generator().manual_seed(0)
    params = {"resample": True} if name == "freqfusion" else {}
    setting = registry.setting_of(card, 32, None, None, params)
    setting = replace(setting, batch=1, height=9, width=11)
    # On so small a map the automatic choice would be the eager form of A2U.
    module = upbench.build(name, 32, seed=0, backend="fused" if name == "a2u" else "auto", **params).to(dtype)
    shapes = ((1, 32, 9, 11), *card.guide_shapes(setting))
    tensors = [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes]
    with torch.no_grad():
        module.eval()(*tensors)
    out = module(*tensors)
    (out if isinstance(out, Tensor) else out[0]).sum().backward()


def values(memory: bytes, dtype: torch.dtype) -> Tensor:
    return torch.frombuffer(bytearray(memory), dtype=dtype).double()


@pytest.fixture(scope="module", params=TARGETS)
def programs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The command that repeats calls of each module of kernels on a processor."""
    (compiler, *flags), emulator = TARGETS[request.param]
    for needed in (compiler, *emulator):
        if shutil.which(needed) is None:
            pytest.skip(f"{needed} is not installed")
    if request.param == "avx2" and "avx2" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor has no AVX2")
    folder = tmp_path_factory.mktemp(request.param)
    made = {}
    for module in ("_kernels", "_windows", "_maps"):
        program = folder / module
        named = [
            f'-DSOURCE="{module[1:]}.c"',
            f"-DINIT=PyInit_{module}",
            "-Dtarget_clones(...)=unused",
            "-DONE_GENERATION",
        ]
        where = [f"-I{HERE}", f"-I{SOURCES}", str(HERE / "replay.c"), "-static", "-o", str(program), "-lm"]
        subprocess.run([compiler, *flags, *FLAGS, "-w", *named, *where], check=True)
        made[module] = [*emulator, str(program)]
    return made


def test_the_kernels_compute_the_same(programs: dict[str, list[str]], calls: list[Call]) -> None:
    entries: dict[str, int] = {}
    for module, command in programs.items():
        mine = [call for call in calls if call.module == module]
        assert mine, f"no call of {module}"
        done = subprocess.run(command, input=b"".join(c.written() for c in mine), capture_output=True, check=True)
        place = 0
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
        "moved",
        "boxes",
        "neighbours",
        "assemble",
        "similarity",
        "scatter",
        "affinity",
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
