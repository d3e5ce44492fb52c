"""From gate options to budgets and baselines, and from findings to stderr, GitHub, JUnit and the exit code."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from upbench.cli import interrupts, output
from upbench.cli.gate_options import GateOptions
from upbench.cli.show_options import ShowOptions
from upbench.errors import SpecError, StoreError, UpbenchError
from upbench.specs import yaml_file

if TYPE_CHECKING:
    from upbench.benchmark.checked import Check, Checked
    from upbench.gate import Finding
    from upbench.gate.budgets import Budgets
    from upbench.gate.diff import Rules
    from upbench.gate.measured import Measured
    from upbench.records.record import Record
    from upbench.report.formats.table import Table
    from upbench.session.calls import Session
    from upbench.specs.run_spec import RunSpec

READ = ("table", "markdown")
"""Formats in which a table is read as it is."""


@dataclass(frozen=True)
class Gates:
    """The gates of one run, validated.

    Args:
        options: The options as given.
        budgets: Bounds and tolerances, under the labels of this run.
        baseline: Content of --baseline; None when it was not given.
        like: Spec of --like; None when it was not given.
        threshold: Slowdown, as a part of 1, that fails.
    """

    options: GateOptions
    budgets: Budgets
    baseline: list[Measured] | None
    like: RunSpec | None
    threshold: float

    @property
    def judges_output(self) -> bool:
        """Whether an output other than the old one fails."""
        return self.budgets.tolerance.get("output-digest", 0) is not None

    def rules(self, gate: str, old: str, new: str) -> Rules:
        """Return the rules of a comparison of two sides, which are named in sentences."""
        from upbench.gate.diff import Rules

        return Rules(gate, old, new, self.budgets.tolerance, self.threshold, min(0.02, self.threshold))


def read(options: GateOptions, typed: Sequence[str], specs: Sequence[RunSpec]) -> Gates:
    """Validate every option and file of the gates before anything is measured.

    Args:
        options: The options as given.
        typed: What was typed for each upsampler.
        specs: The specs of the same upsamplers, in the same order.

    Raises:
        SpecError: With all mistakes together.
    """
    from upbench.gate import amounts, budgets

    mistakes: list[str] = _conflicts(options) if specs else []
    data: dict[str, Any] = {}
    source = ""
    bounds, threshold, stored, like = budgets.Budgets(), 0.05, None, None
    try:
        if options.budgets:
            data, source = yaml_file.read(options.budgets, "a file of budgets")
        bounds, wrong = budgets.parse(
            options.maximum or (), options.minimum or (), options.tolerance or (), data, source
        )
        bounds, more = budgets.resolve(bounds, typed, [s.upsampler for s in specs], [s.label for s in specs])
        mistakes += wrong + more
        if options.exact and any(not bound.metric.exact for bound in bounds.bounds):
            mistakes.append("a bound of latency cannot be judged with --exact, which measures no time; leave one out")
    except SpecError as error:
        mistakes += error.mistakes
    try:
        part = amounts.tolerance(options.threshold or "5%")
        if part is None:
            mistakes.append("--threshold off: must be a percentage; --exact leaves latency out")
        threshold = float(part or 0)
    except SpecError as error:
        mistakes += [f"--threshold: {sentence}" for sentence in error.mistakes]
    try:
        stored = load_baseline(options.baseline) if options.baseline else None
    except UpbenchError as error:
        mistakes.append(str(error))
    if stored and specs:
        mistakes += _other_work(f"baseline {options.baseline}", [m.spec for m in stored], specs)
    if options.like is not None:
        like, more = _like(options.like, [s for s in specs if ":" in s.upsampler])
        mistakes += more
    if mistakes:
        raise SpecError(list(dict.fromkeys(mistakes)))
    output.check(options.save, "baseline", "--save")
    output.check(options.junit, "junit", "--junit")
    return Gates(options, bounds, stored, like, threshold)


def _other_work(name: str, stored: Sequence[Mapping[str, Any]], specs: Sequence[RunSpec]) -> list[str]:
    """Return a sentence where nothing of a baseline has the work of this run, so that nothing could be compared."""
    from upbench.specs import comparable

    works = [work for one in stored if (work := comparable.of_mapping(one)) is not None]
    now = comparable.of_spec(specs[0])
    if not works or now in works:
        return []
    told = comparable.differ(name, works[0], "this comparison", now)
    return [f"{told}; measure the same work, or save a baseline of this one"]


def _like(item: str, modules: Sequence[RunSpec]) -> tuple[RunSpec | None, list[str]]:
    """Return the spec of --like on the work of the user's modules, and the mistakes."""
    from upbench.cli.drafts import draft as draft_of
    from upbench.specs import comparable
    from upbench.specs import run_spec as spec

    if not modules:
        return None, [f"--like {item}: none of the compared upsamplers is a package.module:Class"]
    try:
        draft, _ = draft_of(item, {}, {})
        whole = modules[0].to_dict()
        comparable.share([draft], [whole])
        draft["measure"] = {**whole["measure"], "backend": "eager"}
        like = spec.load(draft, f"--like {item}")
    except SpecError as error:
        return None, list(error.mistakes)
    works = [(f"--like {item}", comparable.of_spec(like)), *((s.label, comparable.of_spec(s)) for s in modules)]
    return like, comparable.mistakes(works)


def compared_with(options: GateOptions) -> list[dict[str, Any]]:
    """Return, as specs as written, what the rows are compared with: they decide the keys that the rows leave open.

    Files that cannot be read are left out here, and refused by `read`.
    """
    from upbench.cli.drafts import draft as draft_of
    from upbench.specs import comparable

    found = []
    stored: list[Measured] = []
    with suppress(UpbenchError):
        found += [draft_of(options.like, {}, {})[0]] if options.like else []
    with suppress(UpbenchError):
        stored += load_baseline(options.baseline) if options.baseline else []
    if len({comparable.of_mapping(one.spec) for one in stored}) == 1:
        found.append(comparable.work_keys(stored[0].spec))
    return found


def _conflicts(options: GateOptions) -> list[str]:
    """Return a sentence for options that exclude each other, and for those that nothing would be judged by."""
    if not options.between:
        bounds = options.maximum or options.minimum or options.budgets
        found = []
        if options.threshold and not options.baseline:
            found.append(
                "--threshold is of a latency that is compared; give --baseline or --against, or a bound (--max)"
            )
        if options.tolerance and not (options.baseline or bounds):
            found.append("--tolerance is of a comparison or a bound; give --baseline, --against, --max or --min")
        return found
    found = []
    if options.against is not None and options.against_python is not None:
        found.append("--against and --against-python are two comparisons; ask for one of them")
    flag = "--against" if options.against is not None else "--against-python"
    others = {
        "--max": options.maximum,
        "--min": options.minimum,
        "--budgets": options.budgets,
        "--baseline": options.baseline,
        "--save": options.save,
        "--like": options.like,
    }
    given = [name for name, value in others.items() if value]
    if given:
        found.append(f"{flag} compares two versions and nothing else; give {', '.join(given)} to a run of its own")
    return found


def load_baseline(path: Path) -> list[Measured]:
    """Read a baseline file.

    Raises:
        StoreError: If the file does not exist, or is no baseline.
    """
    from upbench.gate import baseline

    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"baseline {path}: there is no such file; write one with --save {path}") from None
    except OSError as error:
        raise StoreError(f"baseline {path} cannot be read ({error.strerror})") from None
    except ValueError:
        raise StoreError(f"baseline {path} is not JSON; write a new one with --save") from None
    return baseline.from_data(data, str(path))


def of_checks(checks: Sequence[Check], all_of_them: bool) -> list[Finding]:
    """Return checks as findings.

    Args:
        checks: The checks of all upsamplers.
        all_of_them: Whether passed ones are included.
    """
    from upbench.gate import Finding, Result

    return [
        Finding(f"check {c.name}", c.upsampler, Result.passed if c.passed else Result.failed, c.detail)
        for c in checks
        if all_of_them or not c.passed
    ]


def is_as_saved(gates: Gates, specs: Sequence[RunSpec], checked: Checked, session: Session) -> bool:
    """Return whether every output equals that of the baseline, where there is one: else no speed may be printed."""
    from upbench.gate import Result, diff, measured

    if gates.baseline is None:
        return True
    now = []
    for spec in specs:
        if spec.label not in checked.unrepeatable:
            found = session.output(spec)
            out = found.output.model_dump() if found.output else None
            now.append(measured.Measured(spec.label, spec.to_dict(), found.where, {}, out))
    rules = gates.rules("baseline", "the baseline", "this run")
    findings = diff.compare(gates.baseline, now, rules)
    return not any(f.result is Result.failed and f.gate.endswith(diff.DIGEST) for f in findings)


def judge(gates: Gates, records: Sequence[Record], reference: Record, convention: str) -> list[Finding]:
    """Judge the records of one comparison by budgets and baseline; write the new baseline where --save names one.

    Args:
        gates: The gates.
        records: The records.
        reference: The record that ratios are taken to.
        convention: Counting convention of MACs and parameters.
    """
    from upbench.gate import baseline, budgets, diff, measured
    from upbench.gate import reference as references

    found = budgets.judge(gates.budgets, records, convention)
    current = measured.from_records(records, reference)
    if gates.baseline is not None:
        rules = gates.rules("baseline", f"baseline {gates.options.baseline}", "this run")
        found += diff.compare(gates.baseline, current, rules)
    if gates.options.save and not interrupts.was_interrupted(records):
        output.write(gates.options.save, baseline.to_text(current))
        if sentence := references.alone(current, str(gates.options.save)):
            typer.echo(f"upbench: {sentence}", err=True)
    return found


def write_junit(findings: Sequence[Finding], options: GateOptions) -> None:
    """Write the findings as JUnit where --junit asks for it; before anything is printed, which may fail."""
    from upbench.report.formats import junit

    if options.junit:
        output.write(options.junit, junit.document(findings, options.strict))


def report(
    findings: Sequence[Finding],
    options: GateOptions,
    show: ShowOptions,
    tables: Sequence[Table] = (),
    in_result: bool = False,
) -> None:
    """Report findings on stderr and to GitHub; then exit with 1 when a gate failed.

    Args:
        findings: The findings.
        options: The options as given.
        show: How the result was shown; with all notes, each finding that did not pass has a line.
        tables: Tables that the summary on GitHub shows as well.
        in_result: Whether the findings are the result itself, which stderr does not repeat to who has just read it on stdout.
    """
    from upbench.gate import exit_code, lines
    from upbench.report.formats import github, render
    from upbench.report.tables import gates

    read_there = in_result and _read_together() and any(path is None and form in READ for path, form in show.targets)
    for line in [] if read_there else lines(findings, options.strict, whole=show.told == "all"):
        typer.echo(f"upbench: {line}", err=True)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in github.commands(findings, options.strict):
            typer.echo(line, err=True)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        shown = [*([gates.table(findings, options.strict)] if findings else []), *tables]
        try:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write("\n".join(render.markdown(table) for table in shown) + "\n")
        except OSError as error:
            typer.echo(f"upbench: GITHUB_STEP_SUMMARY {summary} cannot be written ({error.strerror})", err=True)
    if exit_code(findings, options.strict):
        raise typer.Exit(1)


def _read_together() -> bool:
    """Return whether stdout and stderr go to one place: a terminal, one file or pipe, or the log of GitHub."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        return True
    try:
        out, err = os.fstat(sys.stdout.fileno()), os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):  # no files, as in a notebook
        return False
    return (out.st_dev, out.st_ino) == (err.st_dev, err.st_ino)
