"""From the arguments of `upbench compare` to specs of one work, or with --per-shape of several."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from upbench.cli import backends, drafts, runtimes, upsampler_patterns
from upbench.errors import SpecError, unknown
from upbench.specs import comparable, yaml_file
from upbench.specs import run_spec as spec
from upbench.specs.run_spec import RunSpec

Chooser = Callable[[Sequence[str]], "list[Chosen]"]
"""Returns the rows of some arguments."""


@dataclass(frozen=True)
class Chosen:
    """One row of a comparison.

    typed: the argument that it comes from. params: those that were given, without defaults.
    """

    typed: str
    spec: RunSpec
    params: Mapping[str, Any]


def choose(
    items: Sequence[str],
    given: Mapping[str, Any],
    params: Mapping[str, Any],
    backend: str | None,
    others: Sequence[Mapping[str, Any]] = (),
    per_shape: bool = False,
    runtime: str | None = None,
) -> list[Chosen]:
    """Return the rows of a comparison, judged: what one argument leaves open, as its shape, the first that says it decides.

    Args:
        items: the arguments; of a pattern, as `dysample*`, what is impossible here is left out with a sentence on stderr.
        given: options that are keys of a spec, by their key; for every argument.
        params: values of --set.
        backend: text of --backend, which may list several.
        others: specs as written that the rows are compared with, as that of --like.
        per_shape: allow several works; an argument without a shape of its own is measured at each shape.
        runtime: text of --runtime, which may list several.

    Raises:
        SpecError: with all mistakes together, two works in one comparison among them.
    """
    items, matched = upsampler_patterns.expand(items)
    written = [(item, *drafts.draft(item, given, {})) for item in items]
    if per_shape:
        written = _at_every_shape(written)
    comparable.share([data for _, data, _ in written], others)
    each = drafts.shared_params(params, [str(data.get("upsampler")) for _, data, _ in written])
    wanted, run_by = backends.parse(backend), runtimes.parse(runtime)
    found: list[Chosen] = []
    mistakes: list[str] = []
    left_out: dict[str, str] = {}
    for (item, data, source), own in zip(written, each, strict=True):
        data["params"] = {**(data.get("params") or {}), **own}
        yaml_file.typed(source, [*(f"params.{name}" for name in own), *(["measure.backend"] if wanted else [])])
        for one in [each for by in runtimes.spread(data, run_by) for each in backends.spread(by, wanted)]:
            try:
                found.append(Chosen(item, spec.load(one, source), dict(one["params"])))
            except SpecError as error:
                if item in matched:
                    left_out[item] = error.mistakes[0]
                else:
                    mistakes += error.mistakes
    if not mistakes and not per_shape:
        found, others_work = _of_one_work(found, matched)
        left_out |= others_work
    upsampler_patterns.say_left_out(left_out)
    if not found and not mistakes:
        mistakes = ["no upsampler of the pattern can be measured so; name one, or leave options out"]
    if not mistakes and not per_shape:
        mistakes = comparable.mistakes([(c.typed, comparable.of_spec(c.spec)) for c in found])
    if mistakes:
        raise SpecError(list(dict.fromkeys(mistakes)))
    drafts.check_guide_size(given, [row.spec for row in found])
    return found


def _of_one_work(rows: list[Chosen], matched: frozenset[str]) -> tuple[list[Chosen], dict[str, str]]:
    """Leave out those rows of patterns that have another work than the rest, as one whose scale is always 16.

    Returns:
        The other rows, and why each of these was left out.
    """
    works = [comparable.of_spec(row.spec) for row in rows]
    named = [work for row, work in zip(rows, works, strict=True) if row.typed not in matched]
    if not rows or not matched:
        return rows, {}
    base = named[0] if named else Counter(works).most_common(1)[0][0]
    other = {row.typed: f"its work is {work.text()}" for row, work in zip(rows, works, strict=True) if work != base}
    kept = [row for row in rows if row.typed not in matched or row.typed not in other]
    return kept, {name: why for name, why in other.items() if name in matched}


def _at_every_shape(written: Sequence[tuple[str, dict[str, Any], str]]) -> list[tuple[str, dict[str, Any], str]]:
    """Each spec without a shape of its own once for each shape, batch and scale that the others have together."""
    inputs: list[dict[str, Any]] = []
    for _, data, _ in written:
        if comparable.has_shape(data) and (one := comparable.work_keys(data)) not in inputs:
            inputs.append(one)
    found = []
    for item, data, source in written:
        if comparable.has_shape(data) or not inputs:
            found.append((item, data, source))
            continue
        for one in inputs:
            each = copy.deepcopy(data)
            comparable.share([each], [one])
            found.append((item, each, source))
    return found


def published(host: str | None) -> list[str]:
    """Return the upsamplers with published accuracy in a host, as they are typed: "fade:gate=false"; none without a host."""
    if host is None:
        return []
    from upbench.accuracy import on_host

    found = []
    for one in on_host.upsamplers(host):
        params = ",".join(f"{k}={str(v).lower() if isinstance(v, bool) else v}" for k, v in one["params"].items())
        found.append(f"{one['upsampler']}:{params}" if params else str(one["upsampler"]))
    return found


def with_published(rows: Sequence[Chosen], host: str | None, choose_more: Chooser) -> tuple[list[Chosen], list[str]]:
    """Return rows with the upsamplers behind them that have published accuracy in a host and are not among them yet.

    Args:
        rows: The rows of the arguments.
        host: The host; None adds nothing.
        choose_more: Returns the rows of some arguments, as `choose` does.

    Returns:
        The rows, and a sentence for each upsampler that is not possible on what is measured.
    """
    found, messages = list(rows), []
    for item in published(host):
        try:
            more = [row for row in choose_more([rows[0].typed, item]) if row.typed == item]
        except SpecError as error:
            why = error.mistakes[0]
            messages.append(f"{item} has published accuracy on {host}, and cannot be measured here: {why}")
            continue
        found += [row for row in more if row.spec not in [other.spec for other in found]]
    return found, messages


def position_of(reference: str | None, rows: Sequence[Chosen], where: str = "") -> int:
    """Return the position of the reference among the rows, by what was typed or by its label; the first by default.

    Args:
        reference: as given to --reference.
        rows: of one work.
        where: says of which, when there are several.

    Raises:
        UnknownName: when it is not among them.
    """
    typed = [row.typed for row in rows]
    for names in (typed, [row.spec.label for row in rows]):
        if reference in names:
            return names.index(reference)
    if reference is None:
        return 0
    raise unknown(f"reference{where}", reference, typed)
