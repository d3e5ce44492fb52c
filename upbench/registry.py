"""From a name to a card, and from a card to a module. Knows built-in names, entry points and `package.module:Class`.

A package adds upsamplers by an entry point in the group `upbench.upsamplers` whose value is a class or a `Card`.
A class is called as Class(channels, scale, **params), and Class(channels, guide_channels, scale, **params) when its
attribute `guided` is true; its keyword parameters are the params of the spec. `scales` ("any", "integer", "2") may
narrow the scales it takes, `guide_kinds` ("feature", "image" or "hidden", one a guide) says what guides it, and
`any_size` that it takes `size=` for an output of any size.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from math import isfinite
from numbers import Integral, Real
from types import ModuleType
from typing import TYPE_CHECKING, Any

from upbench import backends
from upbench.cards import Card, Setting, builtin, from_class
from upbench.errors import SpecError, UnknownName, UpbenchError, first_line, unknown
from upbench.user_code import isolation, modules, source_files

if TYPE_CHECKING:
    from torch import nn

GROUP = "upbench.upsamplers"


@cache
def plugins() -> dict[str, EntryPoint]:
    """Return the entry points of other packages by name, not yet loaded. Raises UpbenchError where a name is taken twice."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        taken = builtin().get(point.name) or found.get(point.name)
        if taken is not None:
            other = taken.module if isinstance(taken, Card) else taken.value
            raise UpbenchError(
                f"two upsamplers claim the name {point.name!r}: {other} and {point.value}; uninstall or rename one"
            )
        found[point.name] = point
    return found


def names() -> list[str]:
    """Return every registered name: built-in ones, then those of entry points."""
    return [*builtin(), *plugins()]


def get(name: str) -> Card:
    """Return the card of an upsampler.

    Args:
        name: A registered name, or "package.module:Class".

    Raises:
        UnknownName: If the name is not registered; names the nearest one.
        UpbenchError: If the class cannot be loaded.
    """
    if name in builtin():
        return builtin()[name]
    if name in plugins():
        point = plugins()[name]
        try:
            _import_apart(point.module)
            thing = point.load()
        except (Exception, SystemExit) as error:
            raise UpbenchError(
                f"upsampler {name!r}: its entry point {point.value} cannot be loaded ({first_line(error)})"
            ) from error
        return _card(name, thing, f"entry point {point.value}", point.value)
    if ":" in name:
        # A class is none of ours, whatever its module is called; what begins small may be a setting, as in ldaqu:theta.
        others = [] if name.rpartition(":")[2][:1].isupper() else names()
        thing = modules.load("upsampler", name, importer=_import_user_module, others=others)
        return _card(name, thing, f"class {name}", name)
    if sentence := modules.spelling(name):
        raise UnknownName(f"unknown upsampler {name!r}; {sentence}")
    raise UnknownName(f"{unknown('upsampler', name, names())}. A class of your own is written package.module:Class")


def sources(name: str) -> dict[str, str] | None:
    """Return the hashes of the source files of a user's upsampler, see `source_files.of_loaded`.

    Args:
        name: as for `get`, whose errors this raises too.

    Returns:
        The hashes by path; None for a built-in upsampler, whose code the version of the measurement stands for.
    """
    if name in builtin():
        return None
    own = [get(name).module.partition(":")[0], name.partition(":")[0]]
    if name in plugins():
        own.append(plugins()[name].module)
    found: dict[str, str] = {}
    for module in own:
        if module.partition(".")[0] != "upbench":
            found |= source_files.of_loaded(module)
    return found


def _import_apart(name: str) -> ModuleType:
    """A module of a user's, imported so that what it prints and sets while it is stays apart from upbench."""
    if name in sys.modules:
        return importlib.import_module(name)
    with isolation.isolated() as changed:
        module = importlib.import_module(name)
    _changed[name] = changed
    return module


_changed: dict[str, list[str]] = {}


def changed_by_import(card: Card) -> list[str]:
    """Return the settings of the process that importing a user's upsampler changed; they were restored."""
    return _changed.get(card.module.partition(":")[0], [])


def _import_user_module(name: str) -> ModuleType:
    """A module of a user's; its files are hashed now, since this is the code that runs from here on."""
    module = _import_apart(name)
    source_files.of_loaded(module.__name__)
    return module


def _card(name: str, thing: Any, origin: str, path: str) -> Card:
    """The card of a loaded class, made from its signature; a Card is taken as it is, under `name`."""
    from dataclasses import replace

    if isinstance(thing, Card):
        return replace(thing, name=name, origin=origin)
    return from_class(name, thing, origin, _home(thing, path), _inherited_ops(thing))


def _inherited_ops(thing: Any) -> tuple[str, ...]:
    """The fused ops of the built-in upsampler that a class is derived from, which a card knows and the class does not."""
    bases = {f"{base.__module__}:{base.__qualname__}" for base in getattr(thing, "__mro__", ())}
    return next((card.fused_ops for card in builtin().values() if card.module in bases), ())


def _home(thing: Any, path: str) -> str:
    """Where a class is defined; the path that it was named by, where it cannot be had from there."""
    module, qualname = getattr(thing, "__module__", ""), getattr(thing, "__qualname__", "")
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return f"{module}:{qualname}" if found is thing and found is not None else path


def build(
    name: str,
    channels: int,
    scale: float | None = None,
    guide_channels: int | None = None,
    seed: int | None = None,
    backend: str = "auto",
    output_size: tuple[int, int] | None = None,
    out: str | None = None,
    **params: Any,
) -> nn.Module:
    """Build an upsampler: `build("ldaaqu", channels=256, scale=2, theta=11)`.

    Args:
        name: A registered name, or "package.module:Class".
        channels: Channels C of x [B, C, H, W].
        scale: Output pixels per low-resolution pixel along each side; None for 2, or the only one there is.
        guide_channels: Channels of the guides; None for as many as x has, and 3 of an image.
        seed: Seed of the initialisation; None uses torch's generator as it is.
        backend: "auto", "eager", or the name of a backend.
        output_size: Rows and columns of the output of every call, where they are not scale times those of x; `size=` of
            one call does the same.
        out: "reuse" lets a call in inference write over the result of the call before it in the same thread, so that no
            memory is taken anew: a result holds until the next call. None gives every result memory of its own.
        params: Parameters of the upsampler.

    Returns:
        The module, called as module(x), module(x, guide) or module(x, guide, second_guide).

    Raises:
        SpecError: If values are wrong; holds every mistake.
        UnknownName: If the name is not registered.
    """
    card = get(name)
    if mistakes := _number_mistakes(channels, guide_channels, scale, output_size):
        raise SpecError(mistakes)
    setting = setting_of(card, channels, guide_channels, scale, params, output=output_size)
    mistakes = card.mistakes(setting)
    if mistake := backends.mistake(backend, name, card.fused_ops):
        mistakes.append(f"backend {mistake}")
    if out not in (None, "reuse"):
        mistakes.append(
            f'out is {out!r}, but must be "reuse" or left out; a tensor is given to a call: module(x, out=tensor)'
        )
    if mistakes:
        raise SpecError(mistakes)
    module = construct(card, setting, seed, backend)
    if out is not None:
        reuse_output(module, name)
    return module


def _number_mistakes(channels: Any, guide_channels: Any, scale: Any, output_size: Any) -> list[str]:
    """Return a sentence for each size that is no number of its kind; what a method makes of numbers is its card's."""
    found = [
        f"{name} is {value!r}, but must be a whole number of at least 1, as {name}=256"
        for name, value in (("channels", channels), ("guide_channels", guide_channels))
        if not (_is_whole(value) or (name == "guide_channels" and value is None))
    ]
    if scale is not None and not (isinstance(scale, Real) and not isinstance(scale, bool) and isfinite(scale)):
        found.append(f"scale is {scale!r}, but must be a number of at least 1, as scale=2, or left out")
    sizes = output_size if isinstance(output_size, Sequence) and not isinstance(output_size, str) else ()
    if output_size is not None and not (len(sizes) == 2 and all(map(_is_whole, sizes))):
        found.append(
            f"output_size is {output_size!r}, but must be rows and columns, as output_size=(64, 48), or left out"
        )
    return found


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


def reuse_output(module: nn.Module, name: str) -> None:
    """Let an upsampler write over its last result, as `build(out="reuse")` does. Needs torch.

    Args:
        module: The upsampler, or a module around one.
        name: Its name, for the message.

    Raises:
        SpecError: If it is a class of the user's own that is not derived from those of upbench.
    """
    found: Any = next((layer for layer in module.modules() if hasattr(layer, "reuses_output")), None)
    if found is None:
        raise SpecError([f"out is reuse, but {name} is no upsampler of upbench's own, which alone can; leave it out"])
    found.reuses_output = True


def setting_of(
    card: Card,
    channels: int,
    guide_channels: int | None,
    scale: float | None,
    params: Mapping[str, Any],
    output: tuple[int, int] | None = None,
) -> Setting:
    """Return a setting with the card's defaults filled in; whole scales become int."""
    scale = card.default_scale if scale is None else scale
    whole = int(scale) if scale == int(scale) else scale
    guide = guide_channels or card.default_guide_channels(channels)
    return Setting(channels, guide, whole, {**card.defaults(), **params}, output=output)


def construct(card: Card, setting: Setting, seed: int | None = None, backend: str = "auto") -> nn.Module:
    """Build the module of a setting that was validated before.

    Args:
        card: The card of the upsampler.
        setting: Channels, scale and params.
        seed: Seed of the initialisation; None uses torch's generator as it is.
        backend: "auto", "eager", or the name of a backend.
    """
    import torch

    module_name, _, attribute = card.module.partition(":")
    target: Any = importlib.import_module(module_name)
    for part in attribute.split("."):
        target = getattr(target, part)
    sizes = {"guide_channels": setting.guide_channels} if card.guided else {}
    leading = {"channels": setting.channels, **sizes, "scale": setting.scale}
    named = {param.name: param for param in card.params}
    given = {k: named[k].argument(v) if k in named else v for k, v in setting.params.items()}
    positional = [] if card.by_keyword else list(leading.values())
    positional += [given.pop(param.name) for param in card.params if param.positional]
    arguments = {**(leading if card.by_keyword else {}), **card.fixed, **given}
    with torch.random.fork_rng(devices=[], enabled=seed is not None), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Initializing zero-element tensors")  # what fails then is said
        if seed is not None:
            isolation.seed_torch(seed)
        module = target(*positional, **arguments)
    if not isinstance(module, torch.nn.Module):
        raise UpbenchError(f"upsampler {card.name!r}: {card.origin} is not a class derived from torch.nn.Module")
    if card.fused_ops:
        if backend in backends.MODULES:
            _has_its_ops(card, backend)
        module.fused_ops = card.fused_ops  # type: ignore[assignment]
        module.backend = backend  # type: ignore[assignment]
    if setting.output is not None:
        module.output_size = setting.output  # type: ignore[assignment]
    return module


def _has_its_ops(card: Card, backend: str) -> None:
    """Raise SpecError unless a backend computes at least one op of an upsampler. Needs torch."""
    from upbench.ops import load

    if not set(card.fused_ops) & set(load(backend).ops):
        mistake = backends.mistake(backend, card.name, ())
        raise SpecError([f"backend {mistake}"])
