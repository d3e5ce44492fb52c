"""Host models: where in a detector, segmenter or matting network upsampling happens, and at which sizes.

A host is a list of stages. The size of a stage is that of the input, padded to a multiple of `divisor`, over the
stride of the stage, rounded up: what convolutions, poolings and patch embeddings of stride 2 leave in every backbone
of `hosts.yaml`. The result of a stage is cropped to the level below, ceil(input * scale / stride), as a feature
pyramid does. A stage without stride (a region of interest) has the same size at every input.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

from upbench.errors import SpecError, UpbenchError, suggestion, unknown
from upbench.papers._host import Base, BaseFigure, Host, HostInput, Stage, Variant, low_pixels, resized
from upbench.papers._host_file import HostDraft, HostFile, build_host
from upbench.specs import yaml_file
from upbench.specs.strict import load

__all__ = [
    "Base",
    "BaseFigure",
    "Host",
    "HostInput",
    "Stage",
    "Variant",
    "aliases",
    "at",
    "host",
    "hosts",
    "read_host",
    "varied",
]


@cache
def _all() -> tuple[dict[str, Host], dict[str, Host]]:
    """The hosts, and those that are one of them with another backbone."""
    with as_file(files("upbench.papers").joinpath("hosts.yaml")) as path:
        data = load(HostFile, yaml_file.read(path)[0], "papers/hosts.yaml")
    by_name, by_alias = {}, {}
    for name, draft in data.hosts.items():
        by_name[name] = build_host(draft, name, f"papers/hosts.yaml: {name}")
        for alias, alias_draft in draft.aliases.items():
            variants = {n: v.model_copy(update={"base": Base()}) for n, v in by_name[name].variants.items()}
            change = {"name": alias, "backbone": alias_draft.backbone, "base": alias_draft.base, "variants": variants}
            by_alias[alias] = by_name[name].model_copy(update=change)
    return by_name, by_alias


def hosts() -> dict[str, Host]:
    """Return every host by name, without those that differ from one of them in the backbone alone."""
    return dict(_all()[0])


def aliases() -> dict[str, Host]:
    """Return the hosts that differ from one of `hosts` in the backbone alone, by name."""
    return dict(_all()[1])


def host(name: str | Path) -> Host:
    """Return a host. A variant stands in for its host.

    Args:
        name: The name of a host, 'name/variant', or a YAML file.

    Raises:
        UnknownName: There is no such host; the error names the nearest.
        SpecError: The file has mistakes; the error lists all of them.
    """
    text = str(name)
    if text.endswith((".yaml", ".yml")) or Path(text).is_file():
        return read_host(Path(text))
    by_name, by_alias = _all()
    known = {**by_name, **by_alias}
    if text in known:
        return known[text]
    head, slash, variant = text.partition("/")
    if slash and head in known:
        if variant in known[head].variants:
            return varied(known[head], variant)
        raise unknown(f"variant of {head}", variant, known[head].variants)
    close = suggestion(text, known)
    raise unknown("host", text, known) if close else _no_host(text, known)


def _no_host(name: str, known: dict[str, Host]) -> UpbenchError:
    error = unknown("host", name, known)
    return type(error)(f"{error}; a host of your own is a file, as my.yaml")


def varied(host: Host, variant: str) -> Host:
    """Return the host with the input and stages of one of its variants, named 'host/variant'."""
    alternative = host.variants[variant]
    notes = tuple(
        text
        for text in (alternative.why, alternative.note, alternative.replaces and f"replaces {alternative.replaces}")
        if text
    )
    change = {"name": f"{host.name}/{variant}", "base": alternative.base, "notes": notes, "variants": {}}
    same = ("input", "stages", "lr_pixels", "fits")
    return host.model_copy(update={**change, **{key: getattr(alternative, key) for key in same}})


def read_host(path: Path) -> Host:
    """Return the host in a YAML file of stages.

    Raises:
        SpecError: The file has mistakes; the error lists all of them together.
    """
    data, source = yaml_file.read(path, "a host")
    draft = load(HostDraft, data, source)
    return build_host(draft, draft.name or path.stem, source)


def at(host: Host, height: int, width: int) -> Host:
    """Return the host at another input size: its stages recomputed from their strides, its base FLOPs unknown.

    Args:
        host: The host.
        height: The height of the image in pixels.
        width: The width of the image in pixels.

    Raises:
        SpecError: No stage of the host has a stride.
    """
    if all(stage.stride is None for stage in host.stages):
        raise SpecError(
            [
                f"host {host.name}: none of its stages has a stride, so that they cannot be recomputed for another "
                f"input; give each stage its stride, or leave --input out"
            ]
        )
    divisor = host.input.divisor if host.input else 1
    size = HostInput(height=height, width=width, divisor=divisor)
    stages = tuple(resized(stage, size) for stage in host.stages)
    same = host.input is not None and host.input.padded == size.padded
    base = host.base if same else host.base.model_copy(update={"flops": BaseFigure()})
    change = {"input": size, "stages": stages, "lr_pixels": low_pixels(stages), "base": base, "variants": {}}
    return host.model_copy(update=change if same else {**change, "fits": None})
