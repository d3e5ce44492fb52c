"""Other upsamplers in a model: which sites are meant, what is built there, and the way back."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from upbench import registry
from upbench.errors import SpecError, UpbenchError, first_line, no_module
from upbench.models import answering, recording
from upbench.models.answering import STATE, Repeat, State, Upsamplers
from upbench.models.site import BY_NAME, Site

ATTRIBUTE = "upsamplers"
"""Attribute of a replaced model that holds its upsamplers."""
SITES = "_upsampling_sites"
FEW = 4
"""Calls that a sentence lists."""
REPEAT = "repeat"
"""Name of the replacement that repeats each site's own call."""


def key_of(site: Site) -> str:
    """Return the name of a site in `model.upsamplers`, where a dot cannot stand."""
    return site.name.replace(".", "/")


def chosen(sites: Sequence[Site], where: str | Sequence[str] | None) -> list[Site]:
    """Return the sites that a pattern means.

    Args:
        sites: All sites.
        where: Names of sites, or patterns as "decoder.*"; None for all feature maps. A pattern means feature maps alone; a
            prediction, a pooled map or a layer that is learned already has to be named.

    Raises:
        SpecError: If a pattern means nothing, or a named site cannot be replaced.
    """
    if where is None and not sites:
        raise SpecError(
            ["the model makes no upsampling call (F.interpolate, pixel shuffle, transposed convolution, unpooling)"]
        )
    said = "" if where is None else "where: "
    patterns = ["*"] if where is None else [where] if isinstance(where, str) else list(where)
    meant: dict[str, Site] = {}
    mistakes = []
    for pattern in patterns:
        exact = [site for site in sites if pattern in (site.name, site.module) or f"{pattern}:0" == site.name]
        named = [site for site in exact if site.name in (pattern, f"{pattern}:0")]
        hits = exact or [site for site in sites if fnmatch.fnmatchcase(site.name, pattern)]
        good = [s for s in hits if s.learnable or (s in named and _when_named(s))]
        if not hits:
            known = ", ".join(site.name for site in sites) or "none"
            mistakes.append(f"where: {pattern!r} matches no upsampling call; this model makes: {known}")
        elif not good:
            wrong = [f"{said}{site.name} cannot be replaced: {site.why_not}{_all_the_same(site)}" for site in hits]
            mistakes += [*wrong[:-1], wrong[-1] + _elsewhere(sites, hits)]
        meant.update({site.name: site for site in good})
    if mistakes:
        raise SpecError(mistakes)
    return [site for site in sites if site.name in meant]


def _all_the_same(site: Site) -> str:
    """Return how a site is replaced that is only where it is named itself; empty where it never is."""
    return f"; --where {site.name} (where={site.name!r}) replaces it all the same" if _when_named(site) else ""


def _elsewhere(sites: Sequence[Site], hits: Sequence[Site]) -> str:
    """Return which other call can be replaced, or what lists all, where none of those that were meant can be."""
    others = [site.name for site in sites if site not in hits and (site.learnable or _when_named(site))]
    if others:
        return f"; {' and '.join(others)} can be: --where {others[0]} (where={others[0]!r})"
    return "" if any(map(_when_named, hits)) else "; `upbench sites` lists every call of the model"


def _when_named(site: Site) -> bool:
    return site.kind in BY_NAME and site.scale is not None


def replace(
    model: nn.Module,
    upsampler: str | Callable[[Site], nn.Module],
    where: str | Sequence[str] | None = None,
    *,
    inputs: Any = (),
    sites: Sequence[Site] | None = None,
    start: str = "released",
    seed: int | None = 0,
    backend: str = "auto",
    **params: Any,
) -> nn.Module:
    """Replace upsampling calls of a model by upsamplers: `replace(model, "dysample", where="decoder.*", inputs=x)`.

    The model is changed in place and returned: an instance of a subclass of its own class, with its weights and buffers
    under their names, and the new modules in `model.upsamplers`. `restore` takes it back.

    Args:
        model: Any module; it is run once on the inputs where `sites` is not given.
        upsampler: Registered name, "package.module:Class", "repeat" (each call as it is), or a function that makes a module
            for a site.
        where: Names of sites, or patterns as "decoder.*"; None for all feature maps.
        inputs: What the model is called with: a tensor, a tuple of positional or a mapping of keyword inputs.
        sites: What `recording.record` returned for this model.
        start: "released" initialises as the method's authors do; "original" lets the first output equal the old one, for
            methods that can do it.
        seed: Seed of the initialisation, each site has its own; None uses torch's generator.
        backend: Backend of the upsamplers' ops.
        params: Parameters of the upsampler.

    Returns:
        The model.

    Raises:
        SpecError: With every mistake, if sites or values are wrong. The model is unchanged then.
    """
    check_module(model)
    if is_replaced(model):
        raise SpecError(["the model's upsampling was replaced before; call upbench.restore(model) first"])
    if hasattr(model, ATTRIBUTE):
        raise SpecError(
            [f"{type(model).__name__} has an attribute {ATTRIBUTE!r} of its own, where upsamplers would stand"]
        )
    listed = list(sites) if sites is not None else list_sites(model, *arguments(inputs))
    meant = chosen(listed, where)
    if not meant:
        raise SpecError([f"{type(model).__name__} makes no upsampling call on a feature map"])
    made = _build(meant, upsampler, start, seed, backend, params)
    _place(model, listed, made)
    return model


def list_sites(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Site]:
    """Return the upsampling calls of one forward of a model; of a replaced model those that were listed then.

    Args:
        model: The model.
        args: Its positional inputs.
        kwargs: Its keyword inputs.

    Raises:
        SpecError: If there are no inputs.
        UpbenchError: If the model fails on them.
    """
    check_module(model)
    if is_replaced(model):
        return list(model.__dict__[SITES])
    if not args and not kwargs:
        example = "upbench.sites(model, torch.rand(1, 3, 64, 64))"
        raise SpecError([f"the upsampling calls of a model are seen while it runs; give its inputs, as {example}"])
    try:
        return recording.record(model, args, kwargs)
    except UpbenchError:
        raise
    except Exception as error:  # whatever a model raises
        raise UpbenchError(f"{type(model).__name__} failed on these inputs: {first_line(error)}") from error


def arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return positional and keyword arguments of inputs: a mapping is keyword inputs, a tuple positional ones."""
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    return (inputs if isinstance(inputs, tuple) else (inputs,)), {}


def check_module(model: object) -> None:
    """Raise SpecError unless a model is a module."""
    if not isinstance(model, nn.Module):
        raise no_module("model", model)


def is_replaced(model: nn.Module) -> bool:
    """Return whether the model's upsampling has been replaced."""
    return SITES in model.__dict__


def load_upsamplers(model: nn.Module, state: Mapping[str, Any]) -> str | None:
    """Load the weights of the upsamplers of a replaced model, all of them or none.

    Args:
        model: The model.
        state: Weights by their keys in `model.upsamplers`; empty for none.

    Returns:
        Why they are not those of its upsamplers; None where they were loaded, or there are none.
    """
    if not state:
        return None
    holder = model.get_submodule(ATTRIBUTE)
    own = {key: value.shape for key, value in holder.state_dict().items()}
    given = {key: getattr(value, "shape", None) for key, value in state.items()}
    if own == given:
        holder.load_state_dict(state)
        return None
    wrong = [key for key in (*own, *(key for key in given if key not in own)) if own.get(key) != given.get(key)]
    sites = [", ".join(sorted({key.partition(".")[0].replace("/", ".") for key in keys})) for keys in (given, own)]
    at = f"; they are of {sites[0]}, and replaced were {sites[1]}, see --where" if sites[0] != sites[1] else ""
    return f"{len(wrong)} weights differ in name or shape ({ATTRIBUTE}.{wrong[0]}){at}"


def restore(model: nn.Module) -> nn.Module:
    """Give a replaced model back its own upsampling calls; its upsamplers and their weights are dropped.

    Args:
        model: What `replace` returned, or a copy of it.

    Returns:
        The model, of its own class.

    Raises:
        SpecError: If it was not replaced.
    """
    check_module(model)
    if not is_replaced(model):
        raise SpecError(["the model's upsampling was not replaced; there is nothing to restore"])
    for module in model.modules():
        if STATE in module.__dict__:
            del module.__dict__[STATE]
            module.__class__ = type(module).replaces  # type: ignore[attr-defined]
    delattr(model, ATTRIBUTE)
    del model.__dict__[SITES]
    return model


def _build(
    sites: Sequence[Site],
    upsampler: str | Callable[[Site], nn.Module],
    start: str,
    seed: int | None,
    backend: str,
    params: Mapping[str, Any],
) -> dict[str, nn.Module]:
    """Return the module of every site, by its name. Raises SpecError with all mistakes."""
    if start not in ("released", "original"):
        raise SpecError([f"start: {start!r} is unknown; give released or original"])
    made: dict[str, nn.Module] = {}
    mistakes: dict[str, list[str]] = {}
    for n, site in enumerate(sites):
        try:
            if not isinstance(upsampler, str):
                made[site.name] = upsampler(site)
            elif upsampler == REPEAT:
                made[site.name] = Repeat()
            else:
                own = None if seed is None else seed + n
                made[site.name] = _built(site, upsampler, start, own, backend, params)
        except SpecError as error:
            for mistake in error.mistakes:
                mistakes.setdefault(mistake, []).append(site.name)
    if mistakes:
        fits = _fitting(made)
        raise SpecError([f"{text} (at {', '.join(names)}){fits}" for text, names in mistakes.items()])
    return made


def _fitting(made: Mapping[str, nn.Module]) -> str:
    """How the calls are meant alone for which nothing was wrong, where they are few."""
    if not 0 < len(made) <= FEW:
        return ""
    where = repr(next(iter(made))) if len(made) == 1 else repr(list(made))
    return f", or give {' '.join(f'--where {name}' for name in made)} (where={where}), which it fits"


def _built(site: Site, name: str, start: str, seed: int | None, backend: str, params: Mapping[str, Any]) -> nn.Module:
    card = registry.get(name)
    guide = None
    if card.guided:
        if [each.kind for each in card.guides] != ["feature"]:
            raise SpecError([f"{name} takes guides of another kind than features of the model; it cannot stand there"])
        if (source := site.guide) is None:
            raise SpecError([f"{name} needs a guide: {_no_guide(site)}"])
        guide = source.channels
    scale = site.scale
    if scale is None:
        raise SpecError([f"no whole scale leads from {site.input[2:]} to {site.output[2:]}"])
    module = registry.build(name, site.channels, scale, guide, seed, backend, **params)
    if start == "original":
        begin = getattr(module, "start_as_bilinear", None)
        if begin is None or (site.mode, bool(site.align_corners)) != ("bilinear", False):
            raise SpecError([f"start=original: {name} cannot begin as {site.text}; leave it out"])
        begin()
    return module


def _no_guide(site: Site) -> str:
    if not site.guides:
        return "no tensor of the output's size is at hand there"
    return f"{len(site.guides)} tensors of the output's size are at hand there, and none is the only one: " + ", ".join(
        map(str, site.guides)
    )


def _place(model: nn.Module, sites: Sequence[Site], made: Mapping[str, nn.Module]) -> None:
    """Put the modules into the model, on its device and in its dtype, and let its modules take part."""
    names = dict(model.named_modules())
    states: dict[str, State] = {"": State("", root=True)}
    holder = Upsamplers()
    for site in sites:
        state = states.setdefault(site.module, State(site.module))
        state.by_name = site.by_name and (state.by_name or not state.owner)
        state.owner = True
        state.sites[site.call] = site
        module = made.get(site.name)
        if module is None:
            continue
        state.answers[site.call] = holder[key_of(site)] = _like(module, names[site.module], model)
        source = site.guide
        if getattr(module, "guided", False) and source is not None and source.origin == "child":
            child = f"{site.module}.{source.name}" if site.module else source.name
            states.setdefault(child, State(child)).source = source.name
    setattr(model, ATTRIBUTE, holder.train(model.training))
    model.__dict__[SITES] = tuple(sites)
    for name, state in states.items():
        module = names[name]
        module.__dict__[STATE] = state
        module.__class__ = answering.subclass(type(module), state.by_name)


def _like(module: nn.Module, owner: nn.Module, model: nn.Module) -> nn.Module:
    """Return a module on the device and in the floating dtype of its owner's weights, or the model's."""
    for holder in (owner, model):
        for weight in holder.parameters():
            if weight.is_floating_point():
                return module.to(device=weight.device, dtype=weight.dtype)
    return module.to(torch.get_default_dtype())
