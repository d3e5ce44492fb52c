"""Findings as JUnit XML, which most CI systems show as tests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from upbench.gate import Finding, Result, result_of

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML cannot hold, such as the escape codes of a terminal in the message of a module."""


def document(findings: Sequence[Finding], strict: bool) -> str:
    """Return the findings as JUnit XML, with a test case for each gate on each upsampler.

    Gates that are unsure or were not judged are skipped, with the reason.

    Args:
        findings: What the gates found.
        strict: Whether what is unsure counts as failed.
    """
    results = [result_of(finding, strict) for finding in findings]
    numbers = {
        "tests": str(len(results)),
        "failures": str(results.count(Result.failed)),
        "skipped": str(results.count(Result.unsure) + results.count(Result.note)),
    }
    root = ET.Element("testsuites", numbers)
    suite = ET.SubElement(root, "testsuite", {"name": "upbench", **numbers})
    for finding, result in zip(findings, results, strict=True):
        case = ET.SubElement(suite, "testcase", {"classname": finding.upsampler, "name": finding.gate})
        if result is Result.failed:
            ET.SubElement(case, "failure", {"message": finding.sentence})
        elif result in (Result.unsure, Result.note):
            ET.SubElement(case, "skipped", {"message": f"{result}: {finding.sentence}"})
        else:
            ET.SubElement(case, "system-out").text = finding.sentence
    ET.indent(root)
    text = _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", ET.tostring(root, encoding="unicode"))
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'
