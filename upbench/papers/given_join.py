"""Which row of a table of accuracy belongs to which cell: joined on axes and params, or on the name of the upsampler."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from upbench.errors import SpecError, suggestion
from upbench.papers.given import NAMES, GivenRow, GivenTable, Value
from upbench.papers.given_values import bare_name, same


@dataclass(frozen=True)
class Place:
    """What a row can be joined to.

    Args:
        label: The label of the cell, which names its upsampler and the params that are not the default.
        names: Its other names.
        values: Key -> value: axes, params, and the keys of the spec.
        model: What makes a trained model: upsampler, scale, params. One accuracy belongs to one model.
    """

    label: str
    names: tuple[str, ...]
    values: Mapping[str, Any]
    model: Mapping[str, Any]


def place(label: str, axes: Mapping[str, Any], spec: Mapping[str, Any]) -> Place:
    """Return the place of a cell.

    Args:
        label: Its label.
        axes: The values of its axes.
        spec: Its spec, as it is written in YAML.
    """
    params = dict(spec.get("params") or {})
    top = {key: spec.get(key) for key in ("upsampler", "scale", "channels", "guide_channels")}
    sections = {key: v for name in ("input", "measure") for key, v in dict(spec.get(name) or {}).items()}
    bare = {name.rpartition(".")[2]: value for name, value in axes.items()}
    upsampler = str(top["upsampler"] or "")
    names = (upsampler, upsampler.rpartition(":")[2], *(str(v) for k, v in axes.items() if k in NAMES))
    known = {**sections, **top, **params, **bare, **axes}
    return Place(label, names, known, {"upsampler": upsampler, "scale": top["scale"], **params})


@dataclass(frozen=True)
class Joined:
    """What a table says of cells.

    Args:
        values: Index of the cell -> metric -> value.
        unmatched: The rows that belong to none of them.
    """

    values: Mapping[int, Mapping[str, Value]]
    unmatched: tuple[GivenRow, ...]


def join(table: GivenTable, places: Sequence[Place]) -> Joined:
    """Return the rows of a table with the cells that they belong to.

    Raises:
        SpecError: A column is none of the keys of the cells, a row fits cells of several models, or two rows fit one cell;
            the error lists all mistakes together.
    """
    mistakes = [*_unknown_keys(table, places)]
    values: dict[int, dict[str, Value]] = {}
    owners: dict[tuple[int, str], GivenRow] = {}
    unmatched: list[GivenRow] = []
    for row in table.rows if not mistakes else ():
        hits = _hits(row, places)
        if not hits:
            unmatched.append(row)
        if several := _several_models(row, [places[n] for n in hits]):
            mistakes.append(several)
            continue
        for n in hits:
            for name, value in row.values.items():
                other = owners.setdefault((n, name), row)
                if other is not row:
                    mistakes.append(
                        f"{other.where} ({other.name}) and {row.where} ({row.name}) both give {name} of {places[n].label}; "
                        "leave one"
                    )
                values.setdefault(n, {})[name] = value
    if mistakes:
        raise SpecError(list(dict.fromkeys(mistakes)))
    return Joined(values, tuple(unmatched))


def _unknown_keys(table: GivenTable, places: Sequence[Place]) -> Iterator[str]:
    """A sentence for each column that no cell has as a key."""
    known = list(dict.fromkeys(key for one in places for key in one.values))
    for key in dict.fromkeys(key for row in table.rows for key in row.keys):
        if key in known or key in NAMES:
            continue
        where = next(row.where for row in table.rows if key in row.keys)
        axes = suggestion(key, [*known, *NAMES, *table.metrics])
        yield (
            f"{where}: {key!r} is no axis, no param and no usual metric{axes or ';'} name an axis or a param of what is measured; "
            f"for a metric say which value is better, as '{key} (higher)' in the head of a CSV file, or under metrics: in "
            f"YAML; name a column for readers `note`"
        )


def _hits(row: GivenRow, places: Sequence[Place]) -> list[int]:
    """The cells that have all settings of a row. A name alone is first looked for among the labels."""
    keys = {key: value for key, value in row.keys.items() if key not in NAMES}
    names = [str(value) for key, value in row.keys.items() if key in NAMES]
    if names and not keys:
        exact = [n for n, one in enumerate(places) if all(bare_name(one.label) == bare_name(name) for name in names)]
        if exact:
            return exact
    return [
        n
        for n, one in enumerate(places)
        if all(key in one.values and same(one.values[key], value) for key, value in keys.items())
        and all(bare_name(name) in map(bare_name, (one.label, *one.names)) for name in names)
    ]


def _several_models(row: GivenRow, places: Sequence[Place]) -> str | None:
    """Why a row does not say which model it is of; None where it does."""
    first = places[0].model if places else {}
    keys = dict.fromkeys(key for one in places for key in one.model)
    differing = [key for key in keys if len({_hashable(one.model.get(key)) for one in places}) > 1]
    if not first or not differing:
        return None
    if not row.keys:
        return f"{row.where}: names no upsampler and no setting; give a column `name`, or one for each axis"
    return (
        f"{row.where} ({row.name}): fits {len(places)} cells, whose {', '.join(differing)} differ; an accuracy is of one "
        f"trained model, so give a column {differing[0]}"
    )


def _hashable(value: object) -> Hashable:
    return repr(value)
