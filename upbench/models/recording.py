"""One forward of a model, watched: every upsampling call with its owner, and where its tensor came from."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from upbench.models import calls, rebinding
from upbench.models.site import GuideSource, Site, judge, whole_scale

_COLOURS = 4
"""Channels of an image at most; inputs with more are features."""
_FEW = 16
"""Tensors of a forward's arguments that are looked at as guides."""


@dataclass(eq=False)
class Frame:
    """The forward of one module while it runs."""

    owner: type[nn.Module]
    name: str
    arguments: list[tuple[str, Tensor]]
    outputs: list[tuple[str, int, Tensor]] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    made: int = 0


@dataclass(eq=False)
class _Call:
    """An upsampling call as it was seen."""

    frame: Frame
    number: int
    op: str
    mode: str | None
    align_corners: bool | None
    given: tuple[int, ...]
    made: tuple[int, ...]
    flags: frozenset[str]
    guides: tuple[GuideSource, ...]
    by_name: bool


class _Watch(TorchFunctionMode):
    """Notes upsampling calls, and follows where tensors come from and where results go."""

    def __init__(self, stack: list[Frame], images: Sequence[Tensor]) -> None:
        super().__init__()
        self.stack = stack
        self.calls: list[_Call] = []
        self.numbers: Counter[str] = Counter()
        self.flags: Any = WeakTensorKeyDictionary()
        self.followed: set[str] = set()
        for image in images:
            self.flags[image] = frozenset({"image"})

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        op = calls.op_of(func)
        x = calls.map_of(args, kwargs) if op else None
        # What is at hand is noted before the call: a result of it is no guide.
        known = self._flags_of([x]) if isinstance(x, Tensor) else frozenset()
        out = func(*args, **kwargs)
        made = list(tensors((out,)))
        if op and isinstance(x, Tensor) and isinstance(out, Tensor) and self.stack:
            by_name = rebinding.is_by_name(self.stack[-1].owner, sys._getframe())
            self._note(op, x, out, args, kwargs, known, by_name)
        given = [tensor for _, tensor in named_tensors((args, kwargs))]
        flags = self._passed_on(func, given)
        for tensor in made:
            kept = flags if _same_size(tensor, given, self.flags) else flags - {"pooled"}
            if op and isinstance(x, Tensor):
                kept |= {f"site {len(self.calls) - 1}"}
            self.flags[tensor] = kept
        return out

    def _flags_of(self, given: Sequence[Tensor]) -> frozenset[str]:
        found: frozenset[str] = frozenset()
        for tensor in given:
            found |= self.flags.get(tensor, frozenset())
            if isinstance(tensor, nn.Parameter):
                found |= {"parameters"}
        return found

    def _passed_on(self, func: Any, given: Sequence[Tensor]) -> frozenset[str]:
        """Return the flags that the results of a function get from what it was given."""
        found = self._flags_of(given)
        learned = any(isinstance(tensor, nn.Parameter) for tensor in given)
        table = bool(given) and all("parameters" in self._flags_of([tensor]) for tensor in given)
        if learned:  # a layer: what it makes is a feature, and what went in is no prediction any more
            self.followed |= found
            found = frozenset(flag for flag in found if flag == "pooled")
        found = found | {"parameters"} if table else found - {"parameters"}
        return found | {"pooled"} if func in calls.POOLING else found

    def _note(
        self,
        op: str,
        x: Tensor,
        out: Tensor,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        flags: frozenset[str],
        by_name: bool,
    ) -> None:
        frame = self.stack[-1]
        mode, corners = calls.interpolation(args, kwargs) if op == "interpolate" else (None, None)
        number = self.numbers[frame.name]
        self.numbers[frame.name] += 1
        frame.made += 1
        shapes, guides = (tuple(x.shape), tuple(out.shape)), _guides(frame, x, out)
        self.calls.append(_Call(frame, number, op, mode, corners, *shapes, flags, guides, by_name))


def _same_size(tensor: Tensor, given: Sequence[Tensor], flags: Any) -> bool:
    """Whether a result still has the height and width of a pooled map that it was made of."""
    pooled = [t for t in given if "pooled" in flags.get(t, ())]
    return not pooled or any(t.shape[-2:] == tensor.shape[-2:] for t in pooled)


def _guides(frame: Frame, x: Tensor, out: Tensor) -> tuple[GuideSource, ...]:
    """Return the maps of the output's size that the owner was given, or that its children have made before."""

    def fits(tensor: Tensor) -> bool:
        return (
            tensor.dim() == 4
            and out.dim() == 4
            and tensor.is_floating_point()
            and tensor.shape[-2:] == out.shape[-2:]
            and tensor.shape[-2:] != x.shape[-2:]
            and tensor.shape[0] == x.shape[0]
        )

    found = [GuideSource("argument", name, 0, t.shape[1]) for name, t in frame.arguments if fits(t)]
    found += [GuideSource("child", name, call, t.shape[1]) for name, call, t in frame.outputs if fits(t)]
    return tuple(found)


def named_tensors(value: Any, name: str = "", depth: int = 4) -> Iterator[tuple[str, Tensor]]:
    """Give every tensor in nested lists, tuples, mappings and objects with fields, with its path.

    Args:
        value: What is searched.
        name: Path of the value.
        depth: How deep nested values are searched.
    """
    if isinstance(value, Tensor):
        yield name, value
        return
    if depth == 0:
        return
    parts: list[tuple[str, Any]] = []
    if isinstance(value, Mapping):
        parts = [(str(key), part) for key, part in value.items()]
    elif isinstance(value, list | tuple):
        parts = [(str(n), part) for n, part in enumerate(value)]
    elif isinstance(getattr(value, "tensors", None), Tensor):
        parts = [("tensors", value.tensors)]
    for key, part in parts:
        yield from named_tensors(part, f"{name}.{key}" if name else key, depth - 1)


def tensors(value: Any) -> Iterator[Tensor]:
    """Give every tensor in nested lists, tuples and mappings."""
    for _, tensor in named_tensors(value, depth=6):
        yield tensor


@contextmanager
def _hooked(model: nn.Module, stack: list[Frame]) -> Iterator[None]:
    """Keep on a stack which module's forward runs, with what it was given and what its children made."""
    names = {module: name for name, module in model.named_modules()}

    def enter(module: nn.Module, args: Any, kwargs: Any) -> None:
        given = [*named_tensors(args), *named_tensors(kwargs)]
        stack.append(Frame(type(module), names[module], given[:_FEW]))

    def leave(module: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
        ended = stack.pop()
        if stack and isinstance(out, Tensor):
            above = stack[-1]
            name = ended.name.removeprefix(f"{above.name}.") if above.name else ended.name
            above.outputs.append((name, above.seen[name], out))
            above.seen[name] += 1

    handles = []
    for module in names:
        handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
        handles.append(module.register_forward_hook(leave, with_kwargs=True, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def record(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Site]:
    """Run a model once in evaluation mode and return its upsampling calls, in the order in which they were made.

    The model's mode of training and torch's random state are left as they were.

    Args:
        model: The model.
        args: Its positional inputs.
        kwargs: Its keyword inputs.

    Raises:
        Exception: Whatever the model raises.
    """
    training = [module for module in model.modules() if module.training]
    given = [t for t in (*tensors(args), *tensors(kwargs)) if t.is_floating_point()]
    images = [t for t in given if t.dim() in (3, 4) and t.shape[-3] <= _COLOURS]
    stack: list[Frame] = []
    watch = _Watch(stack, images)
    model.eval()
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), _hooked(model, stack), watch:
            out = model(*args, **kwargs)
    finally:
        for module in training:
            module.training = True
    last = frozenset(flag for tensor in tensors((out,)) for flag in watch.flags.get(tensor, ()))
    # What no learned layer reads is a prediction, also where it leaves the model as keypoints, or not at all.
    ends = [f"site {n}" in last or f"site {n}" not in watch.followed for n in range(len(watch.calls))]
    return [_site(call, end) for call, end in zip(watch.calls, ends, strict=True)]


def _site(call: _Call, predicts: bool) -> Site:
    kind, why_not = judge(call.op, call.given, call.made, call.flags, predicts)
    scale = None
    if len(call.given) == len(call.made) == 4 and call.given[1] == call.made[1]:
        scale = whole_scale(call.given[2:], call.made[2:])
    return Site(
        call.frame.name,
        call.number,
        call.frame.made,
        call.op,
        call.mode,
        call.align_corners,
        call.given,
        call.made,
        kind,
        scale,
        call.guides,
        why_not,
        call.by_name,
    )
