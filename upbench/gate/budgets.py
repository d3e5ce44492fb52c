"""Budgets: bounds on metrics, from flags or a YAML file, and whether records keep them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from upbench import conventions, metrics, units
from upbench.analysis import rounds
from upbench.errors import SpecError, suggestion
from upbench.gate import amounts
from upbench.gate.amounts import Amount
from upbench.gate.outcome import Finding, Result
from upbench.metrics import Metric
from upbench.records.record import Record
from upbench.specs.yaml_file import told

SIDES = ("max", "min")
"""The two kinds of bounds, which are the keys of a budgets file and the names of the options."""


@dataclass(frozen=True)
class Bound:
    """A bound on one metric.

    Args:
        side: Which bound it is, "max" or "min".
        metric: The metric that is bounded.
        amount: The value or the factor of a reference.
        upsampler: Label or name of the upsampler that must keep it; None for all of them.
        source: Where it was written, for messages.
    """

    side: str
    metric: Metric
    amount: Amount
    upsampler: str | None
    source: str

    @property
    def gate(self) -> str:
        """The name of the gate, as "max params"."""
        return f"{self.side} {self.metric.name}"


@dataclass(frozen=True)
class Budgets:
    """All bounds and tolerances of one run.

    Args:
        bounds: The bounds, in the order in which they were given.
        tolerance: By name of a metric, the part of a value that it may exceed; None where the metric is not compared.
    """

    bounds: tuple[Bound, ...] = ()
    tolerance: Mapping[str, Fraction | None] = field(default_factory=dict)


def parse(
    maximum: Sequence[str], minimum: Sequence[str], tolerances: Sequence[str], data: Mapping[Any, Any], source: str
) -> tuple[Budgets, list[str]]:
    """Read the values of --max, --min and --tolerance, and the mapping of a budgets file, which flags add to.

    Args:
        maximum: values of --max, as "params=40k" or "carafe.params=40k".
        minimum: values of --min.
        tolerances: values of --tolerance, as "peak-memory=1%".
        data: content of a budgets file; empty where there is none.
        source: name of that file for messages.

    Returns:
        What can be understood, and a sentence for every mistake.
    """
    reader = _Reader(source)
    reader.mapping(data, None, "")
    for side, texts in zip(SIDES, (maximum, minimum), strict=True):
        for text in texts:
            reader.bound_flag(side, text)
    for text in tolerances:
        reader.tolerance_flag(text)
    return Budgets(tuple(reader.bounds), reader.tolerance), reader.mistakes


class _Reader:
    """Collects bounds and tolerances from flags and a file, and a sentence for each that cannot be understood."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.bounds: list[Bound] = []
        self.tolerance: dict[str, Fraction | None] = {}
        self.mistakes: list[str] = []

    def mapping(self, content: Mapping[Any, Any], upsampler: str | None, prefix: str) -> None:
        """Read a budgets file, or its part about one upsampler, whose keys stand under `prefix`."""
        for key, values in content.items():
            where = told(self.source, f"{prefix}{key}", f"{prefix}{key}")
            known = (*SIDES, *(("tolerance", "upsamplers") if upsampler is None else ()))
            if key not in known:
                self.mistakes.append(f"{where}: unknown key; known: {', '.join(known)}{suggestion(str(key), known)}")
            elif not isinstance(values, Mapping):
                self.mistakes.append(f"{where} is {values!r}, but must be a mapping")
            elif key == "upsamplers":
                self._upsamplers(values)
            else:
                for name, value in values.items():
                    where = told(self.source, f"{prefix}{key}.{name}", f"{prefix}{key}.{name}")
                    if key == "tolerance":
                        self._add(where, self._tolerance, str(name), value)
                    else:
                        self._add(where, self._bound, str(key), str(name), value, upsampler, self.source)

    def bound_flag(self, side: str, text: str) -> None:
        """Read one value of --max or --min."""
        where = f"--{side} {text}"
        left, value = _sides(text)
        if not value.strip() or not left.strip():
            self.mistakes.append(
                f"{where}: is not METRIC=VALUE; write --{side} params=40k or --{side} carafe.params=40k"
            )
            return
        upsampler, _, name = left.strip().rpartition(".")
        self._add(where, self._bound, side, name, value, upsampler or None, where)

    def tolerance_flag(self, text: str) -> None:
        """Read one value of --tolerance."""
        name, equals, value = text.partition("=")
        if not equals:
            self.mistakes.append(f"--tolerance {text}: is not METRIC=VALUE; write --tolerance peak-memory=1%")
            return
        self._add(f"--tolerance {text}", self._tolerance, name.strip(), value)

    def _upsamplers(self, parts: Mapping[Any, Any]) -> None:
        for name, own in parts.items():
            if isinstance(own, Mapping):
                self.mapping(own, str(name), f"upsamplers.{name}.")
            else:
                self.mistakes.append(
                    told(self.source, f"upsamplers.{name} is {own!r}, but must be a mapping with max or min")
                )

    def _add(self, where: str, add: Callable[..., None], *arguments: object) -> None:
        try:
            add(*arguments)
        except SpecError as error:
            self.mistakes.extend(f"{where}: {sentence}" for sentence in error.mistakes)

    def _bound(self, side: str, name: str, value: object, upsampler: str | None, where: str) -> None:
        metric = amounts.bounded(name)
        self.bounds.append(Bound(side, metric, amounts.amount(metric, _text(value)), upsampler, where))

    def _tolerance(self, name: str, value: object) -> None:
        metric = amounts.tolerated(name)
        part = amounts.tolerance("off" if value is False else _text(value))
        if not metric.unit.numeric and part is not None:
            raise SpecError([f"{metric.name} is the same or it is not; its only tolerance is off"])
        self.tolerance[metric.name] = part


def _sides(text: str) -> tuple[str, str]:
    """Cut "ldaaqu:theta=5.params=40k" into "ldaaqu:theta=5.params" and "40k": after a metric, since labels have an = too."""
    cuts = [n for n, letter in enumerate(text) if letter == "="]
    of_metrics = [n for n in cuts if metrics.is_known(text[:n].rpartition(".")[2])]
    at = next(iter(of_metrics or cuts), len(text))
    return text[:at], text[at + 1 :]


def resolve(
    budgets: Budgets, typed: Sequence[str], names: Sequence[str], labels: Sequence[str]
) -> tuple[Budgets, list[str]]:
    """Replace every name of an upsampler by the label that it stands for in this run.

    A name that several upsamplers share binds each of them, but cannot be a reference.

    Args:
        budgets: The bounds as written.
        typed: What was typed for each upsampler of the run.
        names: The registered names of the same upsamplers, in the same order.
        labels: Their labels, in the same order.

    Returns:
        The bounds under labels, and a sentence for every name that is not in the run.
    """
    mistakes: list[str] = []
    bounds: list[Bound] = []
    known = sorted({*names, *labels})

    def hits(name: str) -> list[str]:
        return [lab for t, n, lab in zip(typed, names, labels, strict=True) if name in (t, n, lab)]

    for bound in budgets.bounds:
        whom: list[str | None] = [None] if bound.upsampler is None else [*dict.fromkeys(hits(bound.upsampler))]
        if not whom:
            mistakes.append(
                f"{bound.source}: {bound.upsampler!r} is not among the compared upsamplers ({', '.join(known)})"
                f"{suggestion(str(bound.upsampler), known)}"
            )
        amount = bound.amount
        if amount.reference is not None:
            own = amount.reference in labels  # a label means its upsampler alone, though others may have its name
            references = [amount.reference] if own else [*dict.fromkeys(hits(amount.reference))]
            if len(references) != 1:
                why = (
                    f"means {len(references)} of the compared upsamplers; write its label"
                    if references
                    else "is not among the compared upsamplers; add it, since a ratio is taken within one run"
                )
                mistakes.append(f"{bound.source}: the reference {amount.reference!r} {why} ({', '.join(known)})")
                continue
            amount = Amount(amount.text, amount.value, references[0])
        bounds += [Bound(bound.side, bound.metric, amount, label, bound.source) for label in whom]
    return Budgets(tuple(bounds), budgets.tolerance), mistakes


def judge(budgets: Budgets, records: Sequence[Record], convention: str = conventions.DEFAULT) -> list[Finding]:
    """Judge every bound on every record that it binds; the reference of a ratio is not bound by it.

    Args:
        budgets: Bounds under labels, as `resolve` returns them.
        records: The records of one comparison.
        convention: Counting convention of MACs and parameters, as "F3,P0".

    Returns:
        A finding for each bound on each record.
    """
    by_label = {record.label: record for record in records}
    counted = metrics.under(convention)
    findings = []
    for bound in budgets.bounds:
        reference = by_label[bound.amount.reference] if bound.amount.reference else None
        for record in records:
            if record is reference or bound.upsampler not in (None, record.label):
                continue
            if bound.metric.exact:
                part = budgets.tolerance.get(bound.metric.name, Fraction(0))
                findings.append(_exact(bound, counted[bound.metric.name], record, reference, part))
            else:
                findings.append(_timed(bound, record, reference))
    return findings


def _exact(
    bound: Bound, metric: Metric, record: Record, reference: Record | None, tolerance: Fraction | None
) -> Finding:
    amount = bound.amount
    value = metric.read(record)
    base = metric.read(reference) if reference else 1
    judged = [r for r in (record, reference) if r is not None and metric.name.startswith("macs")]
    incomplete = [r.incomplete for r in judged if r.incomplete]
    if incomplete and tolerance is not None:
        sentence = f"{incomplete[0]}; no bound can be kept on it, and --tolerance {metric.name}=off leaves it out"
        return Finding(bound.gate, record.label, Result.failed, sentence, value)
    if value is None or base is None:
        whose = record.label if value is None else str(amount.reference)
        result = Result.failed if judged else Result.unsure  # a count that is missing is no evidence of a small one
        return Finding(bound.gate, record.label, result, f"{metric.name} of {whose} is not known here")
    if tolerance is None:
        return Finding(bound.gate, record.label, Result.note, "not judged; its tolerance is off", value)
    limit = amount.value * base
    edge = limit * (1 + tolerance) if bound.side == "max" else limit * (1 - tolerance)
    broken = value > edge if bound.side == "max" else value < edge
    shown, limited = metric.unit.in_full(value), f"{bound.side} {_limit(bound, limit)}"
    slack = f" and its tolerance of {float(100 * tolerance):g} %" if tolerance else ""
    if not broken:
        sentence = f"{shown} keeps {limited}{slack}; exact"
        return Finding(bound.gate, record.label, Result.passed, sentence, value, float(limit))
    over = abs(value - limit)
    part = f", {units.percent(float(over / limit))}" if limit else ""
    sign = ">" if bound.side == "max" else "<"
    sentence = f"{shown} {sign} {_limit(bound, limit)} (by {metric.unit.in_full(over)}{part}){slack}; exact"
    return Finding(bound.gate, record.label, Result.failed, sentence, value, float(limit))


def _timed(bound: Bound, record: Record, reference: Record | None) -> Finding:
    """Judge a bound of latency on its 95 % interval: failed when all of it is beyond the limit, passed when all is within."""
    summary, few = metrics.latency_summary(record), 0
    if summary is None or record.latency is None or (reference is not None and reference.latency is None):
        return Finding(bound.gate, record.label, Result.unsure, "latency was not measured")
    limit = float(bound.amount.value)
    noise_floor = record.noise_floor or 0.0
    if reference is not None and reference.latency is not None:
        per_round = reference.latency.samples_per_round
        pair = rounds.paired(record.latency.samples_s, reference.latency.samples_s, per_round)
        value, low, high = pair.value, pair.low, pair.high
        few = 0 if pair.rounds >= rounds.T_FROM or rounds.is_far(pair, limit, noise_floor) else pair.rounds
        of = "95 % interval" if pair.rounds >= rounds.T_FROM else f"in {units.number_of(pair.rounds, 'round')}"
        shown = f"{units.ratio(value)} ({of} {units.interval(low, high)}) of {reference.label}"
        limited = f"{bound.side} {float(bound.amount.value):g}x"
    else:
        value, low, high = summary.median, summary.low, summary.high
        shown = f"{units.seconds(value)} (95 % interval {units.seconds(low)} to {units.seconds(high)})"
        limited = f"{bound.side} {units.seconds(limit)}"
    if bound.side == "max":
        broken, kept = low > limit * (1 + noise_floor), high <= limit
    else:
        broken, kept = high < limit / (1 + noise_floor), low >= limit
    broken, kept = broken and not few, kept and not few
    result = Result.failed if broken else Result.passed if kept else Result.unsure
    if broken:
        way = "above" if bound.side == "max" else "below"
        verb = f"is {units.percent(abs(value / limit - 1))} {way} {limited}; the whole interval is beyond it"
    elif kept:
        verb = f"keeps {limited}, with its whole interval"
    elif few:
        verb = f"is not judged against {limited}: {units.number_of(few, 'round')} fitted the budget, {rounds.T_FROM} are needed; raise --budget"
    else:
        verb = f"is too near {limited} to tell (noise floor {units.percent(noise_floor)}); raise --budget"
    return Finding(bound.gate, record.label, result, f"{shown} {verb}", value, limit, low, high)


def _limit(bound: Bound, limit: Fraction) -> str:
    shown = bound.metric.unit.in_full(limit)
    return f"{float(bound.amount.value):g}x of {bound.amount.reference} = {shown}" if bound.amount.reference else shown


def _text(value: object) -> str:
    """Return a value of YAML as it would be typed. Raises SpecError for anything but text and numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise SpecError([f"is {value!r}, but must be a value such as 40k"])
    return f"{value:.15g}" if isinstance(value, float) else str(value)
