"""Option groups: dataclasses whose fields are options, laid into the signature of a command."""

from __future__ import annotations

import copy
import functools
import inspect
import os
from collections.abc import Callable, Hashable
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, cast, get_args, get_type_hints

import typer

from upbench.cli import existing_files
from upbench.errors import DEBUG


def print_tracebacks(wanted: bool) -> None:
    """Print whole tracebacks from now on, if wanted."""
    if wanted:
        os.environ[DEBUG] = "1"


Debug = Annotated[bool, typer.Option("--debug", help="Print the whole traceback of an error, not its sentence alone.")]


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Make a command of a function whose parameters may be option groups: typer sees their fields, and `--debug`.

    A group may have LISTED, the names of those of its options that --help lists: the others are those of a base that the
    command refuses with a sentence.

    Args:
        function: Each of its parameters is an option or argument of typer, or a dataclass of such. It is called with one
            object for each dataclass.
    """
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, Any] = {}
    flat: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if is_dataclass(group := hints[name]):
            groups[name] = group
            types = _types(cast(Hashable, group))
            listed = getattr(group, "LISTED", types)
            flat += [
                _parameter(f.name, types[f.name] if f.name in listed else _unlisted(types[f.name]), f.default)
                for f in fields(group)
            ]
        else:
            flat.append(_parameter(name, hints[name], parameter.default))
    flat.append(_parameter("debug", Debug, False))

    @functools.wraps(function)
    def flattened(**given: Any) -> None:
        print_tracebacks(given.pop("debug"))
        existing_files.check_apart(given)
        objects = {name: group(**{f.name: given.pop(f.name) for f in fields(group)}) for name, group in groups.items()}
        function(**given, **objects)

    flattened.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    flattened.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    return flattened


@functools.cache
def _types(group: Any) -> dict[str, Any]:
    """Return the annotations of a group, evaluated once, so that its options are the same objects in every command."""
    found = get_type_hints(group, include_extras=True)
    for base in group.__mro__[1:]:
        if is_dataclass(base):
            found |= _types(cast(Hashable, base))
    return found


def _unlisted(annotation: Any) -> Any:
    """Return the annotation of an option that is taken and not listed."""
    kind, option = get_args(annotation)
    option = copy.copy(option)
    option.hidden = True
    return Annotated[kind, option]


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    missing = default in (MISSING, inspect.Parameter.empty)
    given = inspect.Parameter.empty if missing else default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=given, annotation=annotation)
