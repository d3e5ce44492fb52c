"""Decides which upsamplers are comparable: one comparison is of one work, the same feature map enlarged by the same scale."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from upbench.errors import UpbenchError
from upbench.specs import shapes
from upbench.specs.run_spec import InputSpec, RunSpec

SHARED: dict[str, tuple[str, ...]] = {
    "": ("scale",),
    "input": tuple(InputSpec.model_fields),
    "measure": ("device", "threads", "mode", "allocator", "flush_denormals"),
}
"""Section -> keys that a spec takes from the others where it has none itself: those of the input and of the timing."""


class Work(NamedTuple):
    """The work that an upsampler does, whatever its method.

    Args:
        shape: Channels, height and width of the low-resolution input.
        batch: Number of samples.
        scale: Scale.
        output_size: Rows and columns of the output where they are not scale times those of the input.
    """

    shape: tuple[int, int, int]
    batch: int
    scale: int | float
    output_size: tuple[int, int] | None = None

    def text(self) -> str:
        """Return the work as '256x120x120, batch 1, x2'."""
        scale = f"x{self.scale:g}" if self.output_size is None else f"to {shapes.text(self.output_size)}"
        return f"{shapes.text(self.shape)}, batch {self.batch}, {scale}"


def of_spec(spec: RunSpec) -> Work:
    """Return the work of a spec."""
    return Work(spec.input.shape, spec.input.batch, spec.scale, spec.input.output_size)


def of_mapping(spec: Mapping[str, Any]) -> Work | None:
    """Return the work of a spec as records and baselines hold it.

    Args:
        spec: The spec, as a mapping.

    Returns:
        The work; None where the spec has no shape of its own, as in a host.
    """
    try:
        inputs = spec["input"]
        size = inputs.get("output_size")
        output = None if size is None else shapes.size(size)
        return Work(shapes.parse(inputs["shape"]), inputs["batch"], spec["scale"], output)
    except (KeyError, TypeError, UpbenchError):
        return None


def has_shape(draft: Mapping[str, Any]) -> bool:
    """Return whether a spec, as written, gives a shape."""
    return "shape" in (draft.get("input") or {})


def work_keys(draft: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a spec, as written, that define its work: scale, shape, batch and size of the output."""
    inputs = {key: value for key, value in _section(draft, "input").items() if key in ("shape", "batch", "output_size")}
    return {**({"scale": draft["scale"]} if "scale" in draft else {}), "input": inputs}


def share(drafts: Sequence[dict[str, Any]], more: Iterable[Mapping[str, Any]] = ()) -> None:
    """Fill in what a spec leaves open and another one gives: shape, batch, scale, dtype, mode and the like.

    Args:
        drafts: Specs as written, changed in place. The first that has a key decides for those that have not.
        more: Specs that come after these, and are not filled in.
    """
    everything = [*drafts, *more]
    for section, keys in SHARED.items():
        for key in keys:
            values = [where[key] for draft in everything if key in (where := _section(draft, section))]
            for draft in drafts if values else ():
                place = draft.setdefault(section, {}) if section else draft
                place.setdefault(key, copy.deepcopy(values[0]))


def _section(draft: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return (draft.get(name) or {}) if name else draft


def groups(works: Sequence[Work]) -> dict[Work, list[int]]:
    """Group equal works.

    Args:
        works: The works.

    Returns:
        Work -> the positions at which it occurs, in the order in which works first occur.
    """
    found: dict[Work, list[int]] = {}
    for n, each in enumerate(works):
        found.setdefault(each, []).append(n)
    return found


def mistakes(named: Sequence[tuple[str, Work]], on_command_line: bool = True) -> list[str]:
    """Return a sentence where works differ: which two, in what, and what to do; none where all are equal.

    Args:
        named: Name and work of each spec.
        on_command_line: Whether the sentence names options.
    """
    for name, other in named[1:]:
        first_name, first = named[0]
        if other != first:
            fix = _fix(first, other) if on_command_line else "a comparison is of one work"
            return [f"{differ(first_name, first, name, other)}; {fix}"]
    return []


def differ(first_name: str, first: Work, name: str, other: Work) -> str:
    """Return the clause that says in what two works differ: 'a.yaml has shape 256x120x120, but b.yaml has 64x32x32'.

    Args:
        first_name: Name of the first spec.
        first: Its work.
        name: Name of the other spec.
        other: Its work.
    """
    keys = [key for key in Work._fields if getattr(first, key) != getattr(other, key)]
    here, there = ([f"{key} {_value(side, key)}" for key in keys] for side in (first, other))
    return f"{first_name} has {', '.join(here)}, but {name} has {', '.join(there)}"


def _value(of: Work, key: str) -> str:
    value = getattr(of, key)
    if isinstance(value, tuple):
        return shapes.text(value)
    return "of scale times the input" if value is None else f"{value:g}"


def _fix(first: Work, other: Work) -> str:
    flags = [f"--{key.replace('_', '-')}" for key in Work._fields if getattr(first, key) != getattr(other, key)]
    return f"a comparison is of one work, so give {' and '.join(flags)} for all of them, or --per-shape for a table of each"
