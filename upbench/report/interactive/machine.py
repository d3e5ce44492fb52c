"""The machine of each group of results, and its noise."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from upbench import units
from upbench.records.record import Record
from upbench.report.tables.result_set import ResultSet, noise_floor

_FACTS: tuple[tuple[str, str], ...] = (
    ("device", "Device"),
    ("cpu", "CPU"),
    ("cores", "Cores"),
    ("cores_usable", "Cores that may be used"),
    ("threads", "Threads"),
    ("system", "System"),
    ("torch", "torch"),
    ("cuda", "CUDA"),
    ("kernels", "C kernels"),
    ("python", "Python"),
    ("upbench", "upbench"),
    ("measurement_version", "Version of the measurement"),
)


def table(results: ResultSet) -> str:
    """Return the facts of each machine as HTML.

    Args:
        results: The results of a section.
    """
    columns = [_facts(group.records) for group in results.groups]
    names = list(dict.fromkeys(name for facts in columns for name in facts))
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(facts.get(name, units.DASH))}</td>" for facts in columns)}</tr>'
        for name in names
    )
    return (
        '<details class="machine"><summary>Machine and noise</summary><div class="wide"><table>'
        f"<tbody>{rows}</tbody></table></div></details>"
    )


def _facts(records: Sequence[Record]) -> dict[str, str]:
    """What is known of a machine, every value that its records have."""
    facts: dict[str, str] = {}
    for key, name in _FACTS:
        values = dict.fromkeys(str(v) for r in records if (v := r.environment.value(key)) is not None)
        if values:
            facts[name] = ", ".join(values)
    memory = {v for r in records if (v := r.environment.memory_bytes) is not None}
    if memory:
        facts["Memory"] = ", ".join(units.mebibytes(v) for v in sorted(memory))
    loads = [v for r in records if (v := r.environment.load) is not None]
    if loads:
        facts["Load while it was measured"] = (
            f"{min(loads):.1f} to {max(loads):.1f}" if len(set(loads)) > 1 else f"{loads[0]:.1f}"
        )
    floor = noise_floor(records)
    facts["Noise floor"] = (
        "not measured; `upbench env --calibrate` does".replace("`", "") if floor is None else f"{units.percent(floor)}"
    )
    return facts
