"""The C modules of this folder, built where upbench was installed with a C compiler at hand."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch


def load(name: str, interface: int) -> Any:
    """Return a C module of this folder, or None where there was no compiler or it was built by another upbench.

    It works on the threads of the OpenMP that torch has loaded, and where there is none starts threads for each job.
    """
    try:
        found = import_module(f"upbench.ops.cpu.{name}")
    except ImportError:
        return None
    if found.interface != interface:
        return None
    found.use_openmp(*openmp())
    return found


@cache
def openmp() -> tuple[int, int, int]:
    """Addresses of GOMP_parallel, omp_get_thread_num and omp_get_num_threads in the library that torch has loaded; 0 where it lacks one."""
    name = "libtorch_global_deps" + (".dylib" if sys.platform == "darwin" else ".so")
    try:
        loaded = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / name))
        functions = [getattr(loaded, one) for one in ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")]
    except (OSError, AttributeError):
        return 0, 0, 0
    parallel, number, threads = (ctypes.cast(one, ctypes.c_void_p).value or 0 for one in functions)
    return parallel, number, threads
