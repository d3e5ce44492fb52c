"""Findings in words, and as the command that computes them again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from upbench import conventions
from upbench.cards import builtin
from upbench.papers.published import Row
from upbench.reproduce.audit import NOT_VERDICT, Explanation, Finding, Search
from upbench.reproduce.claims import Claim
from upbench.reproduce.explanations import STATED, Counting, Model
from upbench.reproduce.rounding import NEAREST


def departures(claim: Claim, explanation: Explanation, usual: Counting) -> list[str]:
    """What an explanation changes of what is stated, one phrase for each change; empty for none."""
    tried, model = explanation.tried, explanation.tried.model
    full = {**builtin()[claim.row.upsampler].defaults(), **claim.stated}
    found = [f"host variant {model.variant}"] if model.variant else []
    found += [f"{key} {_yaml(value)} instead of {_yaml(full[key])}" for key, value in model.settings]
    found += [f"version {model.version}"] if model.version else []
    if tried.counting.convention != usual.convention:
        found.append(f"count {tried.counting.convention} instead of {usual.convention}")
    if tried.counting.way != usual.way:
        found.append(f"{tried.counting.way}" if tried.counting.way else f"without {usual.way}")
    if explanation.rounding != NEAREST:
        found.append(explanation.rounding)
    return found


def counting(finding: Finding, search: Search) -> str:
    """How an explanation counts, as 'F4, samples-at-8': a way of counting is named where it changes the sum."""
    tried = finding.best.tried if finding.best and finding.verdict != NOT_VERDICT else None
    rule, model = (tried.counting, tried.model) if tried else (finding.usual, STATED)
    return f"{rule.convention}, {rule.way}" if _matters(search, finding.claim, model, rule) else rule.convention


def verdict(finding: Finding) -> str:
    """The verdict with what it rests on: 'as stated', 'with embedding 64 instead of 32', 'truncated', 'not reproduced'."""
    if finding.best is None or finding.verdict == NOT_VERDICT:
        return NOT_VERDICT
    changed = departures(finding.claim, finding.best, finding.usual)
    if finding.best.tried.departures:
        return f"with {', '.join(changed)}"
    return ", ".join(changed) or finding.verdict


def command(finding: Finding, search: Search) -> str | None:
    """The command that prints the sum of an explanation stage by stage; None where there is no explanation."""
    if finding.best is None:
        return None
    claim, tried = finding.claim, finding.best.tried
    parts = ["upbench", "reproduce", claim.table, "--row", _name(claim)]
    parts += ["--convention", tried.counting.convention]
    if tried.counting.way is not None and _matters(search, claim, tried.model, tried.counting):
        parts += ["--way", tried.counting.way]
    parts += ["--version", tried.model.version] if tried.model.version else []
    for key, value in tried.model.settings:
        parts += ["--set", f"{key}={_yaml(value)}"]
    parts += ["--host", f"{claim.host.name}/{tried.model.variant}"] if tried.model.variant else []
    return shlex.join(parts)


def convention(name: str) -> str:
    """What a convention adds up, in words."""
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
    """What is noted of rows, and why some are in doubt, each once with the rows that it is about."""
    found: dict[str, list[str]] = {}
    for row in rows:
        name = ", ".join(text for text in (row.label or row.upsampler, row.backbone, row.subtask) if text)
        for text in (row.note, row.why and f"uncertain, {row.why}"):
            if text:
                found.setdefault(text.removesuffix("."), []).append(name)
    return [f"{'; '.join(dict.fromkeys(names))}: {text}" for text, names in found.items()]
