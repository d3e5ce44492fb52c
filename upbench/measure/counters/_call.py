"""What is known of one call of a module: the layers, the functions and the operators that were called, and the trace.

Counters that patch functions of torch see a call only where it is made through the name that they patch, from Python code
that looks it up then. Nothing but patching the same names for one call shows the same; they are put back afterwards.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import flop_registry

from upbench.measure.formulas import NORMS, READS, norm, product
from upbench.measure.operators import work_of
from upbench.measure.trace import Trace

_ACTIVATIONS = "relu prelu elu leaky_relu relu6 silu gelu softmax"
_NORMS = "batch_norm layer_norm instance_norm group_norm"
_POOLS = " ".join(f"{kind}_pool{n}d" for kind in ("avg", "max", "adaptive_avg", "adaptive_max") for n in (1, 2, 3))
_CONVOLUTIONS = " ".join(f"conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3))
FUNCTIONS = f"linear {_CONVOLUTIONS} {_ACTIVATIONS} {_NORMS} {_POOLS} upsample interpolate embedding".split()
"""Functions of torch.nn.functional that counters patch."""
_PATCHED: tuple[tuple[Any, str, Sequence[str]], ...] = (
    (F, "functional", FUNCTIONS),
    (torch, "torch", ["matmul", "mm", "bmm", "addmm", "baddbmm", "mul", "add", "einsum"]),
    (torch.Tensor, "Tensor", ["matmul", "mm", "bmm", "addmm", "mul", "add"]),
)
"""Where the names are, how calls name that, and the names."""

Hooked = Literal["all", "children", "none"]
_HOOKED: dict[str, Callable[[nn.Module], list[nn.Module]]] = {
    "all": lambda module: list(module.modules()),
    "children": lambda module: list(module.children()),
    "none": lambda module: [],
}


@dataclass(frozen=True)
class Shaped:
    """A tensor of a call, of which only the shape is kept."""

    shape: tuple[int, ...]

    def numel(self) -> int:
        """Return the number of values."""
        return torch.Size(self.shape).numel()

    def dim(self) -> int:
        """Return the number of dimensions."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]


@dataclass(frozen=True)
class LayerCall:
    """One call of a layer: the positional arguments and the result, tensors as their shapes."""

    layer: nn.Module
    given: tuple[Any, ...]
    out: Any


@dataclass(frozen=True)
class FunctionCall:
    """One call of a function that counters patch: its name, as functional.relu, and the innermost layer that it ran in."""

    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    inside: nn.Module


@dataclass(frozen=True)
class OperatorCall:
    """One operator that torch dispatched.

    Args:
        name: Its name, as aten::mm.
        args: Its positional arguments, tensors as their shapes.
        out: Its result.
        flops: What torch's own counter has for it; None where it has no formula.
        macs: Multiply-accumulates as upbench counts them; 0 where nothing is known of it.
        inside: The innermost layer that it ran in.
        functions: Names of the functions that counters patch in which it ran.
    """

    name: str
    args: tuple[Any, ...]
    out: Any
    flops: int | None
    macs: int
    inside: nn.Module
    functions: tuple[str, ...]


@dataclass
class Call:
    """One call of a module.

    Args:
        module: The module.
        inputs: The tensors that it was called with.
        layers: Layers in the order in which they returned.
        functions: Functions in the order of their calls.
        operators: Operators in the order of their calls.
    """

    module: nn.Module
    inputs: tuple[Tensor, ...]
    layers: list[LayerCall] = field(default_factory=list)
    functions: list[FunctionCall] = field(default_factory=list)
    operators: list[OperatorCall] = field(default_factory=list)
    _inside: list[nn.Module] = field(default_factory=list)
    _within: list[str] = field(default_factory=list)

    def run(self, gradients: bool, hooks: Hooked = "all") -> Call:
        """Make the call, in evaluation, and write down what runs.

        Args:
            gradients: Whether gradients are recorded, with which another form may be fused.
            hooks: Which layers have hooks; those are called one by one, and not what is fused in their place.
        """
        self._inside = [self.module]
        with ExitStack() as stack:
            for manager in (
                torch.set_grad_enabled(gradients),
                warnings.catch_warnings(action="ignore"),
                torch.compiler.set_stance("force_eager"),
                _evaluation(self.module),
                self._hooks(_HOOKED[hooks](self.module)),
                self._patches(),
                _Operators(self),
            ):
                stack.enter_context(manager)
            self.module(*self.inputs)
        return self

    @contextmanager
    def _hooks(self, layers: Sequence[nn.Module]) -> Iterator[None]:
        def enter(layer: nn.Module, given: Any) -> None:
            self._inside.append(layer)

        def leave(layer: nn.Module, given: Any, out: Any) -> None:
            self._inside.pop()
            self.layers.append(LayerCall(layer, _shapes(given), _shapes(out)))

        handles = [layer.register_forward_pre_hook(enter) for layer in layers]
        handles += [layer.register_forward_hook(leave) for layer in layers]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def _patches(self) -> Iterator[None]:
        put_back: list[Callable[[], None]] = []
        try:
            for holder, prefix, functions in _PATCHED:
                for name in functions:
                    put_back.append(_restorer(holder, name))
                    setattr(holder, name, self._noted(getattr(holder, name), f"{prefix}.{name}"))
            yield
        finally:
            for restore in put_back:
                restore()

    def _noted(self, function: Any, name: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def noted(*args: Any, **kwargs: Any) -> Any:
            self.functions.append(FunctionCall(name, _shapes(args), _shapes(kwargs), self._inside[-1]))
            self._within.append(name)
            try:
                return function(*args, **kwargs)
            finally:
                self._within.pop()

        return noted

    def note_operator(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
        """Write down one operator.

        Args:
            func: The operator.
            args: Its positional arguments.
            kwargs: Its keyword arguments.
            out: Its result.
        """
        flops = None
        if (formula := flop_registry.get(func._overloadpacket)) is not None:
            flops = int(formula(*args, **kwargs, out_val=out))
        macs = _macs(func, args, kwargs, out)
        where = self._inside[-1], tuple(self._within)
        self.operators.append(OperatorCall(func._schema.name, _shapes(tuple(args)), _shapes(out), flops, macs, *where))


class _Operators(TorchDispatchMode):
    """Writes down every operator that torch dispatches."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self.call = call

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.call.note_operator(func, args, kwargs or {}, out)
        return out


class Calls:
    """The calls of a module that rules read, each made when it is first asked for.

    Args:
        module: The module.
        inputs: The tensors of the call.
    """

    def __init__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.module, self.inputs = module, tuple(tensor.detach() for tensor in inputs)

    @cached_property
    def without_gradients(self) -> Call:
        """The call as torchinfo and thop make it."""
        return Call(self.module, self.inputs).run(gradients=False)

    @cached_property
    def without_hooks(self) -> Call:
        """The call as torch's counter makes it."""
        return Call(self.module, self.inputs).run(gradients=False, hooks="none")

    @cached_property
    def with_gradients(self) -> Call:
        """The call as ptflops and calflops make it."""
        return Call(self.module, self.inputs).run(gradients=True)

    @cached_property
    def with_hooked_children(self) -> Call:
        """The call as ptflops makes it with the backend aten."""
        return Call(self.module, self.inputs).run(gradients=True, hooks="children")

    @cached_property
    def trace(self) -> Trace:
        """The trace as fvcore takes it, without what its result does not depend on."""
        with warnings.catch_warnings(action="ignore"), _evaluation(self.module):
            return Trace(self.module, self.inputs, dead=False)


@contextmanager
def _evaluation(module: nn.Module) -> Iterator[None]:
    modes = {layer: layer.training for layer in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for layer, training in modes.items():
            layer.training = training


def _restorer(holder: Any, name: str) -> Callable[[], None]:
    """Return what puts a name back as it is now: what a class inherits is no attribute of its own."""
    if name in vars(holder):
        return functools.partial(setattr, holder, name, vars(holder)[name])
    return functools.partial(delattr, holder, name)


def _shapes(values: Any) -> Any:
    return tree_map(lambda value: Shaped(tuple(value.shape)) if isinstance(value, Tensor) else value, values)


def _macs(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """Return the multiply-accumulates of an operator, as upbench counts one that stands alone."""
    first = out[0] if isinstance(out, tuple | list) and out else out
    if not isinstance(first, Tensor):
        return 0
    if (charge := product(func, args, kwargs, out, first)) is not None:
        return charge[2]
    name = func._schema.name.removeprefix("aten::")
    if name in READS:
        return READS[name](args, first) * first.numel()
    if name in NORMS:
        return norm(name, args) * first.numel()
    work = work_of(func._schema.name)
    given = next((value for value in args if isinstance(value, Tensor)), first)
    return {"elementwise": first.numel(), "reduction": given.numel(), "softmax": 3 * first.numel()}.get(work or "", 0)
