"""Runs a study: every upsampler with every seed, the base twice, one row a run, and only what is not known yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from upbench import registry
from upbench.quality.engine import Engine
from upbench.quality.protocol import TOGETHER, Candidate, Protocol, Run, Setting
from upbench.quality.rows import Known, Row
from upbench.session.calls import Progress

Keep = Callable[[Row], None]


@dataclass(frozen=True)
class Study:
    """What is compared, and how.

    Args:
        protocol: The protocol.
        candidates: The upsamplers, the base first.
        again: Upsamplers besides the base that are run twice a seed, for an A/A of their own.
    """

    protocol: Protocol
    candidates: tuple[Candidate, ...]
    again: tuple[Candidate, ...] = ()

    @property
    def base(self) -> Candidate:
        """What all others are compared with."""
        return self.candidates[0]

    def repeats(self, one: Candidate) -> int:
        """Return how often an upsampler is run with each seed."""
        return 2 if one == self.base or one in self.again else 1


@dataclass(frozen=True)
class Job:
    """Runs of one upsampler that are trained in one call.

    Args:
        runs: The runs, with the seeds that the call always has together.
    """

    runs: tuple[Run, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of its runs."""
        return tuple(run.seed for run in self.runs)

    @property
    def text(self) -> str:
        """What is done, for whoever waits."""
        first, last = self.runs[0], self.runs[-1]
        seeds = f"seed {first.seed}" if first is last else f"seeds {first.seed} to {last.seed}"
        return f"{first.candidate.label}{' again' if first.repeat else ''}, {seeds}"


@dataclass
class Plan:
    """The jobs of a study in their order.

    Args:
        jobs: All jobs.
        left: Those of them with runs that are not known.
        batched: The keys of the upsamplers whose seeds are trained together.
    """

    jobs: list[Job] = field(default_factory=list)
    left: list[Job] = field(default_factory=list)
    batched: set[str] = field(default_factory=set)


def plan(study: Study, engine: Engine, known: Known) -> Plan:
    """Return the jobs of a study, those with the same seeds side by side, so that what is done can be read at any time.

    Args:
        study: The study.
        engine: Where it runs; asked whether seeds can be trained together.
        known: Rows that there are already.
    """
    found = Plan()
    seeds = range(TOGETHER)
    for one in study.candidates:
        row = next((row for key, row in known.rows.items() if key[0] == one.key and row.status != "error"), None)
        batched = len(row.together) > 1 if row is not None else None
        if batched is None:
            batched = engine.batchable(study.protocol, [Run(one, seed) for seed in seeds])
        if batched:
            found.batched.add(one.key)
    found.jobs = list(_jobs(study, found.batched))
    sources = {one.key: registry.sources(one.upsampler) for one in study.candidates}
    for job in found.jobs:
        if not all(known.has(run, job.seeds, sources[run.candidate.key]) for run in job.runs):
            found.left.append(job)
    return found


def _jobs(study: Study, batched: set[str]) -> Iterator[Job]:
    """Groups of seeds one after another, in each of them all upsamplers: those in batched calls, then the others by seed."""
    pairs = [(one, repeat) for one in study.candidates for repeat in range(study.repeats(one))]
    for start in range(0, study.protocol.seeds, TOGETHER):
        seeds = range(start, start + TOGETHER)
        for one, repeat in pairs:
            if one.key in batched:
                yield Job(tuple(Run(one, seed, repeat) for seed in seeds))
        for seed in seeds:
            for one, repeat in pairs:
                if one.key not in batched:
                    yield Job((Run(one, seed, repeat),))


def run(study: Study, engine: Engine, planned: Plan, known: Known, keep: Keep, progress: Progress) -> list[Row]:
    """Run the jobs that are left, keep every row as soon as it is there, and return all rows of the study.

    Args:
        study: The study.
        engine: Where it runs.
        planned: Its plan.
        known: Rows that there are already.
        keep: Keeps a row; called before the next job begins.
        progress: Called with what is being done, and the part of the whole that is done.
    """
    rows = dict(known.rows)
    sources = {one.key: registry.sources(one.upsampler) for one in study.candidates}
    for n, job in enumerate(planned.left):

        def say(what: str, part: float, n: int = n, job: Job = job) -> None:
            progress(job.text, (n + part) / len(planned.left))

        say("", 0.0)
        for row in engine.train(study.protocol, job.runs, say):
            done = next(one for one in job.runs if one.key == row.run_key)
            if not known.has(done, job.seeds, sources[done.candidate.key]):
                keep(row)
            rows[row.run_key] = row
    return rows_of(study, rows.values())


def rows_of(study: Study, rows: Iterable[Row]) -> list[Row]:
    """Return those rows that belong to the runs of a study.

    Args:
        study: The study.
        rows: Rows of its protocol.
    """
    wanted = {
        Run(one, seed, repeat).key
        for one in study.candidates
        for repeat in range(study.repeats(one))
        for seed in range(study.protocol.seeds)
    }
    return [row for row in rows if row.run_key in wanted]


@dataclass(frozen=True)
class Cost:
    """What is left of an upsampler's runs, and what they cost.

    Args:
        label: The upsampler.
        runs: Runs that are left.
        all_runs: Runs that there are.
        cpu_s: Processor seconds of those that are left, about.
        batched: Whether seeds are trained together.
    """

    label: str
    runs: int
    all_runs: int
    cpu_s: float
    batched: bool


def costs(study: Study, engine: Engine, planned: Plan) -> list[Cost]:
    """Return what a study costs, from a few steps of each upsampler timed now.

    Args:
        study: The study.
        engine: Where it runs.
        planned: Its plan.
    """
    found = []
    for one in study.candidates:
        mine = [job for job in planned.jobs if job.runs[0].candidate == one]
        left = [job for job in mine if job in planned.left]
        each = engine.step_s(study.protocol, left[0].runs) * study.protocol.steps if left else 0.0
        batched = one.key in planned.batched
        found.append(Cost(one.label, _runs(left), _runs(mine), each * len(left), batched))
    return found


def _runs(jobs: Sequence[Job]) -> int:
    return sum(len(job.runs) for job in jobs)


def setting_text(study: Study, setting: Setting) -> str:
    """Return what a caption always says: task, data, pictures, steps, channels and seeds."""
    p = study.protocol
    return (
        f"Task {p.task} in host {p.host}, trained from scratch on {setting.about}: {setting.trained:,} pictures to train on, "
        f"{setting.tested:,} to test with, {p.size} pixels a side; {p.steps} steps of {p.batch}, learning rate {p.rate:g}, "
        f"{p.channels} channels, seeds 0 to {p.seeds - 1}."
    )
