"""Findings as GitHub shows them at a change: workflow commands, one on each line."""

from __future__ import annotations

from collections.abc import Sequence

from upbench.gate import Finding, Result, result_of

COMMANDS = {Result.failed: "error", Result.unsure: "warning", Result.note: "notice"}
"""The command for each result; what passed has none."""


def commands(findings: Sequence[Finding], strict: bool) -> list[str]:
    """Return a workflow command for each finding that did not pass.

    '::error title=...::sentence' for what failed, '::warning' for what is unsure, '::notice' for what was not judged.

    Args:
        findings: What the gates found.
        strict: Whether what is unsure counts as failed.
    """
    return [
        f"::{COMMANDS[result]} title={_property(f'upbench: {f.upsampler}, {f.gate}')}::{_message(f.sentence)}"
        for f in findings
        if (result := result_of(f, strict)) in COMMANDS
    ]


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
