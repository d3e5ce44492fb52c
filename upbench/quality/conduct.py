"""Conducts a study whose rows are in a file: opens where it runs, reads what there is, runs the rest, judges all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from upbench import files
from upbench.quality import engine, judging, kinds, rows, study
from upbench.quality.engine import Engine
from upbench.quality.judging import Judgement
from upbench.quality.protocol import Setting
from upbench.quality.rows import Known, Row
from upbench.quality.study import Plan, Study
from upbench.session.calls import Progress

Say = Callable[[str], None]
DEFAULT = Path("results") / "quality.jsonl"
"""Where the rows go unless a path is given."""


@dataclass(frozen=True)
class Outcome:
    """A study that was run to its end.

    Args:
        setting: Where it ran and on what.
        rows: All rows of its runs, those that were there before included.
        runs: How many runs it has.
    """

    setting: Setting
    rows: tuple[Row, ...]
    runs: int

    @property
    def failed(self) -> dict[str, str]:
        """The upsamplers of which a run raised, each with the sentence of its last one."""
        return {row.label: str(row.error) for row in self.rows if row.status == "error"}

    @property
    def whole(self) -> int:
        """How many runs have a result."""
        return sum(row.status != "error" for row in self.rows)

    def judgements(self, of: Study) -> list[Judgement]:
        """Return a judgement for each score of the task.

        Args:
            of: The study.
        """
        return [judging.judge(of, self.rows, score) for score in kinds.load("task", of.protocol.task).METRICS]


@contextmanager
def planned(of: Study, path: Path, say: Say, fresh: bool = False) -> Iterator[tuple[Engine, Setting, Known, Plan]]:
    """Open the place where a study runs, and give it with the setting, the rows that are known and the plan. Writes nothing.

    Args:
        of: The study.
        path: The file of its rows, which need not exist.
        say: Called with a sentence for each line that is no row.
        fresh: Whether nothing that is in the file counts as known.
    """
    known_rows, said = rows.read(path)
    for sentence in said:
        say(sentence)
    with engine.opened(of.candidates) as place:
        setting = place.describe(of.protocol)
        known = Known([] if fresh else known_rows, of.protocol, setting.digest, setting.torch, setting.device)
        yield place, setting, known, study.plan(of, place, known)


def run(of: Study, path: Path, fresh: bool, progress: Progress, say: Say) -> Outcome:
    """Run what is left of a study, every run a line of its file as soon as it has ended.

    Args:
        of: The study.
        path: The file of its rows.
        fresh: Whether everything is run again; the old file is kept beside, from the moment that the study can run.
        progress: Called with what is being done, and the part of the whole that is done.
        say: Called with a sentence for each line that is no row.

    Raises:
        UpbenchError: If the file cannot be written, another process writes it, or the data cannot be read.
    """
    if not path.parent.is_dir() and path == DEFAULT:
        path.parent.mkdir()
    files.check_folder(path)
    with files.locked(path):
        files.check_writable(path)
        with planned(of, path, say, fresh) as (place, setting, known, plan):
            if fresh:
                files.set_aside(path)
            found = study.run(of, place, plan, known, lambda row: rows.append(path, row), progress)
    return Outcome(setting, tuple(found), sum(len(job.runs) for job in plan.jobs))
