"""From upsampler arguments and --set values to specs, not yet validated."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
import yaml

from upbench.errors import SpecError, UpbenchError, known_names

if TYPE_CHECKING:
    from upbench.specs.run_spec import RunSpec

SOURCE = "command line"


def assignments(texts: Sequence[str] | None, option: str = "--set") -> dict[str, Any]:
    """Read KEY=VALUE texts, whose values are YAML.

    Args:
        texts: The texts.
        option: Where they were given, for messages.

    Raises:
        SpecError: With a sentence for each text that is not KEY=VALUE, or whose key was given before.
    """
    found, mistakes = {}, []
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not text.strip() and len(texts or ()) > 1:
            mistakes.append(
                f"{option}: a parameter is empty, as between two commas or after the last; leave one comma out"
            )
            continue
        if not equals or not key.strip() or not value.strip():
            example = f"{key.strip() or 'theta'}=VALUE"
            join = " " if option.startswith("--") else ":"
            mistakes.append(f"{option}{join}{text}: `{text}` is not KEY=VALUE; write {option}{join}{example}")
            continue
        if key.strip() in found:
            mistakes.append(f"{option}: {key.strip()} is given twice; leave one out, or make it an axis of a sweep")
        try:
            found[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            mistakes.append(f"{option} {text}: {value!r} is not a YAML value")
    if mistakes:
        raise SpecError(mistakes)
    return found


def is_file(item: str) -> bool:
    """Return whether an upsampler argument is the name of a spec file."""
    return item.endswith((".yaml", ".yml")) or Path(item).is_file()


def draft(item: str, given: Mapping[str, Any], params: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Make the spec of one upsampler argument, not yet validated.

    Args:
        item: NAME, NAME:KEY=VALUE,... or FILE.
        given: Options that are keys of a spec, which override the file.
        params: Values of --set.

    Returns:
        The spec as written, and its source for messages.

    Raises:
        SpecError: If the file is no spec, or a part of it is no mapping.
    """
    from upbench import registry
    from upbench.specs import yaml_file
    from upbench.sweeping import axes
    from upbench.sweeping.expand import FORMS

    source: str = SOURCE
    if is_file(item):
        data, source = yaml_file.read(Path(item))
        if any(form in data for form in FORMS):
            raise SpecError([f"{item}: is a sweep; run it with `upbench sweep {item}`"])
        if "stages" in data and "upsampler" not in data:
            raise SpecError([f"{item}: is a host; name upsamplers, as `upbench compare carafe fade --host {item}`"])
        yaml_file.typed(source, (".".join(filter(None, axes.place(key))) for key in given))
        yaml_file.typed(source, (f"params.{key}" for key in params))
    elif item not in registry.names() and Path(item).is_dir():
        raise SpecError([f"{item}: is a folder; name an upsampler, or a spec file in it"])
    else:
        name, own = _inline(item)
        data = {"upsampler": name, "params": own}
    for key in ("input", "measure", "params"):
        if key in data and data[key] is None:
            data[key] = {}
        if key in data and not isinstance(data[key], dict):
            raise SpecError(
                [yaml_file.told(source, f"{key} is {data[key]!r}, but must be a mapping of keys to values")]
            )
    for key, value in given.items():
        axes.set_value(data, key, value)
    if "shape" in given and (sizes := axes.give_way(data, given)):
        typer.echo(f"upbench: {source}: {' and '.join(sizes)} give way to those of --shape {given['shape']}", err=True)
    if params:
        data["params"] = {**(data.get("params") or {}), **params}
    return data, source


def check_guide_size(given: Mapping[str, Any], specs: Sequence[RunSpec]) -> None:
    """Raise SpecError where --guide-size is given and no image guides any of some upsamplers."""
    size = given.get("guide_size")
    if size is not None and specs and all(spec.card.guide_kind != "image" for spec in specs):
        names = ", ".join(dict.fromkeys(spec.upsampler for spec in specs))
        raise SpecError(
            [
                f"--guide-size {size} is the size of an image that guides, and none guides {names}: a guide of features has the output's; leave it out"
            ]
        )


def _inline(item: str) -> tuple[str, dict[str, Any]]:
    """Split "ldaaqu:theta=5,groups=4" or "package.module:Class:kernel=5" into name and params."""
    from upbench import registry

    first, *rest = item.split(":")
    name, comma, params = item.partition(",")
    if comma and "=" in params and "=" not in name and not (rest and first in registry.names()):
        raise SpecError([f"{item}: the parameters of an upsampler follow a colon; write {name}:{params}"])
    _check_written(item)
    of_name = rest and (first in registry.names() or "=" in rest[0])
    name, tail = (first, rest) if of_name else (":".join([first, *rest[:1]]), rest[1:])
    if not tail:
        return name, {}
    if len(tail) > 1 and all(re.match(r"\w+=", part) for part in tail):
        raise SpecError([f"{item}: parameters are separated by commas; write {name}:{','.join(tail)}"])
    return name, assignments(_pieces(":".join(tail)), name)


def _check_written(item: str) -> None:
    """Raise SpecError for names with commas between them, and for a label as tables have it."""
    from upbench import registry

    if label := re.fullmatch(r"(\S+?) ?\((\w+=.*)\)", item):
        raise SpecError([f"{item}: write {label[1]}:{label[2].replace(', ', ',')}"])
    first, *more = item.split(",")
    if more and first and "=" not in item and all(not one or ":" in one or one in registry.names() for one in more):
        raise SpecError([f"{item}: separate names by spaces: {' '.join(filter(None, [first, *more]))}"])


def _pieces(text: str) -> list[str]:
    """Split a list at its commas, except inside brackets: "a=[1,2],b=3" becomes "a=[1,2]" and "b=3"."""
    pieces, depth = [""], 0
    for letter in text:
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and depth <= 0:
            pieces.append("")
        else:
            pieces[-1] += letter
    return pieces


def shared_params(params: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """Distribute --set values over upsamplers: `theta=5` to all that have theta, `ldaaqu.theta=5` to that one.

    Args:
        params: The values of --set.
        names: Names of the upsamplers.

    Returns:
        The params of each upsampler.

    Raises:
        SpecError: If none of them has a parameter.
    """
    from upbench import registry

    known: list[list[str]] = []
    for name in names:
        try:
            known.append([p.name for p in registry.get(name).params])
        except UpbenchError:  # reported where the spec is judged
            known.append([])
    taken: list[dict[str, Any]] = [{} for _ in names]
    mistakes = []
    for key, value in params.items():
        target, _, param = key.rpartition(".")
        hits = [n for n, name in enumerate(names) if (name == target if target else param in known[n])]
        if not hits:
            everything = sorted({p for ps in known for p in ps})
            mistakes.append(f"--set {key}: none of {', '.join(names)} has it; {known_names(param, everything)}")
        for n in hits:
            taken[n][param] = value
    if mistakes:
        raise SpecError(mistakes)
    return taken
