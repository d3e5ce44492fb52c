"""The page of all measured quantities, `docs/quantities.md`; `upbench list --metrics` prints it."""

from __future__ import annotations

from upbench import metrics
from upbench.metrics import Metric

HEAD = """# Measured quantities

Every quantity that upbench measures, under the one name that the whole command line knows it by: `--columns` and
`--metrics` of tables, `--metric`, `--x` and `--y` of pictures, `--max`, `--min` and `--tolerance` of gates. CSV and JSON
have it in the column named here, in SI base units: seconds, bytes, counts. A record holds it, or what it is computed
from, in the field named here; null is unknown, never 0.

This page is made from `upbench/metrics.py` by `upbench list --metrics > docs/quantities.md`.

| Name | What it is | Unit | Better | How sure | Column in CSV and JSON | Field of the record |
|---|---|---|---|---|---|---|
"""
"""The text of the page above the table of quantities."""


def page() -> str:
    """Return the page of all measured quantities as Markdown."""
    rows = "\n".join(f"| {' | '.join(_row(metric))} |" for metric in metrics.METRICS.values())
    return f"{HEAD}{rows}\n\n{_gates()}\n\n{_comparable()}\n\n{_spellings()}\n"


def _row(metric: Metric) -> list[str]:
    sure = "exact" if metric.exact else "95 % interval" if metric.samples else "no interval"
    shown = [f"`{metric.name}`", metric.help, metric.unit.name, metric.better or "", sure, f"`{metric.key}`"]
    return [*shown, f"`{metric.field}`"]


def _gates() -> str:
    bounds, compared = ", ".join(metrics.with_evidence()), ", ".join([*metrics.compared(), "output-digest"])
    return (
        f"**Bounds** (`--max`, `--min`) and effects of axes are of what is exact or has an interval: {bounds}. "
        f"**Baselines** and `upbench diff` compare exactly: {compared}."
    )


def _comparable() -> str:
    """What must agree before values of two runs are compared."""
    by_keys: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for metric in metrics.METRICS.values():
        by_keys.setdefault((metric.comparable_on, metric.comparable_on_gpu), []).append(metric.name)
    lines = [
        f"- {', '.join(keys)}{'; on a GPU also ' if gpu else ''}{', '.join(gpu)}: {', '.join(names)}"
        for (keys, gpu), names in by_keys.items()
        if keys
    ]
    return (
        "**Values of two runs** are compared only where these agree; all others are the same on every machine.\n\n"
        + ("\n".join(lines))
    )


def _spellings() -> str:
    also = [f"`{name}` is `{m.name}`" for m in metrics.METRICS.values() for name in m.also]
    old = [f"`{name}` (now `{m.name}`)" for m in metrics.METRICS.values() for name in m.formerly]
    return (
        f"**Other spellings.** {', '.join(also)}. Read in this version only, with a word on stderr: {', '.join(old)}."
    )
