"""What checks found, without torch: the command line prints it, wherever the checks were made."""

from __future__ import annotations

from dataclasses import dataclass, field

from upbench.records.record import Record


@dataclass(frozen=True)
class Check:
    """The result of one check of one upsampler.

    Args:
        upsampler: Label of the upsampler.
        name: "shape", "finite", "repeat", "backend forward", "backend backward", "runtime" or "like NAME".
        passed: Whether the check passed.
        detail: Clause that says what was found.
    """

    upsampler: str
    name: str
    passed: bool
    detail: str


@dataclass
class Checked:
    """The results of all checks.

    Args:
        checks: Checks of all upsamplers.
        unrepeatable: Labels whose output is right, but not the same bit for bit each time.
    """

    checks: list[Check] = field(default_factory=list)
    unrepeatable: set[str] = field(default_factory=set)

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    def without_digest(self, record: Record) -> Record:
        """Return a record, without the digest of its output where that does not repeat to the bit."""
        if record.label not in self.unrepeatable or record.output is None:
            return record
        return record.model_copy(update={"output": record.output.model_copy(update={"digest": None})})
