"""The card of a user's own class, read from the signature of its constructor."""

from __future__ import annotations

import enum
import functools
import inspect
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from upbench.cards.card import Card, Guide, Param
from upbench.errors import UpbenchError

SCALES = ("any", "integer", "2")
_LONGEST = 200
_PLAIN = {"int": int, "float": float, "bool": bool, "str": str}
_REPEATED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def from_class(name: str, thing: Any, origin: str, path: str, fused_ops: Sequence[str] = ()) -> Card:
    """The card of a class that is called as Class(channels, scale, ...), with `guided` true (channels, guide_channels, scale, ...).

    Args:
        name: the name in specs.
        thing: the class.
        origin: where it comes from, for messages.
        path: "package.module:Class", under which it is imported again.
        fused_ops: those of the built-in class that it is derived from, where it names none itself.

    Raises:
        UpbenchError: when it is no class of torch's modules, or its constructor takes other first arguments.
    """
    if sentence := _no_module_class(thing):
        what = origin if inspect.isclass(thing) else origin.removeprefix("class ")
        raise UpbenchError(f"upsampler {name!r}: {what} {sentence}")
    guides = _guides(thing)
    leading = ("channels", "guide_channels", "scale") if guides else ("channels", "scale")
    try:
        signature = _parameters(thing)
    except (ValueError, TypeError) as error:
        raise UpbenchError(
            f"upsampler {name!r}: the arguments of {origin} cannot be read ({error}); write a class with "
            f"__init__(self, {', '.join(leading)}, ...) that builds it"
        ) from None
    first, rest = signature[: len(leading)], signature[len(leading) :]
    if tuple(p.name for p in first) != leading or any(p.kind in _REPEATED for p in first):
        raise UpbenchError(
            f"upsampler {name!r}: {origin} must take ({', '.join(leading)}, ...) as its first arguments, not "
            f"({', '.join(map(_shown, first))}); rename them, or wrap it in a class that does"
        )
    if sentence := _wrong_forward(thing, len(guides)):
        raise UpbenchError(f"upsampler {name!r}: {origin} {sentence}")
    scales = str(getattr(thing, "scales", "any"))
    if scales not in SCALES:
        raise UpbenchError(
            f"upsampler {name!r}: scales of {origin} is {scales!r}, but must be one of {', '.join(SCALES)}"
        )
    return Card(
        name=name,
        module=path,
        summary=_own_doc(thing).split("\n")[0],
        paper=None,
        params=tuple(_param(p) for p in rest if p.kind not in _REPEATED),
        guides=guides,
        scales=scales,
        any_size=bool(getattr(thing, "any_size", False)),
        fused_ops=tuple(getattr(thing, "fused_ops", ()) or fused_ops),
        origin=origin,
        by_keyword=any(p.kind is inspect.Parameter.KEYWORD_ONLY for p in first),
        more_keywords=any(p.kind.name == "VAR_KEYWORD" for p in inspect.signature(thing).parameters.values()),
    )


def _own_doc(thing: Any) -> str:
    """Return what its author wrote of a class or function: not what nn.Module or object say of themselves."""
    if not inspect.isclass(thing):
        return inspect.getdoc(thing) or ""
    own = (c for c in thing.__mro__ if c.__module__.partition(".")[0] not in ("torch", "builtins"))
    return next((inspect.cleandoc(doc) for c in own if (doc := vars(c).get("__doc__"))), "")


def _guides(thing: Any) -> tuple[Guide, ...]:
    """The guides of a class: of the kinds that it names, `guided = True` being one feature."""
    kinds = tuple(getattr(thing, "guide_kinds", ())) or (("feature",) if getattr(thing, "guided", False) else ())
    return tuple(Guide(kind, 3 if kind == "image" else None, any_size=kind == "image") for kind in kinds)


def _no_module_class(thing: Any) -> str | None:
    """Why something is no class derived from torch.nn.Module, or None when it is one."""
    torch = sys.modules.get("torch")  # whoever defines a module has imported it
    base = torch.nn.Module if torch is not None else None
    if inspect.isclass(thing):
        if not hasattr(thing, "forward"):
            return "is not a class derived from torch.nn.Module"
        return None if not inspect.isabstract(thing) else "is an abstract class; give one that can be built"
    fix = "write a class whose __init__ builds what it returns"
    if base is not None and isinstance(thing, base):
        kind = f"an object of the class {type(thing).__qualname__}"
        fix = "give the class, and its arguments with --set"
    elif isinstance(thing, functools.partial):
        kind = f"a functools.partial of {_name_of(thing.func)}"
        fix = f"give {_name_of(thing.func)}, and the arguments with --set"
    else:
        kind = "a function" if inspect.isroutine(thing) else f"of the type {type(thing).__qualname__}"
    return f"is {kind}; it is not a class derived from torch.nn.Module: {fix}"


def _wrong_forward(thing: type, guides: int) -> str | None:
    """Why a class cannot be called as an upsampler is, going by the arguments of its forward; None where it can."""
    try:
        arguments = [*inspect.signature(thing.forward).parameters.values()][1:]  # type: ignore[attr-defined]
    except (ValueError, TypeError):
        return None
    given = ("x", "guide", "second_guide")[: 1 + guides]
    single = [p for p in arguments if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in arguments if p.default is p.empty and p.kind not in _REPEATED]
    # A list that follows the arguments is of more maps; as *args it only passes on what a wrapper is given.
    more = [p for p in arguments if p.kind is p.VAR_POSITIONAL and p.name != "args" and not p.name.startswith("_")]
    several = bool(more) and len(single) >= len(given)
    too_few = len(single) < len(given) and not any(p.kind is p.VAR_POSITIONAL for p in arguments)
    elsewhere = (
        bool(guides) and any(p.name == "guide" for p in arguments) and "guide" not in [p.name for p in single[:2]]
    )
    if len(required) <= len(given) and not (several or too_few or elsewhere):
        return None
    if too_few or elsewhere:
        return (
            f"takes ({', '.join(map(_shown, arguments))}) in its forward, but an upsampler is called as "
            f"module({', '.join(given)}), by position; wrap it in a class whose forward takes ({', '.join(given)})"
        )
    fix = f"wrap it in a class whose forward takes ({', '.join(given)})"
    if len(required) == 2 and not guides and not more:
        fix = "where the second is the high-resolution guide, write guided = True into the class and let its constructor begin with (channels, guide_channels, scale); else wrap it"
    return (
        f"takes ({', '.join(map(_shown, arguments))}) in its forward, but an upsampler is called with "
        f"{' and '.join(given)} alone; {fix}"
    )


def _parameters(thing: type) -> list[inspect.Parameter]:
    """The arguments of a constructor, with those that **kwargs pass to the constructors of its base classes."""
    found = list(inspect.signature(thing).parameters.values())
    owners = [
        base for base in thing.__mro__ if "__init__" in vars(base) and base.__module__.partition(".")[0] != "torch"
    ]
    for base in owners[1:]:
        if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in found):
            break
        inherited = [*inspect.signature(base.__init__).parameters.values()][1:]  # type: ignore[misc]
        names = {p.name for p in found}
        if names and all(p.kind in _REPEATED for p in found):
            found = inherited  # __init__(self, *args, **kwargs) passes everything on
            continue
        more = [p for p in inherited if p.name not in names and p.kind is not inspect.Parameter.VAR_POSITIONAL]
        found = [p for p in found if p.kind is not inspect.Parameter.VAR_KEYWORD]
        found += [p if p.kind in _REPEATED else p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in more]
    return found


def _shown(parameter: inspect.Parameter) -> str:
    mark = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}.get(parameter.kind.name, "")
    return mark + parameter.name


def _param(parameter: inspect.Parameter) -> Param:
    required = parameter.default is parameter.empty
    default = None if required else parameter.default
    written = _written(default)
    return Param(
        parameter.name,
        written.value,
        "",
        kind=written.kind or _kind(default, parameter.annotation, required),
        required=required,
        positional=parameter.kind is inspect.Parameter.POSITIONAL_ONLY,
        settable=written.settable,
        own=() if written.exact else (parameter.default,),
    )


def _kind(default: Any, annotation: Any, required: bool) -> type | None:
    """The type that values must have; None is that of the default, object any."""
    text = annotation.strip() if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    named = _PLAIN.get(text)
    if required:
        return named or object
    if default is None:
        return object
    if annotation is not inspect.Parameter.empty and re.search(r"\||Optional|Union|Any\b", str(annotation)):
        return object
    return float if type(default) is int and named is float else None


class _Written:
    """A default as a spec holds it.

    value: the same, or what stands for it. exact: whether the value is the default itself. settable: whether a spec may
    give another value. kind: the type of other values, None where the value tells it.
    """

    def __init__(self, value: Any, exact: bool = True, settable: bool = True, kind: type | None = None) -> None:
        self.value, self.exact, self.settable, self.kind = value, exact, settable, kind


def _written(default: Any) -> _Written:
    """How a default is written down where only what YAML and JSON have can stand."""
    if _is_plain(default):
        return _Written(default)
    if type(default) is float:
        return _Written(str(default), exact=False, kind=float)
    if type(default).__module__ == "numpy" and getattr(default, "ndim", None) == 0 and _is_plain(default.item()):
        return _Written(default.item(), exact=False)
    if isinstance(default, tuple) and type(default) is tuple and _is_plain(as_lists(default)):
        return _Written(as_lists(default), exact=False, kind=list)
    return _Written(described(default), exact=False, settable=False)


def as_lists(value: Any) -> Any:
    """Make lists of tuples, at every depth."""
    return [as_lists(item) for item in value] if isinstance(value, tuple | list) else value


def _is_plain(value: Any) -> bool:
    """Whether YAML and JSON give a value back as it is."""
    if value is None or type(value) in (bool, int, str):
        return True
    if type(value) is float:
        return math.isfinite(value)
    if type(value) is list:
        return all(map(_is_plain, value))
    return type(value) is dict and all(type(k) is str and _is_plain(v) for k, v in value.items())


def described(value: Any, depth: int = 0) -> str:
    """Write a value as text that is the same in every process: "torch.nn.modules.activation.ReLU" for a class."""
    text = re.sub(r"\s+", " ", "".join(_described(value, depth)))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _described(value: Any, depth: int) -> Iterator[str]:
    kind = type(value)
    if depth > 4:
        yield "..."
    elif isinstance(value, enum.Enum):
        yield f"{_name_of(kind)}.{value.name}"
    elif isinstance(value, functools.partial):
        parts = [*value.args, *(f"{k}={described(v, depth + 1)}" for k, v in value.keywords.items())]
        inside = ", ".join(p if isinstance(p, str) else described(p, depth + 1) for p in parts)
        yield f"functools.partial({', '.join(filter(None, (_name_of(value.func), inside)))})"
    elif inspect.isclass(value) or inspect.isroutine(value):
        yield _name_of(value)
    elif isinstance(value, PurePath):
        yield str(value)
    elif kind.__module__.partition(".")[0] == "torch" and hasattr(value, "shape"):
        yield f"{_name_of(kind)}{list(value.shape)}"
    elif isinstance(value, Mapping):
        yield "{" + ", ".join(f"{described(k, depth + 1)}: {described(v, depth + 1)}" for k, v in value.items()) + "}"
    elif isinstance(value, set | frozenset):
        yield "{" + ", ".join(sorted(described(item, depth + 1) for item in value)) + "}"
    elif isinstance(value, list | tuple):
        ends = "[]" if isinstance(value, list) else "()"
        yield ends[0] + ", ".join(described(item, depth + 1) for item in value) + ends[1]
    else:
        yield _repr(value)


def _repr(value: Any) -> str:
    """What an object says of itself, without its address in memory."""
    try:
        return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
    except Exception:  # noqa: BLE001 - a user's class may raise anything
        return _name_of(type(value))


def _name_of(thing: Any) -> str:
    """'module.qualname' of a class or function."""
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if name is None:
        return _repr(thing)
    return name if module in (None, "builtins") else f"{module}.{name}"
