"""A model whose upsampling calls are answered by other modules.

Every module that makes upsampling calls becomes a subclass of its own class, which answers the calls that were replaced:
where its code makes them by a global name, copies of its functions with another one; else the function mode of torch.
Names, weights, `isinstance`, copies and pickles are those of any module.
"""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from upbench.errors import InputError
from upbench.models import calls, rebinding
from upbench.models.recording import named_tensors
from upbench.models.site import Site

STATE = "_upsampling"
"""Attribute of a module that takes part: its `State`."""


@dataclass(eq=False)
class State:
    """What a module of the model does when it runs.

    Args:
        name: Its qualified name.
        root: Whether it is the model itself, whose forward starts the numbering of calls.
        owner: Whether it makes upsampling calls.
        by_name: Whether copies of its functions answer them, see `rebinding`; else a mode does.
        source: Name under which its output is kept as a guide for the owner that runs; "" for none.
        sites: All upsampling calls that it makes, by number.
        answers: Number of a call -> the module that answers it.
    """

    name: str
    root: bool = False
    owner: bool = False
    by_name: bool = False
    source: str = ""
    sites: dict[int, Site] = field(default_factory=dict)
    answers: dict[int, nn.Module] = field(default_factory=dict)


@dataclass(eq=False)
class _Run:
    """One forward of the model: how many calls each owner has made."""

    calls: dict[str, int] = field(default_factory=dict)


@dataclass(eq=False)
class _Frame:
    """One forward of an owner."""

    state: State
    args: Any
    kwargs: Any
    run: _Run | None
    made: int = 0
    outputs: dict[tuple[str, int], Tensor] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)


class _Local(threading.local):
    def __init__(self) -> None:
        self.frames: list[_Frame] = []
        self.runs: list[_Run] = []
        self.answered: Counter[str] | None = None
        self.seconds: Counter[str] | None = None


_LOCAL = _Local()


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count, by name of the site, the calls that are answered inside the block, in this thread."""
    before = _LOCAL.answered
    _LOCAL.answered = Counter()
    try:
        yield _LOCAL.answered
    finally:
        _LOCAL.answered = before


def clock() -> float:
    """Return seconds: of this thread's processor time where torch computes in one thread, else of wall time."""
    return time.thread_time() if torch.get_num_threads() == 1 else time.perf_counter()


@contextmanager
def timed() -> Iterator[Counter[str]]:
    """Add up, by name of the site, the seconds that answered calls take inside the block, in this thread, by `clock`."""
    before = _LOCAL.seconds
    _LOCAL.seconds = Counter()
    try:
        yield _LOCAL.seconds
    finally:
        _LOCAL.seconds = before


class _Answers(TorchFunctionMode):
    """Answers the upsampling calls that an owner itself makes; those inside its children are theirs."""

    def __init__(self, frame: _Frame) -> None:
        super().__init__()
        self.frame = frame

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        op = calls.op_of(func)
        if op is None or _LOCAL.frames[-1] is not self.frame:
            return func(*args) if kwargs is None else func(*args, **kwargs)
        return _answered(self.frame, op, func, args, kwargs or {})


def _by_name(func: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that copied code calls in the place of one that upsamples."""
    op = calls.NAMED[func]

    @functools.wraps(func)
    def answered(*args: Any, **kwargs: Any) -> Any:
        if not _LOCAL.frames:
            raise InputError(
                f"{func.__name__} was called outside a forward of the replaced module that calls it, as a checkpoint of an "
                "inner function does; let the module itself be called, or checkpoint the module"
            )
        frame = _LOCAL.frames[-1]
        return _answered(frame, op, func, args, kwargs) if frame.state.by_name else func(*args, **kwargs)

    return answered


def _answered(frame: _Frame, op: str, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Return what the call returns, or what the module returns that stands in its place."""
    x = calls.map_of(args, kwargs)
    site = _site_of(frame, x)
    module = None if site is None else frame.state.answers.get(site.call)
    if site is None or module is None:
        return func(*args, **kwargs)
    if _LOCAL.answered is not None:
        _LOCAL.answered[site.name] += 1
    start = clock() if _LOCAL.seconds is not None else 0.0
    if isinstance(module, Repeat):
        out = func(*args, **kwargs)
    else:
        out = _answer(site, module, frame, x, calls.target_size(op, x, args, kwargs))
    if _LOCAL.seconds is not None:
        _LOCAL.seconds[site.name] += clock() - start  # type: ignore[assignment]
    return out


def _site_of(frame: _Frame, x: Tensor) -> Site | None:
    """Return the site of the next call of an owner; None for a call that was not there when the sites were listed.

    Inside a forward of the model calls are numbered through. Outside of one, as when a checkpoint runs a block again in
    backward, the shape of the map says which call it is.
    """
    state, within = frame.state, frame.made
    frame.made += 1
    if frame.run is not None:
        number = frame.run.calls.get(state.name, 0)
        frame.run.calls[state.name] = number + 1
        return state.sites.get(number)
    fits = [
        site
        for site in state.sites.values()
        if site.call % site.per_forward == within % site.per_forward and site.channels == x.shape[1]
    ]
    if len({id(state.answers.get(site.call)) for site in fits}) > 1:
        fits = [site for site in fits if tuple(site.input[2:]) == tuple(x.shape[2:])]
    if len({id(state.answers.get(site.call)) for site in fits}) > 1:
        names = ", ".join(site.name for site in fits)
        raise InputError(
            f"{state.name or 'the model'} was called outside a forward of the model, and its call on {tuple(x.shape)} may be "
            f"any of {names}; call the whole model, without checkpointing this part"
        )
    return fits[0] if fits else None


def _answer(site: Site, module: nn.Module, frame: _Frame, x: Tensor, size: tuple[Any, Any]) -> Tensor:
    """Return what an upsampler makes of the map, of the size that the call was to return."""
    out: Tensor
    scale: Any = getattr(module, "scale", site.scale)
    guides = () if not getattr(module, "guided", False) else (_guide(site, frame),)
    # Sizes that an export keeps open are not compared: the program would hold for sizes alone that compare so.
    is_open = any(isinstance(n, torch.SymInt) for n in (*size, *x.shape))
    if not is_open and size == (x.shape[2] * scale, x.shape[3] * scale):
        out = module(x, *guides)
    elif hasattr(module, "takes_size"):
        takes_size: Callable[..., bool] = module.takes_size  # type: ignore[assignment]
        if not is_open and not takes_size(x, size):
            _check_size(site, x, size, scale)
        out = module(x, *guides, size=size)
    else:
        if not is_open:
            _check_size(site, x, size, scale)
        out = module(x, *guides)[:, :, : size[0], : size[1]]
    return out


def _check_size(site: Site, x: Tensor, size: tuple[int, int], scale: int) -> None:
    if any(abs(-(-t // scale) - n) > 1 for n, t in zip(x.shape[2:], size, strict=True)):
        raise InputError(
            f"{site.name}: the upsampler there was built for scale {scale}, but is to make {size[0]}x{size[1]} of "
            f"{x.shape[2]}x{x.shape[3]}; replace with inputs of the size that the model will have"
        )


def _guide(site: Site, frame: _Frame) -> Tensor:
    """Return the guide of a site in the forward that runs."""
    source = site.guide
    assert source is not None, "a guided upsampler is built only where there is a guide"
    if source.origin == "child":
        found = frame.outputs.get((source.name, source.call))
    else:
        found = dict([*named_tensors(frame.args), *named_tensors(frame.kwargs)]).get(source.name)
    if found is None:
        raise InputError(f"{site.name}: its guide, {source}, is missing in this forward; replace again on such inputs")
    return found


class Repeat(nn.Module):
    """Stands at a site whose call is left as it is: what replacing costs by itself is measured with it."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the map itself; the call it stands for is made in its place."""
        return x


_SUBCLASSES: dict[tuple[type[nn.Module], bool], type[nn.Module]] = {}


def subclass(cls: type[nn.Module], by_name: bool = False) -> type[nn.Module]:
    """Return the subclass of a module's class that takes part in answering; it has the same name, and there is one.

    Args:
        cls: The class.
        by_name: Whether copies of its functions answer its calls, see `rebinding`.
    """
    key = cls, by_name
    if key not in _SUBCLASSES:
        _SUBCLASSES[key] = _made(cls, by_name)
    return _SUBCLASSES[key]


def _made(cls: type[nn.Module], by_name: bool) -> type[nn.Module]:
    copied = rebinding.copies(cls, _by_name) if by_name else {}
    body: Any = copied.get("forward", cls.forward)

    @functools.wraps(cls.forward)
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        state: State = self.__dict__[STATE]
        if state.owner and not state.by_name and "torch._dynamo" in sys.modules:
            out = _uncompiled()(state, body, self, args, kwargs)
        else:
            out = _run(state, body, self, args, kwargs)
        if state.source and _LOCAL.frames and isinstance(out, Tensor):
            above = _LOCAL.frames[-1]
            number = above.seen.get(state.source, 0)
            above.outputs[state.source, number] = out
            above.seen[state.source] = number + 1
        return out

    def reduce(self: nn.Module, protocol: Any) -> Any:
        return _empty, (cls, by_name), self.__dict__

    names = {
        **copied,
        "forward": forward,
        "__reduce_ex__": reduce,
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
    }
    return type(cls.__name__, (cls,), {**names, "__doc__": cls.__doc__, "replaces": cls})


def _empty(cls: type[nn.Module], by_name: bool = False) -> nn.Module:
    """Return an instance without state, for copies and pickles."""
    made = subclass(cls, by_name)
    return made.__new__(made)


def _run(state: State, body: Any, module: nn.Module, args: Any, kwargs: Any) -> Any:
    """Run the forward of a module's class, and answer its calls."""
    if not (state.root or state.owner):
        return body(module, *args, **kwargs)
    if state.root:
        _LOCAL.runs.append(_Run())
    try:
        if not state.owner:
            return body(module, *args, **kwargs)
        frame = _Frame(state, args, kwargs, _LOCAL.runs[-1] if _LOCAL.runs else None)
        _LOCAL.frames.append(frame)
        try:
            if state.by_name or not state.answers:
                return body(module, *args, **kwargs)
            with _Answers(frame):
                return body(module, *args, **kwargs)
        finally:
            _LOCAL.frames.pop()
    finally:
        if state.root:
            _LOCAL.runs.pop()


@functools.cache
def _uncompiled() -> Callable[..., Any]:
    """Return `_run` as torch.compile leaves it alone, with all that it calls: it does not trace the mode."""
    return torch.compiler.disable(_run)  # type: ignore[no-any-return, no-untyped-call]


class Upsamplers(nn.ModuleDict):
    """The upsamplers of a model, by site. Weights of the model from before it had them leave them as they are."""

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        if not any(key.startswith(prefix) for key in state_dict):
            state_dict.update({prefix + key: value for key, value in self.state_dict().items()})
        super()._load_from_state_dict(state_dict, prefix, *rest)
