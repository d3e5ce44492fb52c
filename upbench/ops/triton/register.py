"""The fused ops on CUDA: registers the Triton kernels with torch, and says where they cannot run.

Imported only where a CUDA tensor asks for a fused op, and by the tests, which run the kernels in Triton's interpreter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from upbench.ops.registration import LIBRARY
from upbench.ops.triton import cell_slopes as triton_cell_slopes
from upbench.ops.triton import cells as triton_cells
from upbench.ops.triton import local_similarity as triton_neighbours
from upbench.ops.triton import points as triton_points
from upbench.ops.triton import window as triton_window


def _rows_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _planes(x: Tensor) -> Tensor:
    return x.clone(memory_format=torch.contiguous_format)


KERNELS: dict[str, Callable[..., Any]] = {
    "window_assemble_fused": triton_window.assemble,
    "window_similarity_fused": triton_window.similarity,
    "window_scatter_fused": triton_window.scatter,
    "rows_last_fused": _rows_last,
    "planes_fused": _planes,
    "deform_assemble_fused": triton_points.assemble,
    "deform_similarity_fused": triton_points.similarity,
    "deform_scatter_fused": triton_points.scatter,
    "deform_slope_fused": triton_points.slope,
    "local_similarity_fused": triton_neighbours.similarity,
    "local_similarity_slope_fused": triton_neighbours.slope,
    "cell_attention_fused": triton_cells.attend,
    "cell_attention_slopes_fused": triton_cell_slopes.slopes,
}
"""Op -> its kernel; a change of memory order is torch's own."""

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def unsupported_reason(op: str, x: Tensor) -> str | None:
    """Return why no kernel can run an op on a tensor, or None.

    Args:
        op: name of the op.
        x: the tensor.
    """
    if x.dtype not in DTYPES:
        return (
            f"its Triton kernel takes float32, float16, bfloat16 and float64, not {str(x.dtype).removeprefix('torch.')}"
        )
    if op.startswith("deform") and torch.is_grad_enabled() and torch.are_deterministic_algorithms_enabled():
        return "the gradient of its Triton kernel adds atomically, which torch.use_deterministic_algorithms forbids"
    capability = torch.cuda.get_device_capability(x.device)
    if x.dtype == torch.bfloat16 and capability < (8, 0):
        return f"bfloat16 needs a GPU of compute capability 8.0, and this one has {capability[0]}.{capability[1]}"
    return None


for _name, _kernel in KERNELS.items():
    LIBRARY.impl(_name, _kernel, "CUDA")
