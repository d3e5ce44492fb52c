"""Multiply-accumulates of the operators that torch dispatches while a module runs.

This is the way for modules that a trace does not see through: scripted and compiled ones, autograd functions, recurrent
layers, convolutions with `padding="same"`. The classes and the numbers are those of `macs`; operators have the names
that the dispatcher gives them. Convolutions and matrix products are charged by the formulas of torch's own counter.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import WeakTensorKeyDictionary

from upbench.measure.formulas import CONVOLUTIONS, NORMS, PRODUCTS, READS, is_product, norm, product
from upbench.measure.macs import SUMMED, UNSUMMED, Charge, Macs, declared, gathered, slides
from upbench.measure.operators import VALUELESS, VIEWS, work_of
from upbench.measure.trace import INPUT, WEIGHT, class_of
from upbench.ops import OPS

_FREE = {
    getattr(nn.functional, name)
    for name in ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
}


@dataclass(eq=False)
class _Product:
    """A value-by-value product of two features; `sums` and `others` count the operators of each kind that read it."""

    name: str
    kind: str
    values: int
    sums: int = 0
    others: int = 0

    @property
    def summed(self) -> bool:
        return self.sums == 1 and not self.others


@dataclass
class _Ledger:
    """The charges of what has run so far; `made_of` maps tensors to what they depend on, `holds` to products in them."""

    charges: list[Charge] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)
    products: list[_Product] = field(default_factory=list)
    sums: list[tuple[int, list[_Product]]] = field(default_factory=list)
    silent: bool = False
    linear: bool = False
    einsum: bool = False

    def __post_init__(self) -> None:
        self.made_of: Any = WeakTensorKeyDictionary()
        self.holds: Any = WeakTensorKeyDictionary()

    def bits(self, value: object) -> int:
        return self.made_of.get(value, 0) if isinstance(value, Tensor) else 0

    def result(self) -> Macs:
        """Return the MACs of all that ran, once it is known which products were summed."""
        charges = list(self.charges)
        for p in self.products:
            charges.append((p.kind, SUMMED, p.values) if p.summed else ("elementwise", p.name, p.values))
        for values, read in self.sums:
            charges.append(("elementwise", "aten::sum", max(values - sum(p.values for p in read if p.summed), 0)))
        return gathered(charges, self.unknown, traced=False)


class _Operators(TorchDispatchMode):
    """Adds the cost of every operator to a ledger."""

    def __init__(self, ledger: _Ledger) -> None:
        super().__init__()
        self.ledger = ledger

    supports_higher_order_operators = True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if isinstance(func, torch._ops.HigherOrderOperator):
            self.ledger.unknown[f"higher_order::{func.name()}"] += 1
            return func(*args, **kwargs)
        if not _known(func):
            with self:
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        out = func(*args, **kwargs)
        given = [v for v in tree_leaves((args, kwargs)) if isinstance(v, Tensor)]
        made = [v for v in tree_leaves(out) if isinstance(v, Tensor)]
        name = func._schema.name
        _read(self.ledger, "" if self.ledger.silent else name, given, made)
        if made and not self.ledger.silent:
            _charge(self.ledger, func, args, kwargs, out, made)
        _follow(self.ledger, name, given, made)
        return out


class _Functions(TorchFunctionMode):
    """Functions within which operators mean something else than by themselves, and ops that declare their MACs."""

    def __init__(self, ledger: _Ledger) -> None:
        super().__init__()
        self.ledger = ledger

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, ledger = kwargs or {}, self.ledger
        name = func._schema.name if isinstance(func, torch._ops.OpOverload) else ""
        if name in OPS and not ledger.silent:
            with _set(ledger, "silent"):
                out = func(*args, **kwargs)
            values = [v for v in (*args, *kwargs.values()) if isinstance(v, Tensor)]
            others = [v for v in (*args, *kwargs.values()) if not isinstance(v, Tensor)]
            ledger.charges += declared(name, [list(v.shape) for v in (*values, out)], others)
            return out
        if func is nn.functional.rms_norm and not ledger.silent:
            with _set(ledger, "silent"):
                out = func(*args, **kwargs)
            affine = kwargs.get("weight", args[2] if len(args) > 2 else None) is not None
            ledger.charges.append(("norm", "aten::rms_norm", (5 if affine else 4) * out.numel()))
            return out
        flag = "silent" if func in _FREE else "linear" if func is nn.functional.linear else None
        if func in (torch.einsum, torch.functional.einsum):
            flag = "einsum"
        if flag is None:
            return func(*args, **kwargs)
        with _set(ledger, flag):
            return func(*args, **kwargs)


def count(module: nn.Module, inputs: tuple[Tensor, ...]) -> Macs:
    """Run the module once, without autograd, and count the operators that run. The mode is left as it is.

    Compiled parts run as they were written; recurrent layers run step by step, not in one kernel of a vendor.

    Args:
        module: The module.
        inputs: The tensors of the call.

    Raises:
        Exception: Whatever the module raises.
    """
    ledger = _Ledger()
    for value in inputs:
        ledger.made_of[value] = INPUT
    for parameter in module.parameters():
        if isinstance(parameter, Tensor):
            ledger.made_of[parameter] = WEIGHT
    with ExitStack() as stack:
        for manager in (
            torch.no_grad(),
            warnings.catch_warnings(action="ignore"),
            torch.compiler.set_stance("force_eager"),
            torch.backends.mkldnn.flags(enabled=False),
            torch.backends.cudnn.flags(enabled=False),
            _Operators(ledger),
            _Functions(ledger),
        ):
            stack.enter_context(manager)
        module(*inputs)
    return ledger.result()


@contextmanager
def _set(ledger: _Ledger, flag: str) -> Iterator[None]:
    before = getattr(ledger, flag)
    setattr(ledger, flag, True)
    try:
        yield
    finally:
        setattr(ledger, flag, before)


def _known(func: Any) -> bool:
    """Return whether an operator is charged as a whole, and not the operators that torch would take it apart into."""
    name = func._schema.name
    short = name.removeprefix("aten::")
    return (
        func in flop_registry
        or func._overloadpacket in flop_registry
        or name in PRODUCTS
        or short in READS
        or short in NORMS
        or work_of(name) is not None
    )


def _charge(ledger: _Ledger, func: Any, args: Sequence[Any], kwargs: Any, out: Any, made: Sequence[Tensor]) -> None:
    """Add the cost of one operator to the ledger."""
    name, first = func._schema.name, made[0]
    short = name.removeprefix("aten::")
    values = first.numel() if first.dim() else 0
    if (charge := product(func, args, kwargs, out, first)) is not None:
        left, right, macs = charge
        convolution = name in CONVOLUTIONS or short == "conv_tbc"
        default = "conv" if convolution or short.startswith("addmm") or ledger.linear else "gather"
        kind = class_of(default, ledger.bits(left), ledger.bits(right))
        if kind == "gather" and (name.startswith("quantized") or (convolution and slides("convolution", first.shape))):
            kind = "conv"
        ledger.charges.append((kind, name, macs))
    elif ledger.linear and name in ("aten::add", "aten::add_"):
        pass  # the bias of a linear layer, which is in none of its MACs; it is added apart where x is not contiguous
    elif name in ("aten::mul", "aten::mul_") and is_product(args):
        kind = class_of("gather", *map(ledger.bits, args[:2]))
        if ledger.einsum:
            ledger.charges.append((kind, UNSUMMED, values))
            return
        ledger.products.append(_Product(name, kind, values))
        ledger.holds[first] = [ledger.products[-1]]
    elif name == "aten::sum":
        ledger.sums.append((args[0].numel() if args[0].dim() else 0, ledger.holds.get(args[0], [])))
    elif name in ("aten::_embedding_bag", "aten::_embedding_bag_forward_only"):
        weighted = len(args) > 6 and args[6] is not None
        kind = class_of("gather", *map(ledger.bits, (args[0], args[6]))) if weighted else "elementwise"
        ledger.charges.append((kind, name, args[1].numel() * first.shape[1]))
    elif short in READS and not (short.endswith("_aa") and first.numel() < args[0].numel()):
        ledger.charges.append(("gather", name, READS[short](args, out) * values))
    elif short in NORMS:
        ledger.charges.append(("norm", name, norm(short, args) * args[0].numel()))
    elif work := ("movement" if func.is_view else work_of(name)):
        read = next((v.numel() for v in tree_leaves(args) if isinstance(v, Tensor)), 0)
        each = {"elementwise": values, "reduction": read, "softmax": 3 * values, "movement": 0}
        ledger.charges.append(("elementwise", name, each[work]))
    else:
        ledger.unknown[name] += 1


def _read(ledger: _Ledger, name: str, given: Sequence[Tensor], made: Sequence[Tensor]) -> None:
    """Note which products an operator reads: a view hands them on, a sum takes them up, all else uses them singly."""
    held = [one for tensor in given for one in ledger.holds.get(tensor, [])]
    if not held:
        return
    if name.removeprefix("aten::") in VIEWS:
        ledger.holds[made[0]] = [*ledger.holds.get(made[0], []), *held]
        return
    for one in held:
        if name == "aten::sum":
            one.sums += 1
        else:
            one.others += 1


def _follow(ledger: _Ledger, name: str, given: Sequence[Tensor], made: Sequence[Tensor]) -> None:
    """Note what the results of an operator depend on."""
    bits = 0
    if name.removeprefix("aten::") not in VALUELESS:
        for tensor in given:
            bits |= ledger.bits(tensor)
    for tensor in made:
        ledger.made_of[tensor] = ledger.bits(tensor) | bits
        base = tensor._base
        if base is not None and any(tensor is value for value in given):
            ledger.made_of[base] = ledger.bits(base) | bits
