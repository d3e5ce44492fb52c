"""`upbench compare NAME --against GIT_REF`: two versions of each upsampler, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

from upbench.cli import gates, output
from upbench.cli.gates import Gates
from upbench.cli.show_options import ShowOptions

if TYPE_CHECKING:
    from upbench.gate import Finding
    from upbench.specs.run_spec import RunSpec
    from upbench.versions.checkout import Version
    from upbench.versions.comparison import Pair
    from upbench.versions.turns import Timed


def compare(
    judged: Gates,
    specs: Sequence[RunSpec],
    params: Sequence[Mapping[str, Any]],
    show: ShowOptions,
    cache: bool = True,
) -> None:
    """Check the current files, compare them with the old version, print, and exit with 1 when a check or gate failed.

    Args:
        judged: The gates, which name the old version.
        specs: One spec for each upsampler.
        params: Of each spec, the params that the user gave.
        show: Format and file of the result.
        cache: Whether kept results of checks are used.
    """
    from upbench.cli.progress import Progress
    from upbench.report import json_documents
    from upbench.report.tables import gates as gates_page
    from upbench.session import opening
    from upbench.versions import checkout, comparison

    pairs: list[Pair] = []
    old_name = str(judged.options.against or judged.options.against_python)
    with Progress() as progress:
        with opening.opened(specs) as session:
            session.validate(specs)
            checked = session.check(specs, None, progress, cache, for_measuring=False)
        found = gates.of_checks(checked.checks, all_of_them=True)
        for spec, chosen in zip(specs, params, strict=True) if checked.passed else ():
            module = spec.card.module.partition(":")[0]
            with _other(judged, module) as old:
                old_name = old.name
                current, alike = checkout.current(module), judged.judges_output
                pair = comparison.compare(
                    spec,
                    old,
                    current,
                    chosen,
                    not judged.options.exact,
                    alike,
                    partial(_fails, judged, old),
                    progress,
                )
            pairs.append(pair)
            found += _findings(judged, spec, pair, old)
    strict = judged.options.strict
    table = gates_page.table(found, strict, f"The current files against {old_name}")
    gates.write_junit(found, judged.options)
    output.show([table], show, lambda: json_documents.against(old_name, found, strict, [_raw(pair) for pair in pairs]))
    gates.report(found, judged.options, show, in_result=True)


def _other(judged: Gates, module: str) -> AbstractContextManager[Version]:
    """Return a context in which the old version can be imported."""
    from upbench.versions import checkout

    if judged.options.against is not None:
        return checkout.at_commit(judged.options.against, module)
    return checkout.of_python(str(judged.options.against_python))


def _findings(judged: Gates, spec: RunSpec, pair: Pair, old: Version) -> list[Finding]:
    """Judge the checks, then exact metrics, then time."""
    from upbench import metrics
    from upbench.gate import Finding, Result, diff

    rules = judged.rules("against", old.name, "the current files")
    found = gates.of_checks(pair.checks, all_of_them=True)
    if not judged.judges_output:
        found.append(Finding("check output", pair.label, Result.note, "not compared; its tolerance is off"))
    before, after = _measured(spec, pair.old), _measured(spec, pair.new)
    if before and after:
        found += [f for metric in metrics.compared().values() if (f := diff.exact(metric, before, after, rules))]
    else:
        sentence = f"exact metrics are not known: the upbench of {old.name} is older than --against"
        found.append(Finding("against exact", pair.label, Result.unsure, sentence))
    if pair.timed:
        twice = "by two sets of processes" if pair.repeated else None
        timed = pair.timed
        found.append(diff.latency("against latency", pair.label, timed.change, timed.noise_floor, rules, twice))
    return found


def _fails(judged: Gates, old: Version, timed: Timed) -> bool:
    """Return whether a slowdown fails."""
    from upbench.gate import Result, diff

    rules = judged.rules("against", old.name, "the current files")
    return diff.latency("", "", timed.change, timed.noise_floor, rules).result is Result.failed


def _measured(spec: RunSpec, loaded: Any) -> Any:
    """Return what comparisons need of one version; None where it measured nothing."""
    from upbench.gate import measured

    if loaded.record is None:
        return None
    return next(iter(measured.from_records([loaded.record])), None)


def _raw(pair: Pair) -> dict[str, Any]:
    """Return everything that was measured of one upsampler."""
    timed = pair.timed
    return {
        "upsampler": pair.label,
        "old": pair.old.record.to_dict() if pair.old.record else None,
        "new": pair.new.record.to_dict() if pair.new.record else None,
        "latency": {
            "ratio": vars(timed.change),
            "noise_floor": timed.noise_floor,
            "stopped": timed.stopped,
            "calls_per_sample": timed.calls_per_sample,
            "clock": timed.clock,
            "turns_s": dict(zip(("new", "old", "old_twin"), timed.turns_s, strict=True)),
        }
        if timed
        else None,
    }
