"""What a sweep has still to do: its cells against the records that a results file has already."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from upbench.errors import OutputError
from upbench.records import pass_store, record, store
from upbench.records.record import FAILED
from upbench.records.store import Identity, Index, Place, identity
from upbench.sweeping.expand import Cell
from upbench.user_code import source_files

Environment = dict[str, Any]


@dataclass
class Plan:
    """The work, by the numbers of the cells.

    Args:
        identities: Those under which a record is one of a cell.
        status: Of the cells that the file has, or will have without measuring.
        copies: Cells whose measurement the file has under other axes, with the byte where it begins.
        impossible: Cells whose record is to be written.
        measure: Cells to measure.
        followers: To each of these, the cells with an equal spec, which get the same record.
        sources: Of each upsampler that is a user's, the hashes of its files.
        edited: Of cells to measure again, what became of their module, as 'up.py changed', or of the way to measure.
    """

    identities: dict[Identity, int] = field(default_factory=dict)
    status: dict[int, str] = field(default_factory=dict)
    copies: dict[int, int] = field(default_factory=dict)
    impossible: list[int] = field(default_factory=list)
    measure: list[int] = field(default_factory=list)
    followers: dict[int, list[int]] = field(default_factory=dict)
    sources: dict[str, dict[str, str] | None] = field(default_factory=dict)
    edited: dict[int, str] = field(default_factory=dict)


def plan(
    cells: Sequence[Cell], known: Index, places: Mapping[str, Sequence[Environment]], retry: Collection[str] = ()
) -> Plan:
    """Decide for each cell: known, copied, impossible, measured, or measured with another.

    Args:
        cells: The cells of the sweep.
        known: The index of the results file.
        places: The environments that each device of a spec stands for.
        retry: Statuses that are measured again.

    Returns:
        The plan, whose numbers are those of `cells`.
    """
    found = Plan()
    anywhere = next(iter(places.values()))[0]
    leaders: dict[str, int] = {}
    for n, cell in enumerate(cells):
        if cell.spec is None:
            _judge_impossible(found, n, cell, known, anywhere)
            continue
        spec, name = cell.spec.to_dict(), cell.spec.upsampler
        if name not in found.sources:
            found.sources[name] = cell.spec.sources()
        code = found.sources[name]
        environments = [conditions(cell, env) for env in places[cell.spec.measure.device]]
        keys = [record.key(spec, env, code) for env in environments]
        for key in keys:
            found.identities[identity(key, cell.axes)] = n
        here = _best([known.by_cell.get(identity(key, cell.axes)) for key in keys])
        elsewhere = _best([known.by_key.get(key) for key in keys])
        best = elsewhere if here is None else here if here.status == "ok" else _best([here, elsewhere])
        shown = [known.shown.get(identity(record.key(spec, env), cell.axes)) for env in environments]
        if best is not None and best.status not in retry:
            found.status[n] = best.status
            if best is not here or not any(one and one[0] is here for one in shown):
                found.copies[n] = best.offset  # a later record is of code that has been taken back
            continue
        if why := next((why for one in shown if one and (why := _edited(one[1], code))), None):
            found.edited[n] = why
        elif older := _older(spec, environments, code, cell, known):
            found.edited[n] = older
        if (leader := leaders.setdefault(keys[0], n)) != n:
            found.followers.setdefault(leader, []).append(n)
        else:
            found.measure.append(n)
    return found


def check_same(cells: Sequence[Cell], known: Index, path: Path) -> None:
    """Raise OutputError where a results file holds another sweep: one whose axes are neither among these nor around them.

    Args:
        cells: The cells of the sweep.
        known: The index of the results file.
        path: of the results file.
    """
    ours = {name for cell in cells for name in cell.axes}
    found = [set(json.loads(axes)) for _, axes in known.by_cell]
    if not found or any(theirs <= ours or ours <= theirs for theirs in found):
        return
    raise OutputError(
        f"{path} holds another sweep of this name, over {', '.join(sorted(found[0]))}, and this one is over "
        f"{', '.join(sorted(ours))}; give it a name of its own or another file (--output), or set the old results aside "
        "with --fresh"
    )


def left_out(cells: Sequence[Cell], known: Index, path: Path) -> str | None:
    """Return a sentence on cells of more axes that a results file holds and the table of a sweep leaves out; None for none.

    Args:
        cells: The cells of the sweep.
        known: The index of the results file.
        path: of the results file.
    """
    ours = {name for cell in cells for name in cell.axes}
    more = [theirs for _, axes in known.by_cell if ours < (theirs := set(json.loads(axes)))]
    if not more:
        return None
    return (
        f"{path} also holds {len(more)} cells over {', '.join(sorted(more[0]))}, which the tables of this sweep leave out; another "
        "name, or --output, keeps both"
    )


def _edited(old: Mapping[str, str] | None, new: Mapping[str, str] | None) -> str | None:
    """What became of a module since a cell was measured, as 'up.py changed'; None where it is the same."""
    if new and old is None:
        return "the record does not say which code it is of"
    files = source_files.changed(old, new)
    return f"{', '.join(files)} changed" if files else None


def _older(
    spec: Mapping[str, Any],
    environments: Sequence[Environment],
    code: Mapping[str, str] | None,
    cell: Cell,
    known: Index,
) -> str | None:
    """What became of the way to measure since a cell was measured; None where the file does not have it."""
    for env in environments:
        now = env.get("measurement_version") or 1
        for version in range(now - 1, 0, -1):
            then = {**env, "measurement_version": version}
            if identity(record.key(spec, then, code), cell.axes) in known.by_cell:
                return f"the way to measure is another now (version {now}, before {version})"
    return None


def edits(work: Plan) -> list[str]:
    """Return a sentence for each reason to measure cells again, with the number of these cells."""
    return [
        f"{why} since it was measured; {n} {'cell is' if n == 1 else 'cells are'} measured again"
        if why.endswith("changed")
        else f"{why}; {n} {'cell is' if n == 1 else 'cells are'} measured again"
        for why, n in Counter(work.edited.values()).items()
    ]


def conditions(cell: Cell, env: Mapping[str, Any]) -> Environment:
    """Return an environment with what the cell asks for itself."""
    threads = cell.spec.measure.threads if cell.spec else cell.draft.get("measure", {}).get("threads")
    return dict(env) if threads is None else {**env, "threads": threads}


def measured_in(env: Mapping[str, Any], cells: Sequence[Cell], path: Path) -> int:
    """Return how many cells a results file or its passes file has that were measured in an environment.

    Args:
        env: The environment.
        cells: The cells of the sweep.
        path: The results file.
    """
    known = {*store.index(path).by_cell, *pass_store.index(path.with_suffix(".passes.jsonl")).counted}
    count, code = 0, dict[str, dict[str, str] | None]()
    for cell in cells:
        if cell.spec is not None and known:
            name = cell.spec.upsampler
            if name not in code:
                code[name] = cell.spec.sources()
            count += identity(record.key(cell.spec.to_dict(), conditions(cell, env), code[name]), cell.axes) in known
    return count


def _judge_impossible(found: Plan, n: int, cell: Cell, known: Index, env: Environment) -> None:
    place = identity(record.key(cell.draft, conditions(cell, env)), cell.axes)
    found.identities[place] = n
    before = known.by_cell.get(place)
    found.status[n] = "impossible"
    if before is None or (before.status, before.error) != ("impossible", broken_rules(cell)):
        found.impossible.append(n)


def broken_rules(cell: Cell) -> str:
    """Return the rules that an impossible cell breaks, as the error of its record."""
    return "; ".join(cell.mistakes)


def _best(places: Sequence[Place | None]) -> Place | None:
    """The record that speaks for a cell: a measured one, else the last that failed; the first of equals."""
    told = [place for place in places if place is not None and place.status in ("ok", *FAILED)]
    return max(told, key=lambda place: (place.status == "ok", place.offset), default=None)
