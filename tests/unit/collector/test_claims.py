"""Claims at the collector: merged in any order, limited, shown beside the meter and never in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_collector import claims as claims_module
from flopmeter_collector.claims import ClaimTable, totals_of
from flopmeter_collector.config import CollectorConfig
from flopmeter_collector.declarations import parse_run_declaration
from flopmeter_collector.http.metrics import ServiceStatus, exposition
from flopmeter_collector.http.page import render_page
from flopmeter_collector.ledger.base import Declaration
from flopmeter_collector.presentation import totals_document
from flopmeter_collector.snapshot import TotalsSnapshot
from flopmeter_collector.totals import Totals
from flopmeter_core.claim_sums import ClaimTotals, add_up_each
from flopmeter_core.claims import Claim, ClaimCounts, ClaimKey, ClaimQuantity, ClaimScope
from flopmeter_core.errors import UsageError
from support.totals import (
    AS_OF_NS,
    IDS,
    POSITION,
    busy_vector,
    feed,
    h100,
    key_of,
    table,
    thresholds,
)

EXECUTED = ClaimQuantity.EXECUTED


def claim(last: int = 100, flop: int = 10**20, *, rank: int = 0, run: str = "alpha") -> Claim:
    """A rank's claim of steps 1 to `last`."""
    key = ClaimKey(run, "0", ClaimScope.RANK, rank, f"{rank:032x}", 0, 1)
    return Claim(key, ClaimCounts(last, last, 7 * last, flop))


STATES = st.lists(
    st.builds(claim, st.integers(1, 50), st.integers(0, 10**24), rank=st.integers(0, 3)),
    min_size=1,
    max_size=12,
)


@given(states=STATES, data=st.data())
def test_any_order_and_repetition(states: list[Claim], data: Any) -> None:
    """The same claims give the same totals, in whatever order and however often they come."""
    one, other = ClaimTable(), ClaimTable()
    for each in states:
        one.merge(each)
    for each in data.draw(st.permutations(states + states[:4])):
        other.merge(each)
    assert totals_of(one.take_changed()) == totals_of(other.take_changed())
    assert {c.key: c.counts for c in other.take_uncommitted()} == {
        key: counts_of(states, key) for key in {c.key for c in states}
    }


def counts_of(states: list[Claim], key: ClaimKey) -> ClaimCounts:
    """All states of a register, merged."""
    first, *others = [each.counts for each in states if each.key == key]
    for counts in others:
        first = first.joined(counts)
    return first


def test_only_changes_are_committed_and_added_up() -> None:
    """A repeated claim costs nothing; a restored one is committed already."""
    kept = ClaimTable()
    kept.restore([claim()])
    assert kept.take_uncommitted() == ()
    assert set(kept.take_changed()) == {"alpha"}
    assert kept.merge(claim()) == ""
    assert (kept.take_uncommitted(), kept.take_changed()) == ((), {})
    assert kept.merge(claim(101)) == ""
    assert kept.take_uncommitted() == (claim(101),)
    assert len(kept) == 1


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run has so many registers and the collector so many; those there are still grow."""
    monkeypatch.setattr(claims_module, "MAXIMUM_CLAIMS_PER_RUN", 2)
    monkeypatch.setattr(claims_module, "MAXIMUM_CLAIMS", 3)
    kept = ClaimTable()
    assert [bool(kept.merge(claim(rank=rank))) for rank in range(3)] == [False, False, True]
    assert "claim with scope global" in kept.merge(claim(rank=9))
    assert kept.merge(claim(run="b")) == ""
    assert "and no more" in kept.merge(claim(run="c"))
    assert kept.merge(claim(500)) == ""
    assert (len(kept), kept.refused_count) == (3, 3)


def totals(*, claim_bound: float = 1.25) -> Totals:
    """Run alpha, metered."""
    found = Totals(table(), claim_bound=claim_bound)
    record = h100()
    feed(found, key_of(record, "run:alpha"), record, busy_vector(1_000))
    return found


def claimed(flop: int, run: str = "alpha") -> tuple[ClaimTotals, ...]:
    """What claims of so many model FLOP add up to."""
    return add_up_each([claim(flop=flop, run=run)])


def snapshot(factor: float | None, **settings: float) -> TotalsSnapshot:
    """Totals with a claim of `factor` times the metered figure."""
    found = totals(**settings)
    best = found.snapshot(AS_OF_NS, POSITION).runs[0].account.figures.total.best
    if factor is not None:
        found.claim("alpha", claimed(round(best * factor)))
    return found.snapshot(AS_OF_NS, POSITION)


@pytest.mark.parametrize(
    ("factor", "agreement", "words"),
    [
        (1.0, "agrees", ""),
        (100.0, "impossible", "more than the metered devices could execute"),
        (0.001, "below", "far less than was metered"),
    ],
)
def test_beside_the_meter(factor: float, agreement: str, words: str) -> None:
    """A claim is shown, flagged where it contradicts, and moves no metered figure."""
    plain, found = snapshot(None), snapshot(factor)
    assert (found.models, found.unattributed) == (plain.models, plain.unattributed)
    assert found.unmatched_claims == ()
    (run,) = found.runs
    assert run.account == plain.runs[0].account
    assert run.agreement == agreement
    assert len(run.warnings) == bool(words)
    assert words in "".join(run.warnings)
    document: Any = totals_document(found, thresholds())
    (shown,) = document["runs"]
    assert shown["claims"]["agreement"] == agreement
    assert shown["claims"]["ratio"] == pytest.approx(factor)
    assert shown["claims"]["unique_flop_str"] == str(shown["claims"]["unique_flop"])
    page = render_page(found, thresholds())
    assert f"of metered, {agreement}" in page
    text = exposition(found, thresholds(), ServiceStatus())
    at = f'{{run="{IDS.run("alpha")}",simulated="false"}}'
    assert f"claim_discrepancy{at} {int(bool(words))}\n" in text


def test_like_against_like() -> None:
    """A formula's claim is held against model FLOP, a counted one against executed FLOP."""
    found = totals()
    full = {"recompute": "1.3..1.3"}
    found.declare(parse_run_declaration("alpha", full))
    best = found.snapshot(AS_OF_NS, POSITION).runs[0].account.figures.total.best
    counted = replace(claim(flop=best), sequence=1)
    counted = replace(counted, key=replace(counted.key, quantity=ClaimQuantity.EXECUTED))
    by_formula = claim(flop=round(best / 1.3))
    found.claim("alpha", add_up_each([counted, by_formula]))
    taken = found.snapshot(AS_OF_NS, POSITION)
    (run,) = taken.runs
    assert run.agreement == "agrees"
    document: Any = totals_document(taken, thresholds())
    shown = document["runs"][0]["claims"]
    model, executed = shown["by_quantity"]
    assert (model["quantity"], executed["quantity"]) == ("model", "executed")
    assert (model["ratio"], executed["ratio"]) == (pytest.approx(1), 1)
    assert model["metered_flop_str"] == shown["model_flop_metered_str"]
    assert executed["metered_flop_str"] == shown["executed_flop_metered_str"]
    assert shown["recompute_factor"]["source"] == "declared"
    assert shown["ratio"] == model["ratio"]
    text = exposition(taken, thresholds(), ServiceStatus())
    at = f'{{run="{IDS.run("alpha")}",simulated="false"}}'
    assert f"flopmeter_run_model_compute_flop{at} {run.model_flop.best}\n" in text
    assert f"flopmeter_run_claimed_executed_flop{at} {round(best / 1.3)}\n" in text
    assert f"flopmeter_run_claimed_operations_flop{at} {best}\n" in text
    page = render_page(taken, thresholds())
    assert "metered model:" in page
    assert "metered executed:" in page


def test_recomputation_is_no_discrepancy() -> None:
    """3/4 of the executed FLOP agree where full recomputation is declared, and not where none."""
    for mode, agreement in (("full", "agrees"), ("none", "below")):
        found = totals(claim_bound=1.0)
        found.declare(
            parse_run_declaration(
                "alpha", {"format": "bf16=1", "workload": "dense-transformer", "recompute": mode}
            )
        )
        lower = found.snapshot(AS_OF_NS, POSITION).runs[0].account.figures.total.lower
        found.claim("alpha", claimed(lower * 3 // 4 + 1))
        (run,) = found.snapshot(AS_OF_NS, POSITION).runs
        assert run.agreement == agreement
        assert "recompute" in "".join(run.warnings) or agreement == "agrees"


def test_the_bound_is_set() -> None:
    """What contradicts is for the site to say."""
    for bound, agreement in ((1.0, "below"), (1_000.0, "agrees")):
        (run,) = snapshot(0.01, claim_bound=bound).runs
        assert (run.agreement, run.claims[0].bound) == (agreement, bound)
    for wrong in (0.9, float("nan"), 1e9):
        with pytest.raises(UsageError, match="claim_bound"):
            CollectorConfig(claim_bound=wrong)


def test_a_claim_makes_no_run() -> None:
    """A run that nobody metered is listed apart: no name on the page, no series, no model."""
    plain = totals().snapshot(AS_OF_NS, POSITION)
    found = totals()
    found.claim("ghost<b>", claimed(5, run="ghost"))
    taken = found.snapshot(AS_OF_NS, POSITION)
    assert replace(taken, unmatched_claims=()) == plain
    document: Any = totals_document(taken, thresholds())
    assert document["unmatched_claims"][0]["run"] == "ghost<b>"
    text = exposition(taken, thresholds(), ServiceStatus())
    assert "flopmeter_unmatched_claims 1\n" in text
    assert "ghost" not in text + render_page(taken, thresholds())


def test_nothing_claimed() -> None:
    """Without a claim there are no series of claims, and the document says so."""
    found = snapshot(None)
    assert "flopmeter_run_claim" not in exposition(found, thresholds(), ServiceStatus())
    document: Any = totals_document(found, thresholds())
    assert document["runs"][0]["claims"] is None


def test_what_another_collector_committed_is_taken_as_committed() -> None:
    """It is merged with what is here, and this collector has nothing of it to commit."""
    table = ClaimTable()
    table.merge(claim(10, 5))
    table.take_uncommitted()
    table.take_changed()
    table.absorb([claim(4, 9), claim(2, 7, rank=1)])
    assert table.get(claim().key).counts == claim(10, 9).counts.joined(claim(4, 9).counts)
    assert len(table) == 2 and table.take_uncommitted() == ()
    assert table.take_changed()
    table.absorb([claim(4, 9)])
    assert not table.take_changed(), "what says nothing new changes nothing"


def test_claims_of_all_names_of_a_run_are_its_claims() -> None:
    """Runs that are parts of one are claimed together, each quantity for itself."""
    found = totals()
    record = h100("GPU-1")
    feed(found, key_of(record, "run:beta"), record, busy_vector(1_000))
    merge = Declaration(1, 0, "ada", "cli", "merge", "beta", {"into": "alpha", "state": "stands"})
    found.apply(merge)
    executed = Claim(
        ClaimKey("beta", "0", ClaimScope.RANK, 1, f"{1:032x}", 0, 1, quantity=EXECUTED),
        ClaimCounts(5, 5, 5, 77),
    )
    found.claim("alpha", claimed(10**20))
    found.claim("beta", add_up_each([claim(flop=3 * 10**20, run="beta"), executed]))
    (run,) = found.snapshot(AS_OF_NS, POSITION).runs
    told = {each.totals.quantity: each.totals for each in run.claims}
    assert told[ClaimQuantity.MODEL].executed_flop == 4 * 10**20
    assert told[ClaimQuantity.MODEL].attempt_count == 2
    assert told[EXECUTED].executed_flop == 77
