"""A sweep and its cells: pure expansion in a fixed order.

A sweep has up to four forms, which are crossed in this order, the last one fastest: `cells` (a list of mappings),
`zip` (axes that move together), `grid` (every combination) and `ofat` (one factor at a time around the base).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from upbench import papers
from upbench.cards import Card
from upbench.errors import SpecError, UnknownName
from upbench.papers import given
from upbench.papers.given import GivenTable
from upbench.specs import model_spec, yaml_file
from upbench.specs import run_spec as spec
from upbench.specs.yaml_file import COMMAND_LINE, told
from upbench.sweeping import axes, wrong_place
from upbench.sweeping.axes import set_value as set_value
from upbench.sweeping.cell import Cell as Cell
from upbench.sweeping.cell import Specs
from upbench.sweeping.engines.choice import Choice

FORMS = ("cells", "zip", "grid", "ofat")
MAX_CELLS = 100_000


class SweepSpec(BaseModel):
    """A sweep as written in YAML. An axis is a key of the spec, of input, of measure or of params.

    grid: axis -> values, every combination. ofat: axis -> values, each around the base. zip: axis -> values, all of
    one length, taken side by side. cells: mappings of axes to a value each. accuracy: rows of axis values and metrics, a
    mapping of metrics and rows, or a file of them. quality: how a proxy of quality is measured, see `quality.of_sweep`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", description="letters, digits and . _ + - only")
    title: str = Field("", description="text")
    base: dict[str, Any] = Field({}, description="a mapping with the key upsampler, as {upsampler: carafe}")
    input: dict[str, Any] = Field({}, description="a mapping")
    measure: dict[str, Any] = Field({}, description="a mapping")
    model: dict[str, Any] = Field({}, description="a mapping, as {name: transformers/segformer-b1, input: 512x512}")
    cells: list[dict[str, Any]] = Field([], description="a list of mappings of axis names to a value")
    zip: dict[str, list[Any]] = Field({}, description="a mapping of axis names to lists of values of one length")
    grid: dict[str, list[Any]] = Field({}, description="a mapping of axis names to lists of values")
    ofat: dict[str, list[Any]] = Field({}, description="a mapping of axis names to lists of values")
    engine: Choice = Field(Choice(), description="a mapping, as {name: ray, address: auto}")
    published: str | None = Field(None, description="paper/table of a published table, or a YAML file")
    accuracy: Any = None
    quality: Any = None
    _given: GivenTable | None = PrivateAttr(None)
    _source: str = PrivateAttr("")

    @property
    def source(self) -> str:
        """The file it was read from, with the lines of its keys; "" where there is none."""
        return self._source

    @property
    def given(self) -> GivenTable | None:
        """The accuracy that it gives; None where it gives none."""
        return self._given

    @property
    def axes(self) -> list[str]:
        """The names of all axes, in the order of the columns of a table."""
        listed = dict.fromkeys(axis for one in self.cells for axis in one)
        return [*listed, *self.zip, *self.grid, *self.ofat]


def load(data: Mapping[str, Any], source: str) -> SweepSpec:
    """Return a sweep from a mapping as YAML gives it. Raises SpecError with all mistakes of its outer keys together."""
    try:
        sweep = SweepSpec.model_validate(dict(data))
    except ValidationError as error:
        found = [
            wrong_place.misplaced(item) or wrong_place.unlisted(item) or spec.sentence(SweepSpec, item)
            for item in error.errors()
        ]
        raise SpecError([told(source, one) for one in dict.fromkeys(found)]) from None
    folder = Path(source).parent if isinstance(source, yaml_file.Source) else Path()
    if sweep.published is not None and papers.is_file(sweep.published):
        sweep = sweep.model_copy(update={"published": Path(os.path.normpath(folder / sweep.published)).as_posix()})
    if sweep.model:
        sweep = sweep.model_copy(update={"model": model_spec.beside(sweep.model, folder)})
    mistakes = [told(source, sentence) for sentence in _outer_mistakes(sweep)]
    if sweep.accuracy is not None:
        try:
            sweep._given = given.of_document(sweep.accuracy, source, folder)
        except SpecError as error:
            mistakes += error.mistakes
    if mistakes:
        raise SpecError(mistakes)
    sweep._source = source
    return sweep


def read(path: Path) -> SweepSpec:
    """Return the sweep in a YAML file."""
    data, source = yaml_file.read(path, "a sweep")
    if "upsampler" in data and not any(form in data for form in FORMS):
        raise SpecError(
            [f"{path}: is the spec of one run; give it to `upbench profile`, or add base and grid to sweep"]
        )
    return load(data, source)


def expand(sweep: SweepSpec, source: str, overrides: Mapping[str, Any] | None = None) -> list[Cell]:
    """Return every cell, also those that break a rule of their upsampler; cells with the same axes once.

    Args:
        sweep: The sweep.
        source: What sentences name as its origin, as the path of its file.
        overrides: Values for every cell whose upsampler has that key.

    Raises:
        SpecError: With all mistakes of form together, or when no cell is possible.
    """
    given = dict(overrides or {})
    source = sweep.source if sweep.source == source else source  # with its lines
    cards, mistakes = axes.cards(_upsamplers(sweep), source)
    mistakes += _form_mistakes(sweep, source, given, cards)
    if mistakes:
        raise SpecError(list(dict.fromkeys(mistakes)))
    names = sweep.axes
    specs = Specs(partial(_draft, sweep, given=given, cards=cards, own_shape=_has_shape((*names, *given))))
    seen: set[str] = set()
    cells: list[Cell] = []
    for point in _points(sweep):
        cell = _cell(specs, point, names, cards)
        if (place := repr(cell.axes)) not in seen:
            seen.add(place)
            cells.append(cell)
    if all(cell.mistakes for cell in cells):
        reasons = dict.fromkeys(sentence for cell in cells for sentence in cell.mistakes)
        raise SpecError(
            [f"{source}: none of its cells ({len(cells)}) is possible", *(told(source, r) for r in reasons)]
        )
    return cells


def equivalents(cells: Sequence[Cell]) -> dict[int, int]:
    """For each cell whose complete spec an earlier cell has, the place of the first that has it.

    Specs are equal when their dictionaries are, which is what makes the keys of their records equal: 'paper' and
    '256x120x120' are the same shape. A parameter that does nothing at some setting still tells two cells apart.
    """
    first: dict[bytes, int] = {}
    found: dict[int, int] = {}
    for n, cell in enumerate(cells):
        if cell.spec is None:
            continue
        text = json.dumps(cell.spec.to_dict(), sort_keys=True)
        if (before := first.setdefault(hashlib.sha256(text.encode()).digest(), n)) != n:
            found[n] = before
    return found


def _outer_mistakes(sweep: SweepSpec) -> Iterator[str]:
    """What is wrong with a sweep whatever its axes mean."""
    if sweep.published is not None:
        try:
            papers.find(sweep.published)
        except SpecError as error:
            yield from (f"published: {mistake}" for mistake in error.mistakes)
        except UnknownName as error:
            yield f"published: {error}; a table of your own is a file, as my.yaml"
    if not any(getattr(sweep, form) for form in FORMS):
        yield "has no cells; give grid, ofat, zip or cells, each a mapping (cells: a list) of axis names to values"
    for key in ("input", "measure", "model"):
        if key in sweep.base:
            yield f"base.{key} belongs beside base, not in it"
    for form in ("zip", "grid", "ofat"):
        for axis, values in getattr(sweep, form).items():
            if not values:
                yield f"{form}.{axis} has no values; list at least one"
            if form != "zip" and (twice := axes.first_repeated(values)):
                yield f"{form}.{axis} lists {twice} twice"
    lengths = {axis: len(values) for axis, values in sweep.zip.items()}
    if len(set(lengths.values())) > 1:
        yield "zip takes values side by side, but its lists differ in length: " + ", ".join(
            f"{axis} has {n}" for axis, n in lengths.items()
        )
    for twice in (wrong_place.repeated(sweep.cells), wrong_place.repeated_together(sweep.zip)):
        if twice is not None:
            yield twice
    if {} in sweep.cells:
        yield f"cells[{sweep.cells.index({})}] is empty; give it at least one axis"
    places: dict[tuple[str, str], str] = {}
    for form in FORMS:
        block = getattr(sweep, form)
        for axis in dict.fromkeys(itertools.chain.from_iterable(block)) if form == "cells" else block:
            where = f"{form}.{axis}"
            other = places.setdefault(axes.place(axis), where)
            if other != where:
                yield f"{where} is the same axis as {other}; give an axis in one place only"
    count = max(1, len(sweep.cells)) * min(lengths.values(), default=1) * math.prod(map(len, sweep.grid.values()))
    count *= 1 + sum(map(len, sweep.ofat.values()))
    if count > MAX_CELLS:
        yield f"has {count:,} cells, and a sweep holds at most {MAX_CELLS:,}; split it, or list fewer values"


def _upsamplers(sweep: SweepSpec) -> list[object]:
    """Every upsampler of a sweep; None where the base has to name one and does not."""
    found = [one["upsampler"] for one in sweep.cells if "upsampler" in one]
    for form in (sweep.zip, sweep.grid, sweep.ofat):
        found += form.get("upsampler", [])
    in_every_cell = "upsampler" in sweep.zip or "upsampler" in sweep.grid or len(found) == len(sweep.cells) > 0
    return found if in_every_cell else [*found, sweep.base.get("upsampler")]


def _form_mistakes(sweep: SweepSpec, source: str, given: Mapping[str, Any], cards: Mapping[str, Card]) -> Iterator[str]:
    """What no cell could have, each with where it stands. cards: those of the known upsamplers."""
    base = {key: value for key, value in sweep.base.items() if key not in ("upsampler", "guide_channels", "params")}
    in_sections = [m for key in axes.SECTIONS for m in axes.malformed_section(key, getattr(sweep, key))]
    shape = {"input": {"shape": sweep.input["shape"]}} if "shape" in sweep.input and not in_sections else {}
    if _has_shape((*sweep.axes, *given)):
        base.pop("channels", None)
    whole = {**base, **shape}
    if sweep.model:
        whole |= {"model": sweep.model, "input": sweep.input, "measure": sweep.measure}
    yield from (told(source, sentence) for sentence in (*in_sections, *axes.malformed_top(whole)))
    params = sweep.base.get("params", {})
    if not isinstance(params, dict):
        yield told(source, f"base.params is {params!r}, but must be a mapping of parameter names to values")
        params = {}
    written = [(f"base.params.{name}", f"params.{name}", value) for name, value in params.items()]
    if "guide_channels" in sweep.base:
        written.append(("base.guide_channels", "guide_channels", sweep.base["guide_channels"]))
    for n, one in enumerate(sweep.cells):
        written += [(f"cells[{n}].{axis}", axis, value) for axis, value in one.items()]
    for form in ("zip", "grid", "ofat"):
        for axis, values in getattr(sweep, form).items():
            written += [(f"{form}.{axis}[{n}]", axis, value) for n, value in enumerate(values)]
    places = {axes.place(axis): axis for axis in sweep.axes}
    for axis in given:
        if axes.place(axis) in places:
            yield f"{axis} is an axis of {source}; edit its values there"
    yield from _judged(source, written, cards)
    yield from _judged(COMMAND_LINE, [(axis, axis, value) for axis, value in given.items()], cards)


def _has_shape(names: Iterable[str]) -> bool:
    return any(axes.place(name) == ("input", "shape") for name in names)


def _judged(source: str, written: Iterable[tuple[str, str, Any]], cards: Mapping[str, Card]) -> Iterator[str]:
    """The mistakes of (where it stands, axis, value)."""
    for where, axis, value in written:
        if sentence := axes.unknown(axis, cards):
            kind = "parameter" if where.startswith("base.") else "key" if source == COMMAND_LINE else "axis"
            whole = where.partition("[")[0] if where.endswith("]") else where
            yield told(source, f"{whole}: unknown {kind}; {sentence}")
        elif sentence := axes.malformed(axis, value, cards):
            yield told(source, sentence, where)


def _points(sweep: SweepSpec) -> Iterator[dict[str, Any]]:
    """The axes that are set at each point; those that the base decides are left out."""
    zipped = [dict(zip(sweep.zip, values, strict=True)) for values in zip(*sweep.zip.values(), strict=True)]
    one_by_one = [{}, *({axis: value} for axis, values in sweep.ofat.items() for value in values)]
    for listed, together in itertools.product(sweep.cells or [{}], zipped or [{}]):
        for values in itertools.product(*sweep.grid.values()):
            for one in one_by_one:
                yield {**listed, **together, **dict(zip(sweep.grid, values, strict=True)), **one}


def _draft(
    sweep: SweepSpec,
    point: Mapping[str, Any],
    given: Mapping[str, Any],
    cards: Mapping[str, Card],
    own_shape: bool,
) -> dict[str, Any]:
    """The spec of a point as written."""
    sections = {"params": sweep.base.get("params", {}), "input": sweep.input, "measure": sweep.measure}
    data = {**sweep.base, **{section: dict(values) for section, values in sections.items()}}
    if sweep.model:
        data["model"] = sweep.model
    for axis, value in point.items():
        axes.set_value(data, axis, value)
    for axis, value in given.items():
        if axes.applies(axis, cards[data["upsampler"]]):
            axes.set_value(data, axis, value)
    if own_shape:
        # The shape of the cell says how many channels there are; base.channels is that of the base's own shape.
        data.pop("channels", None)
    return data


def _cell(specs: Specs, point: Mapping[str, Any], names: Sequence[str], cards: Mapping[str, Card]) -> Cell:
    """A point judged by its upsampler's rules."""
    mistakes: tuple[str, ...] = ()
    try:
        full = specs.of(point).to_dict()
    except SpecError as error:
        mistakes = tuple(sentence.removeprefix(": ") for sentence in error.mistakes)
        draft = specs.draft(point)
        full = axes.completed(draft, cards[draft["upsampler"]])
    # Texts as written, so that 'mask-head' stays readable; all else as completed: YAML's bare off is 'off' there.
    values = {name: v if isinstance(v := point.get(name), str) else axes.value(full, name) for name in names}
    return Cell(values, point, specs, mistakes, full if mistakes else {})
