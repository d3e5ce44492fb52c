"""`upbench compare NAME --against GIT_REF`: two versions of each upsampler, side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from upbench.cli import gates, output
from upbench.cli.gates import Gates
from upbench.cli.options import Format

if TYPE_CHECKING:
    from pathlib import Path

    from upbench.against import Pair
    from upbench.gate import Finding
    from upbench.spec import RunSpec
    from upbench.versions import Version


def command(asked: Gates, specs: Sequence[RunSpec], form: Format, output_file: Path | None) -> None:
    """Compare, print, and exit with 1 when a gate failed."""
    from upbench import against, versions
    from upbench.cli.progress import Progress
    from upbench.gate import exit_code
    from upbench.report import document
    from upbench.report import gates as gates_page

    found: list[Finding] = []
    pairs: list[Pair] = []
    old_name = ""
    with Progress() as progress:
        for spec in specs:
            module = spec.card.module.partition(":")[0]
            with _other(asked, module) as old:
                old_name = old.name
                pair = against.compare(spec, old, versions.current(module), not asked.asked.exact, progress)
            pairs.append(pair)
            found += _findings(asked, spec, pair, old)
    strict = asked.asked.strict
    table = gates_page.table(found, strict, f"The current files against {old_name}")
    if form is Format.json:
        whole: dict[str, Any] = {
            "schema": document.SCHEMA,
            "against": old_name,
            "outcome": "failed" if exit_code(found, strict) else "passed",
            "strict": strict,
            "findings": [vars(f) for f in found],
            "versions": [_raw(pair) for pair in pairs],
        }
        output.emit(json.dumps(whole, indent=2), output_file)
    else:
        output.emit(output.render(table, form), output_file)
    gates.tell(found, asked.asked)


def _other(asked: Gates, module: str) -> AbstractContextManager[Version]:
    from upbench import versions

    if asked.asked.against is not None:
        return versions.at_commit(asked.asked.against, module)
    return versions.of_python(str(asked.asked.against_python))


def _findings(asked: Gates, spec: RunSpec, pair: Pair, old: Version) -> list[Finding]:
    """Checks, exact metrics, then time."""
    from upbench.gate import Finding, Result, diff, metrics

    rules = asked.rules("against", old.name, "the current files")
    found = gates.of_checks(pair.checks, all_of_them=True)
    before, after = _measured(spec, pair.old), _measured(spec, pair.new)
    if before and after:
        found += [f for metric in metrics.EXACT.values() if (f := diff.exact(metric, before, after, rules))]
    else:
        sentence = f"exact metrics are not known: the upbench of {old.name} is older than --against"
        found.append(Finding("against exact", pair.label, Result.unsure, sentence))
    if pair.timed:
        found.append(diff.latency("against latency", pair.label, pair.timed.change, pair.timed.resolution, rules))
    return found


def _measured(spec: RunSpec, loaded: Any) -> Any:
    from upbench.gate import measured

    if loaded.record is None:
        return None
    return next(iter(measured.from_records([loaded.record])), None)


def _raw(pair: Pair) -> dict[str, Any]:
    """Everything that was measured of one upsampler."""
    timed = pair.timed
    return {
        "upsampler": pair.label,
        "old": pair.old.record.to_dict() if pair.old.record else None,
        "new": pair.new.record.to_dict() if pair.new.record else None,
        "latency": {
            "ratio": vars(timed.change),
            "resolution": timed.resolution,
            "stopped": timed.stopped,
            "calls_per_sample": timed.calls_per_sample,
            "turns_s": dict(zip(("new", "old", "old_twin"), timed.turns_s, strict=True)),
        }
        if timed
        else None,
    }
