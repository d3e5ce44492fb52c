"""From a name to a card, and from a card to a module. Knows built-in names, entry points and `package.module:Class`.

A package adds upsamplers by an entry point in the group `upbench.upsamplers` whose value is a class or a `Card`.
A class is called as Class(channels, scale, **params), and Class(channels, guide_channels, scale, **params) when its
attribute `guided` is true; its keyword parameters are the params of the spec. `scales` ("any", "integer", "2") may
narrow the scales it takes.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upbench import source_files
from upbench.cards import Card, Param, Setting, builtin
from upbench.errors import SpecError, UpbenchError, unknown

if TYPE_CHECKING:
    from torch import nn

GROUP = "upbench.upsamplers"


@cache
def plugins() -> dict[str, EntryPoint]:
    """Entry points of other packages by name, not yet loaded."""
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
    """Every registered name: built-in ones, then those of entry points."""
    return [*builtin(), *plugins()]


def get(name: str) -> Card:
    """The card of a registered name or of `package.module:Class`.

    Raises UnknownName with the nearest known name, or UpbenchError when the class cannot be loaded.
    """
    if name in builtin():
        return builtin()[name]
    if name in plugins():
        point = plugins()[name]
        try:
            return _card(name, point.load(), f"entry point {point.value}")
        except (ImportError, AttributeError) as error:
            raise UpbenchError(
                f"upsampler {name!r}: its entry point {point.value} cannot be loaded ({error})"
            ) from None
    if ":" in name:
        return _card(name, _load(name), f"class {name}")
    raise unknown("upsampler", name, names())


def sources(name: str) -> dict[str, str] | None:
    """Return the hashes of the source files of a user's upsampler, see `source_files.of_loaded`.

    Args:
        name: as for `get`, whose errors this raises too.

    Returns:
        The hashes by path; None for a built-in upsampler, whose code the version of the measurement stands for.
    """
    if name in builtin():
        return None
    modules = [get(name).module.partition(":")[0], name.partition(":")[0]]
    if name in plugins():
        modules.append(plugins()[name].module)
    found: dict[str, str] = {}
    for module in modules:
        if module.partition(".")[0] != "upbench":
            found |= source_files.of_loaded(module)
    return found


def _load(path: str) -> Any:
    """The object at `package.module:Class`; the current folder is searched as well, as `python -m` does."""
    module_name, _, attribute = path.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:
        raise UpbenchError(
            f"upsampler {path!r}: module {module_name!r} cannot be imported ({error}); write package.module:Class, "
            f"importable from the current folder or the environment"
        ) from None
    source_files.of_loaded(module.__name__)  # now, since this is the code that runs from here on
    if not hasattr(module, attribute):
        classes = [n for n, v in vars(module).items() if inspect.isclass(v) and v.__module__ == module.__name__]
        raise unknown(f"class in {module_name}", attribute, classes)
    return getattr(module, attribute)


def _card(name: str, thing: Any, origin: str) -> Card:
    """The card of a loaded class, made from its signature; a Card is taken as it is, under `name`."""
    from dataclasses import replace

    if isinstance(thing, Card):
        return replace(thing, name=name, origin=origin)
    if not inspect.isclass(thing) or not hasattr(thing, "forward"):
        raise UpbenchError(f"upsampler {name!r}: {origin} is not a class derived from torch.nn.Module")
    guided = bool(getattr(thing, "guided", False))
    leading = ("channels", "guide_channels", "scale") if guided else ("channels", "scale")
    signature = [p for p in inspect.signature(thing.__init__).parameters.values() if p.name != "self"]
    given = tuple(p.name for p in signature[: len(leading)])
    if given != leading:
        raise UpbenchError(
            f"upsampler {name!r}: {origin} must take ({', '.join(leading)}, ...) as its first arguments, not "
            f"({', '.join(given)}); wrap it in a class that does"
        )
    params = tuple(
        Param(
            p.name,
            None if p.default is p.empty else p.default,
            "",
            kind=object if p.default in (None, p.empty) else None,
        )
        for p in signature[len(leading) :]
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    )
    doc = (inspect.getdoc(thing) or "").split("\n")[0]
    return Card(
        name=name,
        module=f"{thing.__module__}:{thing.__qualname__}",
        summary=doc,
        paper=None,
        params=params,
        guided=guided,
        scales=getattr(thing, "scales", "any"),
        fused=bool(getattr(thing, "fused_ops", ())),
        origin=origin,
    )


def build(
    name: str,
    channels: int,
    scale: float = 2,
    guide_channels: int | None = None,
    seed: int | None = None,
    backend: str = "auto",
    **params: Any,
) -> nn.Module:
    """Build an upsampler: `build("ldaaqu", channels=256, scale=2, theta=11)`.

    name: a registered name or "package.module:Class". guide_channels: default, channels. seed: of the
    initialisation; None leaves torch's generator as it is. backend: auto, eager or fused. Raises SpecError with every mistake, or UnknownName.
    """
    card = get(name)
    setting = setting_of(card, channels, guide_channels, scale, params)
    mistakes = card.mistakes(setting)
    if backend not in ("auto", "eager", "fused"):
        mistakes.append(f"backend is {backend!r}, but must be auto, eager or fused")
    elif backend == "fused" and not card.fused:
        mistakes.append(f"backend is fused, but {name} has no fused backend; use auto or eager")
    if mistakes:
        raise SpecError(mistakes)
    return construct(card, setting, seed, backend)


def setting_of(
    card: Card, channels: int, guide_channels: int | None, scale: float, params: Mapping[str, Any]
) -> Setting:
    """A setting with the card's defaults filled in. Whole scales become int."""
    whole = int(scale) if scale == int(scale) else scale
    return Setting(channels, guide_channels or channels, whole, {**card.defaults(), **params})


def construct(card: Card, setting: Setting, seed: int | None = None, backend: str = "auto") -> nn.Module:
    """The module of a setting that was judged already. seed, backend: as in `build`."""
    import torch

    module_name, _, attribute = card.module.partition(":")
    target: Any = importlib.import_module(module_name)
    for part in attribute.split("."):
        target = getattr(target, part)
    leading = (setting.channels, setting.guide_channels) if card.guided else (setting.channels,)
    arguments = {**card.fixed, **setting.params}
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        module = target(*leading, setting.scale, **arguments)
    if card.fused:
        module.backend = backend
    return module
