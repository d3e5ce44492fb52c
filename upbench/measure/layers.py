"""A module as a tree of its layers: parameters, MACs and output shapes of each, counted on one trace of one call."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.jit import _trace

from upbench.measure import macs, output
from upbench.measure.trace import Trace
from upbench.ops import whole_ops

ROOT = "."
"""The name of the module itself among its layers."""


@dataclass(frozen=True)
class Layer:
    """One module of a tree, with all that is inside of it.

    Args:
        path: Its dotted name in the module; "." for the module itself.
        kind: The name of its class.
        params: Parameters of it and of all inside of it, shared ones once.
        macs: Multiply-accumulates of one call of the whole module that are made in it; None where they cannot be
            traced, or it is not called because another layer uses its weights.
        shapes: Shapes of what it returned when it was last called; none where it was not called.
    """

    path: str
    kind: str
    params: int
    macs: int | None
    shapes: tuple[tuple[int, ...], ...]

    @property
    def depth(self) -> int:
        """How deep it stands in the tree; 0 for the module itself."""
        return 0 if self.path == ROOT else self.path.count(".") + 1


def of_module(module: nn.Module, inputs: tuple[Tensor, ...]) -> list[Layer]:
    """Return the layers of a module, each before those inside of it. It is called twice, without autograd.

    Args:
        module: The module.
        inputs: The tensors of the call.

    Raises:
        Exception: Whatever the module raises.
    """
    names = {one: path or ROOT for path, one in module.named_modules()}
    shapes = _shapes(module, inputs, names)
    charged = _macs(module, inputs, names)
    return [
        Layer(
            path,
            type(one).__name__,
            sum(p.numel() for p in one.parameters() if not nn.parameter.is_lazy(p)),
            None if charged is None or (path not in shapes and not charged[path]) else charged[path],
            shapes.get(path, ()),
        )
        for one, path in names.items()
    ]


def _shapes(
    module: nn.Module, inputs: tuple[Tensor, ...], names: Mapping[nn.Module, str]
) -> dict[str, tuple[tuple[int, ...], ...]]:
    """Return the shapes of what each layer returns, by its name."""
    found: dict[str, tuple[tuple[int, ...], ...]] = {}

    def keep(one: nn.Module, _: Any, out: Any) -> None:
        found[names[one]] = tuple(tuple(each.shape) for each in output.maps(out) if isinstance(each, Tensor))

    handles = [one.register_forward_hook(keep) for one in names]
    try:
        with torch.no_grad():
            module(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _macs(module: nn.Module, inputs: tuple[Tensor, ...], names: Mapping[nn.Module, str]) -> Counter[str] | None:
    """Return the MACs inside of each layer, by its name; None where the call cannot be traced, or not all is known."""
    torch.clear_autocast_cache()
    try:
        with torch.no_grad(), whole_ops(), warnings.catch_warnings(), _scopes(names):
            warnings.simplefilter("ignore")
            trace = Trace(module, inputs)
    except Exception:  # noqa: BLE001 - a module need not be such that it can be traced
        return None
    found: Counter[str] = Counter()
    for name, node in trace.nodes():
        charge = macs.of_node(trace, name, node)
        if charge is None:
            return None
        inside = node.scopeName().split("/")[-1] or ROOT
        for path in _with_parents(inside):
            found[path] += charge
    return found


@contextmanager
def _scopes(names: Mapping[nn.Module, str]) -> Iterator[None]:
    """Let a trace write into every node which module it is of, as torch.jit.trace does."""
    before = _trace._trace_module_map
    _trace._trace_module_map = dict(names)
    try:
        yield
    finally:
        _trace._trace_module_map = before


def _with_parents(path: str) -> list[str]:
    """Return the name of a layer and those of all that it is inside of."""
    if path == ROOT:
        return [ROOT]
    parts = path.split(".")
    return [ROOT, *(".".join(parts[: n + 1]) for n in range(len(parts)))]
