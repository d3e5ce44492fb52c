"""The C modules: where they are built, and which are taken."""

from __future__ import annotations

import shutil
import sys
from typing import Any

import pytest

from upbench import ops
from upbench.ops.cpu import compiled, map_kernels, native, window_kernels

built = pytest.mark.skipif(native._kernels is None, reason="upbench was installed without a C compiler")


def test_where_there_is_a_compiler_there_is_the_kernel() -> None:
    """Its building is optional, so that nothing but this notices when it fails."""
    if not (sys.platform.startswith("linux") and (shutil.which("gcc") or shutil.which("cc"))):
        pytest.skip("no C compiler here that must have built it")
    assert ops.kernels() == "c"


@built
@pytest.mark.parametrize(
    ("name", "side"), [("_kernels", native), ("_windows", window_kernels), ("_maps", map_kernels)], ids=str
)
def test_kernels_of_another_build_are_left_alone(name: str, side: Any) -> None:
    assert side._kernels is not None
    assert compiled.load(name, side.INTERFACE) is side._kernels
    assert compiled.load(name, side.INTERFACE + 1) is None
    assert compiled.load(name, -1) is None
    assert compiled.load("_nothing", 1) is None
