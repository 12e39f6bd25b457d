"""A report: what each recipient is told, and that it never says more than the figures do."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from flopmeter_collector.filings.blocks import DRAFT
from flopmeter_collector.filings.document import SignOff, build
from flopmeter_collector.filings.facts import ModelFacts, OtherMethod
from flopmeter_core.claim_agreement import Agreement
from flopmeter_core.errors import DataError
from flopmeter_core.filings import FieldId, builtin_forms
from support.filings import model_facts, simulated
from support.totals import AS_OF_NS

EU = builtin_forms()["eu-ai-act"]


def report(facts: ModelFacts, recipient: str = "internal") -> Any:
    """A report of the EU's form."""
    return build(facts, EU, recipient=recipient, made_at_ns=AS_OF_NS)


def content(document: Any, field: FieldId) -> Any:
    """What the report says in one field."""
    return next(s["content"] for s in document["sections"] if s["field"] == field)


def test_every_form_can_be_told_to_each_of_its_readers() -> None:
    """No form asks for a field, or names a reader, that a report cannot serve."""
    assert set(builtin_forms()) == {"eu-ai-act", "ca-sb53", "kr-ai-basic-act"}
    for form in builtin_forms().values():
        facts = model_facts()
        known = {name: facts.counted["eu-cumulative"] for name in form.profiles}
        rules = {name: facts.profiles["eu-cumulative"] for name in form.profiles}
        facts = replace(facts, counted=known, profiles=rules)
        for recipient in form.readers:
            json.dumps(build(facts, form, recipient=recipient, made_at_ns=AS_OF_NS))


def test_two_figures_for_the_ai_office() -> None:
    """FLOP and energy have two significant figures, device days one."""
    document = report(model_facts(), "ai-office")
    first = content(document, FieldId.COMPUTE)["profiles"][0]
    assert first["everything"]["best"] == "7.1e24"
    assert first["with_permitted_exclusions"]["best"] == "7.0e24"
    assert content(document, FieldId.ENERGY)["measured"][0]["energy_mwh"] == "120000"
    assert content(document, FieldId.HARDWARE_TIME)["devices"][0]["hardware_days"] == "20000"


def test_one_more_figure_where_two_would_touch_the_line() -> None:
    """9.96e24 would read 1.0e25, which is the line it is below."""
    document = report(model_facts(best=9_960_000 * 10**18, evaluation=0), "ai-office")
    assert content(document, FieldId.COMPUTE)["profiles"][0]["everything"]["best"] == "9.96e24"


def test_the_authority_learns_the_order_of_magnitude_and_nothing_else_of_the_compute() -> None:
    """No digit of an exact count is left anywhere in what a national authority gets."""
    facts = model_facts(best=7_123_456_789 * 10**15)
    document = report(facts, "authority")
    assert content(document, FieldId.COMPUTE)["profiles"][0]["everything"] == {
        "best": "10^24 to 10^25"
    }
    assert content(document, FieldId.STANDING) is None
    assert content(document, FieldId.TRAINING_TIME) == {"range": "1 to 3 months"}
    text = json.dumps(document)
    assert "7123" not in text and "7.1" not in text


def test_a_downstream_provider_learns_the_lineage_only() -> None:
    """Every other field is withheld and says so."""
    told = [s["field"] for s in report(model_facts(), "downstream")["sections"] if s["content"]]
    assert told == ["dependencies"]


@pytest.mark.parametrize(("spread", "meets"), [(20, "yes"), (30, "yes"), (31, "not_shown")])
def test_margin(spread: int, meets: str) -> None:
    """30 % is shown where the whole likely range lies within it, to the percent."""
    margin = content(report(model_facts(spread=spread)), FieldId.COMPUTE)["margin"]
    assert margin["meets_30_percent"] == meets


def test_margin_contradicted_by_another_method() -> None:
    """Scripts that count twice as much, beyond the meter's range, make it a no."""
    facts = model_facts()
    metered = facts.runs[0].figures.total
    other = OtherMethod("atlas-pretrain", "executed", metered.best * 2, metered, Agreement.ABOVE)
    facts = replace(facts, other_methods=(other,))
    assert content(report(facts), FieldId.COMPUTE)["margin"]["meets_30_percent"] == "no"


def test_both_quantities_of_the_eu_stand_side_by_side() -> None:
    """Cumulative compute first, updates beside it; evaluation may be left out of the first."""
    rows = content(report(model_facts()), FieldId.COMPUTE)["profiles"]
    assert [row["quantity"] for row in rows] == [
        "cumulative training compute",
        rows[1]["quantity"],
    ]
    assert rows[0]["everything"]["best_flop_str"] == str(7_100_000 * 10**18)
    assert rows[0]["by_verdict"]["may_exclude"] == "1.0e23"


def test_a_draft_until_somebody_signs() -> None:
    """Only a name takes the words away that it is a draft."""
    assert report(model_facts())["standing_words"] == DRAFT
    signed: Any = build(
        model_facts(),
        EU,
        recipient="internal",
        made_at_ns=AS_OF_NS,
        sign_off=SignOff("Ada Example", AS_OF_NS),
    )
    assert signed["standing_words"].startswith("signed off by Ada Example on 2026-")


def test_unknown_recipient() -> None:
    """The sentence names those there are."""
    with pytest.raises(DataError, match="form eu-ai-act has no recipient 'press'; it has internal"):
        report(model_facts(), "press")


def test_simulated_is_marked() -> None:
    """A made-up figure says so in the document."""
    assert report(simulated(model_facts()))["simulated"] is True


def test_no_field_tells_more_than_the_compute_field() -> None:
    """Whoever is told two figures, a magnitude or nothing finds no exact count anywhere."""
    facts = model_facts(best=7_123_456_789 * 10**15)
    metered = facts.runs[0].figures.total
    other = OtherMethod("atlas-pretrain", "executed", metered.best, metered, Agreement.AGREES)
    facts = replace(facts, other_methods=(other,))
    entered = replace(facts.externals[0], interval=metered)
    facts = replace(facts, externals=(entered,))
    exact = {str(metered.best), str(metered.ceiling)}
    for recipient in ("ai-office", "authority", "downstream"):
        text = json.dumps(report(facts, recipient))
        assert not [digits for digits in exact if digits in text], recipient
        assert "flop_str" not in text.replace("value_flop_str", "")
    assert "Example Ltd" not in json.dumps(report(facts, "downstream"))
    whole = json.dumps(report(facts))
    assert all(digits in whole for digits in exact)


def test_a_bound_is_never_told_too_small() -> None:
    """What could be added is rounded up, to a power of ten as well."""
    facts = replace(model_facts(), unattributed_upper_flop=99 * 10**21)
    told = content(report(facts, "authority"), FieldId.COMPUTE)
    assert told["unattributed_could_add"] == "10^23"
