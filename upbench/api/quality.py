"""`upbench.compare_quality`: the study of `upbench quality`, as a function on values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upbench.api.drafts import draft
from upbench.api.results import Shown
from upbench.quality import candidates, conduct, tables
from upbench.quality.judging import Judgement
from upbench.quality.protocol import Protocol
from upbench.quality.rows import Row
from upbench.quality.study import Study
from upbench.report.formats.table import Table
from upbench.session.calls import silent
from upbench.specs import strict
from upbench.specs.run_spec import RunSpec

if TYPE_CHECKING:
    import pandas

SOURCE = "upbench.compare_quality"


class Quality(Shown):
    """A study that was run to its end: a table and a judgement for each score.

    Args:
        study: What was compared, and how.
        outcome: What its runs came to.
        messages: A sentence for each line of the results file that is no row.
    """

    def __init__(self, study: Study, outcome: conduct.Outcome, messages: Sequence[str] = ()) -> None:
        self.study, self.outcome, self.messages = study, outcome, tuple(messages)
        self.judgements: dict[str, Judgement] = {one.score: one for one in outcome.judgements(study)}

    @property
    def rows(self) -> tuple[Row, ...]:
        """The runs, one row each."""
        return self.outcome.rows

    @property
    def failed(self) -> dict[str, str]:
        """The upsamplers of which a run raised, each with the sentence; the same call tries them again."""
        return self.outcome.failed

    def tables(self) -> list[Table]:
        """Return a table for each score."""
        return tables.tables(self.study, self.outcome.setting, list(self.judgements.values()))

    def _table(self) -> Table:
        return self.tables()[0]

    def to_markdown(self) -> str:
        """Return the tables of all scores in GitHub-flavoured Markdown, with their notes."""
        from upbench.report.formats import render

        return "\n".join(render.markdown(one) for one in self.tables())

    def to_dataframe(self) -> pandas.DataFrame:
        """Return one row for each upsampler and score, never rounded; None or NaN where a value is not known."""
        import pandas

        shown = self.tables()
        return pandas.DataFrame(
            [row for one in shown for row in one.raw_rows], columns=shown[0].raw_heads
        ).infer_objects()

    def __str__(self) -> str:
        from upbench.report.formats import render

        return "\n".join(render.terminal(one, plain=True) for one in self.tables())

    def __repr__(self) -> str:
        verdicts = [f"{row.label} {row.verdict}" for row in next(iter(self.judgements.values())).rows if row.verdict]
        return f"<Quality against {self.study.base.label}: {', '.join(verdicts)}>"


def compare_quality(
    *upsamplers: RunSpec | str | Path | Mapping[str, Any],
    data: str | Path = "scenes",
    output: str | Path = conduct.DEFAULT,
    reference: str | None = None,
    again: Sequence[str] = (),
    fresh: bool = False,
    **protocol: Any,
) -> Quality:
    """Compare a proxy of quality: `compare_quality("bilinear", "carafe", data="my/pictures", seeds=12)`.

    A tiny network is trained from scratch around each upsampler, on paired seeds; the base is run twice a seed, and what
    it differs from itself is the resolution of the verdicts. It is a proxy on small pictures, and no accuracy of any
    benchmark. Runs that the results file has are not run again.

    Args:
        upsamplers: Specs, or anything that `spec` accepts, the base first; of a spec upsampler and params count, since
            channels, sizes and scale are the network's.
        data: "scenes" for generated pictures, or a folder with images/NAME.png (.jpg) and masks/NAME.png.
        output: The results file, a line a run.
        reference: Label of the base, as "bilinear", where it is not the first.
        again: Labels of upsamplers that are run twice a seed too.
        fresh: Whether everything is run again; the old file is kept beside.
        protocol: Keys of the protocol: seeds (6 or 12), steps, rate, channels, size and batch in pixels and pictures,
            pictures (two numbers), task, host, device.

    Returns:
        The rows and the verdicts. A run that raised is in `failed`.

    Raises:
        UpbenchError: If a value is wrong, the network has no place for an upsampler, or the data cannot be read.
    """
    folder = None if str(data) == "scenes" else str(data)
    given = {"data": "scenes" if folder is None else "folder", "folder": folder, **protocol}
    asked = strict.load(Protocol, given, SOURCE)
    asked.check()
    written = []
    for one in upsamplers:
        if isinstance(one, RunSpec):
            written.append((one.label, {"upsampler": one.upsampler, "params": dict(one.params)}, SOURCE))
        else:
            own, source = draft(one, None, None, {})
            written.append((_label(own), own, source))
    study = candidates.study(written, asked, reference, again)
    messages: list[str] = []
    return Quality(study, conduct.run(study, Path(output), fresh, silent, messages.append), messages)


def _label(written: Mapping[str, Any]) -> str:
    """What `reference` and `again` call a spec as written: its name, and its params as a table writes them."""
    params = written.get("params")
    if not isinstance(params, Mapping) or not params:
        return str(written.get("upsampler"))
    return f"{written.get('upsampler')} ({', '.join(f'{key}={value}' for key, value in params.items())})"
