"""Findings of the audit in words, and as the command that computes them again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from upbench import conventions, registry
from upbench.papers.published import Row
from upbench.reproduce.audit import NOT_VERDICT, Explanation, Finding, Search
from upbench.reproduce.claims import Claim
from upbench.reproduce.explanations import STATED, Counting, Model
from upbench.reproduce.rounding import NEAREST


def departures(claim: Claim, explanation: Explanation, usual: Counting) -> list[str]:
    """Return what an explanation changes of what is stated, a phrase for each change; nothing where it changes nothing.

    Args:
        claim: The printed figure.
        explanation: An explanation of it.
        usual: How the figure's column counts.
    """
    candidate, model = explanation.candidate, explanation.candidate.model
    full = {**registry.get(claim.row.upsampler).defaults(), **claim.stated}
    changes = [f"host variant {model.variant}"] if model.variant else []
    changes += [f"{key} {_yaml(value)} instead of {_yaml(full[key])}" for key, value in model.settings]
    changes += [f"version {model.version}"] if model.version else []
    if candidate.counting.convention != usual.convention:
        changes.append(f"count {candidate.counting.convention} instead of {usual.convention}")
    if candidate.counting.way != usual.way:
        changes.append(f"{candidate.counting.way}" if candidate.counting.way else f"without {usual.way}")
    if explanation.rounding != NEAREST:
        changes.append(explanation.rounding)
    return changes


def counting(finding: Finding, search: Search) -> str:
    """Return how an explanation counts, as 'F4, samples-at-8': a way of counting is named where it changes the sum."""
    candidate = finding.best.candidate if finding.best and finding.verdict != NOT_VERDICT else None
    rule, model = (candidate.counting, candidate.model) if candidate else (finding.usual, STATED)
    return f"{rule.convention}, {rule.way}" if _matters(search, finding.claim, model, rule) else rule.convention


def verdict(finding: Finding) -> str:
    """Return the verdict with what it rests on, as 'as stated', 'with embedding 64 instead of 32' or 'truncated'."""
    if finding.best is None or finding.verdict == NOT_VERDICT:
        return NOT_VERDICT
    changed = departures(finding.claim, finding.best, finding.usual)
    if finding.best.candidate.departures:
        return f"with {', '.join(changed)}"
    return ", ".join(changed) or finding.verdict


def command(finding: Finding, search: Search) -> str | None:
    """Return the command that prints the sum of an explanation stage by stage; None where there is no explanation."""
    if finding.best is None:
        return None
    claim, candidate = finding.claim, finding.best.candidate
    parts = ["upbench", "reproduce", claim.table, "--row", _name(claim)]
    parts += ["--convention", candidate.counting.convention]
    if candidate.counting.way is not None and _matters(search, claim, candidate.model, candidate.counting):
        parts += ["--way", candidate.counting.way]
    parts += ["--version", candidate.model.version] if candidate.model.version else []
    for key, value in candidate.model.settings:
        parts += ["--set", f"{key}={_yaml(value)}"]
    parts += ["--host", f"{claim.host.name}/{candidate.model.variant}"] if candidate.model.variant else []
    return shlex.join(parts)


def convention(name: str) -> str:
    """Return what a convention adds up, in words."""
    return (conventions.FLOPS if name in conventions.FLOPS else conventions.PARAMS)[name].words


def _name(claim: Claim) -> str:
    """The row by its label, or by its number where other rows of the table have the same."""
    return claim.label if claim.alone else str(claim.number)


def _matters(search: Search, claim: Claim, model: Model, rule: Counting) -> bool:
    """Whether a way of counting changes the sum of this upsampler."""
    plain = Counting(rule.convention)
    return rule.way is not None and search.sums.value(claim, model, rule) != search.sums.value(claim, model, plain)


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def about(rows: Sequence[Row]) -> list[str]:
    """Return the notes on rows, and why some are in doubt, each once with the rows that it is about."""
    rows_by_text: dict[str, list[str]] = {}
    for row in rows:
        name = ", ".join(text for text in (row.label or row.upsampler, row.backbone, row.subtask) if text)
        for text in (row.note, row.why and f"uncertain, {row.why}"):
            if text:
                rows_by_text.setdefault(text.removesuffix("."), []).append(name)
    return [f"{'; '.join(dict.fromkeys(names))}: {text}" for text, names in rows_by_text.items()]
