"""A traced graph, and what can be known of the values in it: what they are made of, and what becomes of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.jit import _trace
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from upbench.measure.operators import VALUELESS, VIEWS

INPUT, WEIGHT = 1, 2
"""Bits that say what a value depends on: the inputs of the module, its parameters."""

PRODUCTS = ("aten::mul", "aten::mul_", "aten::multiply", "aten::multiply_")
_SUMS = ("aten::sum",)
_SIZES = ("aten::size", "aten::numel", "aten::dim", "prim::shape", "prim::device", "prim::dtype")
_VIEWS = frozenset(f"aten::{name}" for name in VIEWS) | {"prim::ListConstruct", "prim::TupleConstruct"}
_ALIASES = frozenset(
    f"aten::{name}"
    for name in (
        *(VIEWS - {"stack", "cat", "concat", "clone", "to", "_to_copy"}),
        "slice",
        "select",
        "narrow",
        "expand",
    )
)
_VALUELESS = frozenset(f"aten::{name}" for name in VALUELESS) | {"prim::Constant", "prim::device", "prim::dtype"}
_UNTRACED = ("prim::PythonOp", "prim::CallFunction", "prim::CallMethod", "prim::If", "prim::Loop")


def class_of(default: str, *operands: int) -> str:
    """Return the class of a product: conv where a factor is a learned weight, gather where both come from the inputs.

    Args:
        default: Class of the operator where that does not decide, as for a constant factor.
        operands: Bits of what each factor depends on.
    """
    if any(bits == WEIGHT for bits in operands):
        return "conv"
    return "gather" if all(bits & INPUT for bits in operands) else default


class _EveryResult(TorchFunctionMode):
    """Makes every result of a function an output of the graph that is traced, before those of the module.

    A trace drops what its outputs do not depend on: a gate whose value decides a branch, what goes through numpy, what
    is written to a buffer or kept for later. All of it is computed nevertheless. Nothing is held in memory.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kept = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        state = torch._C._get_tracing_state()
        for made in tree_leaves(out) if state is not None else ():
            if isinstance(made, Tensor):
                state.graph().registerOutput(torch._C._get_value_trace(made))  # type: ignore[attr-defined]
                self.kept += 1
        return out


class Trace:
    """One call of a module as a graph of operators. The module is run once, without autograd, its mode as it is.

    Args:
        module: The module that is traced.
        inputs: The tensors of the call.
        dead: Whether it holds what the module's result does not depend on.

    Raises:
        Exception: Whatever torch.jit raises on a module that it cannot trace.
    """

    def __init__(self, module: nn.Module, inputs: tuple[Tensor, ...], dead: bool = True) -> None:
        results = _EveryResult()
        with results if dead else nullcontext():
            self.graph, _ = _trace._get_trace_graph(module, inputs)
        self._kept = results.kept
        torch._C._jit_pass_inline(self.graph)
        state = _trace._unique_state_dict(module, keep_vars=True).values()
        given = [INPUT] * len(inputs) + [WEIGHT if isinstance(value, nn.Parameter) else 0 for value in state]
        self._made_of: dict[str, int] = {}
        self._made_of |= {v.debugName(): bits for v, bits in zip(self.graph.inputs(), given, strict=False)}
        for node in self.graph.nodes():
            self._follow(node)

    def nodes(self) -> Iterator[tuple[str, Any]]:
        """Yield the kind and the node of every operator; a function that the trace does not see into is named after itself."""
        for node in self.graph.nodes():
            kind = node.kind()
            if kind == "prim::PythonOp":
                kind = f"{kind}.{node.pyname()}"
            if kind.startswith(_UNTRACED) or not kind.startswith("prim::"):
                yield kind, node

    def made_of(self, value: Any) -> int:
        """Return what a value depends on, as bits of INPUT and WEIGHT."""
        return self._made_of.get(value.debugName(), 0)

    def summed(self, product: Any) -> bool:
        """Return whether the values of a product go into one sum and nowhere else, through views alone."""
        return self._consumers(product) == list(_SUMS)

    def products_of(self, value: Any) -> int:
        """Return how many values of a sum's argument are products that go nowhere else."""
        node = value.node()
        kind = node.kind()
        if is_product(node):
            return numel(value) if self.summed(value) else 0
        if kind not in _VIEWS:
            return 0
        sources = inputs_of(node) if kind in ("prim::ListConstruct", "prim::TupleConstruct") else [node.inputsAt(0)]
        return sum(self.products_of(source) for source in sources)

    def unrolled_sums(self) -> list[tuple[int, int]]:
        """Return the sums that are written out, as a loop over taps is.

        Returns:
            Of each sum how many products it adds, and how many values these have together.
        """
        sums = []
        for node in self.graph.nodes():
            if _is_addition(node) and not any(_is_addition(use.user) for use in self._uses(node.outputsAt(0))):
                leaves = self._addends(node)
                if len(leaves) >= 3:
                    sums.append((len(leaves), sum(numel(value) for value in leaves)))
        return sums

    def _addends(self, node: Any) -> list[Any]:
        """The products that a tree of additions adds up."""
        found, left = [], inputs_of(node)[:2]
        while left:
            value = left.pop()
            maker = value.node()
            while maker.kind() in _ALIASES and len(self._uses(value)) == 1:
                value = maker.inputsAt(0)
                maker = value.node()
            if len(self._uses(value)) != 1:
                continue
            if is_product(maker) and all(self.made_of(v) & INPUT for v in inputs_of(maker)[:2]):
                found.append(value)
            elif _is_addition(maker):
                left += inputs_of(maker)[:2]
        return found

    def _uses(self, value: Any) -> list[Any]:
        return [use for use in value.uses() if use.user.kind() not in _SIZES and not self._only_kept(use)]

    def _only_kept(self, use: Any) -> bool:
        return bool(use.user.kind() == "prim::Return" and use.offset < self._kept)

    def _consumers(self, value: Any) -> list[str]:
        """The kinds of all that reads a value, views followed to what reads them."""
        found = []
        for use in self._uses(value):
            if use.user.kind() in _VIEWS:
                found += self._consumers(use.user.outputsAt(0))
            else:
                found.append("aten::sum" if use.user.kind() in _SUMS and use.offset == 0 else use.user.kind())
        return found

    def _follow(self, node: Any) -> None:
        """What a node's outputs depend on; where it writes into one of its inputs, what that one depends on from now."""
        kind, inputs = node.kind(), inputs_of(node)
        bits = 0
        if kind not in _VALUELESS:
            for value in inputs:
                bits |= self.made_of(value)
        for out in outputs_of(node):
            self._made_of[out.debugName()] = bits
        if inputs and kind.startswith("aten::") and kind.endswith("_") and not kind.endswith("__"):
            written = inputs[0]
            while True:
                self._made_of[written.debugName()] = self.made_of(written) | bits
                maker = written.node()
                if maker.kind() not in _ALIASES:
                    break
                written = maker.inputsAt(0)


def inputs_of(node: Any) -> list[Any]:
    """Return the inputs of a node, one by one: torch ends a loop over `node.inputs()` by an exception in C++, which takes longer."""
    return [node.inputsAt(n) for n in range(node.inputsSize())]


def outputs_of(node: Any) -> list[Any]:
    """Return the outputs of a node, see `inputs_of`."""
    return [node.outputsAt(n) for n in range(node.outputsSize())]


def numel(value: Any) -> int:
    """Return the number of values; 0 where the shape is not known, and for scalars, with which a trace does size arithmetic."""
    return math.prod(shape(value) or [0])


def shape(value: Any) -> list[int] | None:
    """Return the shape of a tensor; None where it is not known or the value is no tensor."""
    return value.type().sizes() if value.isCompleteTensor() else None


def is_product(node: Any) -> bool:
    """Return whether a node multiplies two tensors value by value, neither of them a single number."""
    if node.kind() not in PRODUCTS:
        return False
    return all(value.isCompleteTensor() and numel(value) > 1 for value in inputs_of(node)[:2])


def _is_addition(node: Any) -> bool:
    return node.kind() in ("aten::add", "aten::add_") and all(v.isCompleteTensor() for v in inputs_of(node)[:2])
