"""The audit of published figures: its rules on counts made by hand, and its results on the built modules."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest

from upbench import cards, registry
from upbench.cards import Setting
from upbench.conventions import Breakdown
from upbench.errors import SpecError, UpbenchError
from upbench.measure import host_counts
from upbench.papers import published
from upbench.papers.hosts import Stage
from upbench.reproduce.arithmetic import evaluate
from upbench.reproduce.audit import NOT_VERDICT, ODD_VERDICT, OTHER_VERDICT, STATED_VERDICT, Audit, Finding, audit
from upbench.reproduce.claims import Claim
from upbench.reproduce.explanations import STATED, Counting, Model, changed
from upbench.reproduce.formulas import check
from upbench.reproduce.hypotheses import hypotheses
from upbench.reproduce.rounding import NEAREST, RAISED, TRUNCATED, TWICE, agrees, odd
from upbench.reproduce.verdicts import by_verdict, chance, coincidences, distinct, mixed


def counts(upsampler: str, params: Mapping[str, Any], stage: Stage, quantity: str) -> Breakdown:
    shape = (stage.channels, stage.guide_channels, stage.scale)
    if quantity == "params":
        return host_counts.parameters(upsampler, tuple(sorted(params.items())), *shape)
    return host_counts.count(upsampler, params, *shape, stage.height, stage.width, stage.batch)


@cache
def everything() -> Audit:
    return audit([published.table(name) for name in published.names()], counts, hypotheses())


def finding(table: str, label: str, quantity: str, backbone: str | None = None) -> Finding:
    (found, *_) = [
        f
        for f in everything().findings
        if (f.claim.table, f.claim.label, f.claim.quantity) == (table, label, quantity)
        and backbone in (None, f.claim.row.backbone)
    ]
    return found


def test_rounding_knows_half_a_unit_and_no_more() -> None:
    assert agrees(1_550_000, 1_600_000, 100_000, NEAREST)
    assert agrees(1_550_000, 1_500_000, 100_000, NEAREST)
    assert not agrees(1_549_999, 1_600_000, 100_000, NEAREST)
    assert odd(398, 300, 100) == TRUNCATED
    assert odd(747, 800, 100) == TWICE
    assert odd(744, 800, 100) is None
    assert odd(39, 100, 100) == RAISED
    assert odd(139, 200, 100) is None
    assert odd(0, 100, 100) is None


@pytest.mark.parametrize(
    ("text", "value"), [("5*C*d + 4*K**2*C", 5 * 256 * 32 + 4 * 25 * 256), ("-(C - 6)/2", -125), ("2**3", 8)]
)
def test_formulas_are_arithmetic(text: str, value: int) -> None:
    assert evaluate(text, {"C": 256, "d": 32, "K": 5}) == value


@pytest.mark.parametrize(
    "text", ["__import__('os')", "C.real", "C if C else 1", "C/3", "C**99", "C +", "Q", "1/0", "1.5"]
)
def test_formulas_are_nothing_else(text: str) -> None:
    with pytest.raises(UpbenchError):
        evaluate(text, {"C": 256})


@pytest.mark.parametrize("name", [c.name for c in cards.builtin().values() if c.count_macs])
def test_counts_at_a_place_are_those_of_the_closed_form_at_its_size(name: str) -> None:
    card = registry.get(name)
    scale = card.default_scale
    found = host_counts.count(name, {}, 64, 64, scale, 160, 100, 3)
    assert card.count_macs is not None
    assert card.count_params is not None
    setting = Setting(64, 64, scale, card.defaults(), batch=3, height=160, width=100)
    macs = card.count_macs(setting)
    gathers = found.similarity + found.sampling + found.assembly + found.fusion
    assert (found.conv, gathers) == (macs.conv, macs.gather)
    alone = host_counts.parameters(name, (), 64, 64, scale)
    for part in host_counts.PARAMETERS:
        assert getattr(alone, part) == getattr(found, part)
    assert sum(getattr(alone, part) for part in host_counts.PARAMETERS) == card.count_params(setting)


def test_a_place_whose_counts_are_no_straight_line_is_counted_at_its_size() -> None:
    assert host_counts.per_pixel("resfu", {}, 64, 64, 2) is None
    two = host_counts.count("resfu", {}, 64, 64, 2, 6, 6), host_counts.count("resfu", {}, 64, 64, 2, 6, 6, 2)
    assert two[1].conv == 2 * two[0].conv


@pytest.mark.parametrize("scale", [2, 7.5, 8, 9.5, 16])
def test_small_maps_of_every_scale_give_what_a_pixel_adds(scale: float) -> None:
    found = host_counts.per_pixel("bilinear", {}, 32, 0, scale)
    assert found is not None
    assert found.sampling == 4 * 32 * scale**2


def test_what_cannot_be_built_at_a_stage_is_no_explanation() -> None:
    with pytest.raises(SpecError):
        host_counts.parameters("dysample", (("groups", 3),), 64, 64, 2)
    search = everything().search
    claim = finding("dysample/table6", "DySample", "params").claim
    assert search.sums.value(claim, Model(settings=(("groups", 3),)), Counting("P0")) is None


def test_lda_aqu_with_reduction_16_is_four_whole_modules() -> None:
    found = finding("lda-aqu/table1", "LDA-AQU*", "params")
    assert found.best is not None
    assert found.best.candidate.value == 4 * 10_250 == 41_000
    assert found.best.candidate.counting == Counting("P2")
    terms = everything().search.sums.terms("ldaaqu", found.claim.stated, found.claim.host.stages, None, Counting("P2"))
    assert terms is not None
    assert [n for _, n in terms] == [10_250] * 4


def test_carafe_is_counted_without_the_reassembly_on_faster_rcnn_and_with_it_on_segformer() -> None:
    for table, with_it, without, true in (
        ("lda-aqu/table1", "F3", "F0", "F0"),
        ("fade/readme", "F3", "F0", "F3"),
    ):
        (claim,) = [
            f.claim
            for f in everything().findings
            if (f.claim.table, f.claim.row.upsampler, f.claim.quantity) == (table, "carafe", "flops")
            and f.claim.host.name in ("faster-rcnn-r50", "segformer-b1")
        ]
        fits = {
            rule: agrees(
                everything().search.sums.value(claim, STATED, Counting(rule)) or 0, claim.delta, claim.step, NEAREST
            )
            for rule in (with_it, without)
        }
        assert fits == {with_it: true == with_it, without: true == without}
    assert finding("lda-aqu/table1", "CARAFE", "flops").verdict == STATED_VERDICT


def test_known_departures_are_found_and_named() -> None:
    for (table, label, quantity), model, rule in (
        (("sapa/table3", "SAPA-B", "flops"), Model(settings=(("embedding", 64),)), Counting("F4", "samples-at-8")),
        (("sapa/readme", "SAPA-D", "flops"), Model(settings=(("dof", "s2"),)), Counting("F4", "samples-at-8")),
        (("dysample/table4", "FADE", "flops"), Model(settings=(("gate", True),)), Counting("F4")),
        (("dysample/table4", "Deconv", "flops"), STATED, Counting("F4", "per-output-pixel")),
        (("lda-aqu/table1", "IndexNet", "flops"), Model(variant="guided-1280x832"), Counting("F1")),
        (("dysample/readme", "DySample+", "params"), STATED, Counting("P0")),
    ):
        best = finding(table, label, quantity).best
        assert best is not None
        assert (best.candidate.model, best.candidate.counting) == (model, rule), (table, label)
    assert finding("sapa/table3", "SAPA-D", "flops").verdict == ODD_VERDICT
    assert finding("sapa/readme", "PixelShuffle", "params").verdict == NOT_VERDICT
    assert any(
        "Deconv" in text for text in coincidences(finding("sapa/readme", "PixelShuffle", "params"), everything())
    )


@pytest.mark.parametrize(
    ("upsampler", "way", "each"),
    [
        ("bilinear", "interpolation-at-11", 11),
        ("bilinear", "interpolation-at-1", 1),
        ("nearest", "interpolation-at-1", 1),
        ("nearest", "interpolation-at-2", 2),
    ],
)
def test_fixed_interpolation_may_be_counted_as_other_counters_do(upsampler: str, way: str, each: int) -> None:
    stage = Stage(
        name="", channels=8, guide_channels=8, height=6, width=5, scale=2, out_height=12, out_width=10, batch=2
    )
    change = hypotheses().change(way)
    assert change.applies(upsampler)
    assert not change.applies("carafe")
    assert changed(counts(upsampler, {}, stage, "flops"), change, stage).sampling == each * 2 * 8 * 12 * 10


def test_the_stages_that_a_table_states_by_its_base_are_taken() -> None:
    found = finding("sapa-neurips/readme", "IndexNet", "params", "ResNet-50")
    names = {f.claim.host.name for f in everything().findings if f.claim.table == "sapa-neurips/readme"}
    assert "faster-rcnn-r50/three-stage" in names
    assert "faster-rcnn-r50" not in names
    assert found.value is not None


def test_verdicts_add_up_and_hold_what_they_say() -> None:
    figures = distinct(everything().findings)
    assert sum(sum(by_verdict(figures, q).values()) for q in ("params", "flops")) == len(figures)
    assert by_verdict(figures, "params")[STATED_VERDICT] > 80
    assert by_verdict(figures, "flops")[STATED_VERDICT] > 25
    for f in everything().findings:
        if f.verdict == NOT_VERDICT:
            continue
        assert f.best is not None
        assert f.best.cost <= hypotheses().departures
        if f.verdict == STATED_VERDICT:
            assert f.best.candidate.value == f.value
            assert f.best.candidate.counting == f.usual
        if f.verdict in (STATED_VERDICT, OTHER_VERDICT):
            assert 2 * abs(f.best.candidate.value - f.claim.delta) <= f.claim.step


def test_no_explanation_with_fewer_departures_was_passed_over() -> None:
    search = everything().search
    for f in everything().findings:
        every = search.explanations(f.claim, f.claim.delta)
        assert (f.best is None) == (not every)
        assert all(f.best.cost <= e.cost for e in every if f.best is not None)


def test_made_up_figures_are_seldom_reproduced() -> None:
    figures = distinct(everything().findings)
    for quantity, most in (("params", 0.08), ("flops", 0.15)):
        found = chance(everything(), figures, quantity)  # type: ignore[arg-type]
        assert found.tested > 200
        assert (found.by_verdict[STATED_VERDICT] + found.by_verdict[OTHER_VERDICT]) / found.tested < most


def test_columns_that_count_in_several_ways_are_named() -> None:
    found = {(c.table, c.quantity): {f.claim.label for f in c.others} for c in mixed(everything().findings)}
    assert found["lda-aqu/table1", "flops"] == {"SAPA-B"}
    assert found["lda-aqu/table1", "params"] == {"LDA-AQU*"}
    assert ("dysample/table6", "params") not in found


def test_printed_formulas_are_those_of_our_modules() -> None:
    found = check([published.table("sapa/table1")], host_counts.per_pixel, hypotheses())
    judged = [c for c in found if c.ours is not None]
    differing = [c for c in judged if c.ours != c.value]
    assert len(judged) > 40
    # The printed total of SAPA-D has 38Sdg where its steps add up to 36Sdg.
    assert [(c.label, c.step, c.value - (c.ours or 0)) for c in differing] == [("SAPA-D", "Total", 2 * 9 * 32 * 4)]


def test_hypotheses_are_judged() -> None:
    from upbench.reproduce.hypotheses import Hypotheses
    from upbench.specs.strict import load

    data = hypotheses().model_dump()
    data["settings"] = [{"upsampler": "sapa-b", "param": "theta", "values": [1], "why": "-"}]
    with pytest.raises(SpecError, match="sapa-b has no parameter theta"):
        load(Hypotheses, data, "here")
    data["settings"] = [{"upsampler": "sapa-x", "param": "theta", "values": [1], "why": "-"}]
    with pytest.raises(SpecError, match="unknown upsamplers: sapa-x"):
        load(Hypotheses, data, "here")


def test_remarks_are_about_figures_that_are_not_reproduced() -> None:
    missed = {
        (f.claim.table, f.claim.label, f.claim.quantity) for f in everything().findings if f.verdict == NOT_VERDICT
    }
    for remark in hypotheses().remarks:
        for table in remark.tables:
            assert (table, remark.row, remark.quantity) in missed


def test_a_table_alone_has_the_verdicts_that_it_has_among_all() -> None:
    by_place = {(f.claim.table, f.claim.number, f.claim.quantity): f for f in everything().findings}
    # Alone, without the others of its paper, the first would count P2, and the last would explain A2U by a version.
    for name in ("dysample/table8", "lda-aqu/table3", "sapa/table7"):
        table = published.table(name)
        for f in audit([table], counts, hypotheses(), published.siblings(table)).findings:
            other = by_place[name, f.claim.number, f.claim.quantity]
            assert (f.verdict, f.usual, f.value) == (other.verdict, other.usual, other.value)
            assert (f.best is None) == (other.best is None)
            if f.best and other.best:
                assert (f.best.candidate, f.best.rounding) == (other.best.candidate, other.best.rounding)


def test_a_misspelt_setting_of_a_row_is_not_taken_for_the_default() -> None:
    table = published.table("lda-aqu/table1")
    row = table.rows[9].model_copy(update={"settings": {"thet": 11, "replaced": "fpn"}})
    with pytest.raises(SpecError, match=r"rows\[0\].settings: thet is no parameter of ldaaqu; did you mean 'theta'"):
        audit([table.model_copy(update={"rows": (row,)})], counts, hypotheses())


def test_remarks_say_what_the_counts_are() -> None:
    """DySample's FLOPs of table 4 are those of a bilinear sample at 9 to 12 per value, at 8 or 13 they are not all."""
    claims = [
        f.claim
        for f in everything().findings
        if f.claim.table == "dysample/table4" and f.claim.quantity == "flops" and "dysample" in f.claim.row.upsampler
    ]
    assert len(claims) == 4

    def fits(claim: Claim, per_value: int) -> bool:
        parts = [counts(claim.row.upsampler, claim.stated, stage, "flops") for stage in claim.host.stages]
        return agrees(sum(p.conv + p.sampling * per_value // 4 for p in parts), claim.delta, claim.step, NEAREST)

    assert [n for n in range(4, 17) if all(fits(claim, n) for claim in claims)] == [9, 10, 11, 12]
    a2u = finding("lda-aqu/table1", "A2U", "flops").claim
    parts = [counts("a2u", a2u.stated, stage, "flops") for stage in a2u.host.stages]
    assert round(sum(p.hook_norm + p.activation + p.pooling for p in parts) / 1e9, 2) == 0.10
    assert round(sum(p.conv for p in parts) / 1e9, 3) == 0.398
