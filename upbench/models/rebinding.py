"""Upsampling calls that the code of a module's class makes by a global name, as `F.interpolate`, bound to other functions.

The functions of the class are copied with another global name in that place: nothing else that they do is slower, and
torch.compile traces them whole. What is called another way is left to a mode of torch functions, see `answering`.
"""

from __future__ import annotations

import dis
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from upbench.models import calls

MARK = " with its upsampling replaced"
"""What a global name has after it where it stands for the copy; no name of a program can end so."""
_BETWEEN = ("torch.overrides", "torch.nn.functional")
"""Modules whose frames stand between a call and the mode that sees it."""
_WRITES = ("STORE_GLOBAL", "DELETE_GLOBAL")


def is_by_name(cls: type[nn.Module], frame: FrameType | None) -> bool:
    """Return whether a call that a mode sees is made by a global name in a function of a class that can be copied.

    Args:
        cls: Class of the module whose forward runs.
        frame: The frame of the mode's `__torch_function__`.
    """
    frame = frame and frame.f_back
    while frame is not None and frame.f_globals.get("__name__") in _BETWEEN:
        frame = frame.f_back
    if frame is None:
        return False
    code = frame.f_code
    function = next((each for each in _functions(cls).values() if code in _codes(each.__code__)), None)
    steps = list(dis.get_instructions(code))
    made = next((step for step in reversed(steps) if step.offset <= frame.f_lasti), None)
    if function is None or made is None or made.positions is None or made.positions.lineno is None:
        return False
    # The text of a call begins with that of what is called: `F` in `F.interpolate(x)`.
    begin = made.positions.lineno, made.positions.col_offset
    starts = [
        n for n, at in enumerate(steps) if at.positions and (at.positions.lineno, at.positions.col_offset) == begin
    ]
    first = next((n for n in starts if steps[n].opname == "LOAD_GLOBAL"), None)
    if first is None or steps[first].argval not in _names(function):
        return False
    value: Any = frame.f_globals[steps[first].argval]
    for step in steps[first + 1 :]:
        if step.opname not in ("LOAD_ATTR", "LOAD_METHOD"):
            break
        value = getattr(value, step.argval, None)
    return _is_any(value, _FUNCTIONS)


def copies(cls: type[nn.Module], answered: Callable[[Any], Callable[..., Any]]) -> dict[str, FunctionType]:
    """Return copies of the functions of a class that make upsampling calls by a global name.

    Args:
        cls: The class.
        answered: Makes, of a function of torch, the one that is called in its place.

    Returns:
        Name of the function in the class -> its copy.
    """
    return {name: _copy(function, answered) for name, function in _functions(cls).items()}


def _functions(cls: type[nn.Module]) -> dict[str, FunctionType]:
    """Return the functions that an instance has of its classes, and that name upsampling and write no globals."""
    found: dict[str, FunctionType] = {}
    seen: set[str] = set()
    for each in cls.__mro__:
        if each in (nn.Module, object):
            break
        for name, value in vars(each).items():
            if name not in seen and isinstance(value, FunctionType) and _names(value):
                found[name] = value
            seen.add(name)
    return found


def _names(function: FunctionType) -> set[str]:
    """Return the global names by which a function may make upsampling calls; none where one is an attribute's as well."""
    roots: set[str] = set()
    others: set[str] = set()
    for code in _codes(function.__code__):
        for step in dis.get_instructions(code):
            if step.opname in _WRITES:
                return set()
            if step.opname == "LOAD_GLOBAL":
                roots.add(step.argval)
            elif step.opcode in dis.hasname:
                others.add(step.argval)
    values = {root: function.__globals__.get(root) for root in roots}
    meant = {root for root, value in values.items() if _is_any(value, (*_MODULES, *_FUNCTIONS))}
    calls_one = others & _OPS or any(_is_any(value, _FUNCTIONS) for value in values.values())
    return meant - others if calls_one else set()


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Give a code and those of the comprehensions and functions in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _is_any(value: Any, known: Sequence[Any]) -> bool:
    """Return whether a value is one of these objects."""
    return any(value is each for each in known)


def _copy(function: FunctionType, answered: Callable[[Any], Callable[..., Any]]) -> FunctionType:
    names = _names(function)
    space = function.__globals__
    for name in names:
        if name + MARK not in space:
            space[name + MARK] = _stand_in(space[name], answered)
    made = FunctionType(
        _renamed(function.__code__, {name: name + MARK for name in names}),
        space,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    made.__kwdefaults__ = function.__kwdefaults__
    made.__dict__.update(function.__dict__)
    made.__doc__, made.__qualname__, made.__annotations__ = (
        function.__doc__,
        function.__qualname__,
        function.__annotations__,
    )
    return made


def _renamed(code: CodeType, names: Mapping[str, str]) -> CodeType:
    """Return a code that reads other globals."""
    return code.replace(
        co_names=tuple(names.get(name, name) for name in code.co_names),
        co_consts=tuple(_renamed(each, names) if isinstance(each, CodeType) else each for each in code.co_consts),
    )


_STAND_INS: dict[int, Any] = {}


def _stand_in(value: Any, answered: Callable[[Any], Callable[..., Any]]) -> Any:
    """Return what stands for a function or a module of torch in copied functions; there is one of each."""
    if id(value) not in _STAND_INS:
        if not isinstance(value, ModuleType):
            _STAND_INS[id(value)] = answered(value)
        else:
            space = _STAND_INS[id(value)] = ModuleType(value.__name__, value.__doc__)
            space.__dict__.update(value.__dict__)
            parts = {n: part for n, part in vars(value).items() if _is_any(part, (*_MODULES, *_FUNCTIONS))}
            space.__dict__.update({name: _stand_in(part, answered) for name, part in parts.items()})
    return _STAND_INS[id(value)]


_MODULES = (torch, nn, F)
_FUNCTIONS = tuple(calls.NAMED)
_OPS = {function.__name__ for function in _FUNCTIONS}
