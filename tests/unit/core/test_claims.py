"""Claims: what is refused, how registers merge, and what a run's claims add up to."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.claim_agreement import Agreement, reconcile, worst
from flopmeter_core.claim_limits import CLAIMED_FLOP_LIMIT
from flopmeter_core.claim_sums import ClaimTotals, add_up, add_up_each
from flopmeter_core.claims import (
    Claim,
    ClaimCounts,
    ClaimKey,
    ClaimQuantity,
    ClaimScope,
    check_claim,
)
from flopmeter_core.errors import DataError
from flopmeter_core.interval import Figures, Interval
from flopmeter_core.recompute import factor_of, factor_or_widest, parse_recompute

RANK = ClaimScope.RANK
FLOP = 10**21 + 7


def claim(
    first: int = 1,
    last: int = 100,
    per_step: int = FLOP,
    *,
    writer: int = 0,
    count: int | None = None,
    **key: object,
) -> Claim:
    """A claim of `per_step` FLOP and 10 tokens a step."""
    steps = last - first + 1 if count is None else count
    fields = {
        "run": "a",
        "attempt": "0",
        "scope": ClaimScope.GLOBAL,
        "rank": 0,
        "writer": f"{writer:032x}",
        "pass_number": 0,
        "first_step": first,
    }
    counts = ClaimCounts(last, steps, 10 * steps, per_step * steps)
    return Claim(ClaimKey(**(fields | key)), counts)  # type: ignore[arg-type]


def flop(*claims: Claim) -> tuple[int, int]:
    """Executed and unique FLOP of claims."""
    totals = add_up(claims)
    return totals.executed_flop, totals.unique_flop


def test_global_claims_of_all_ranks_are_one() -> None:
    """Eight ranks that each state the whole run's figure state it once."""
    totals = add_up([claim(writer=writer) for writer in range(8)])
    assert totals == ClaimTotals(100 * FLOP, 100 * FLOP, 1000, 1000, 100, 100, 1, 8)


def test_the_largest_global_claim_of_a_step_counts() -> None:
    """Where processes differ, each step takes the larger claim, not the average or the sum."""
    low, high = claim(1, 100, 3), claim(51, 150, 5, writer=1)
    assert flop(low, high) == (50 * 3 + 100 * 5,) * 2


def test_rank_claims_add_up() -> None:
    """Each rank states its own share; one that is behind has only done less."""
    ranks = [claim(scope=RANK, rank=rank, writer=rank) for rank in range(7)]
    late = claim(1, 98, scope=RANK, rank=7, writer=7)
    assert flop(*ranks, late) == ((7 * 100 + 98) * FLOP,) * 2
    assert add_up([*ranks, late]).executed_step_count == 100


def test_of_a_global_claim_and_the_sum_of_ranks_the_larger_counts() -> None:
    """Both state the same work: they are never added."""
    ranks = [claim(1, 100, 8, scope=RANK, rank=rank, writer=rank) for rank in range(2)]
    assert flop(*ranks, claim(1, 100, 20, writer=9)) == (2_000, 2_000)
    assert flop(*ranks, claim(1, 50, 20, writer=9)) == (50 * 20 + 50 * 16,) * 2
    assert flop(*ranks, claim(1, 100, 5, writer=9)) == (1_600, 1_600)


def test_two_processes_of_one_rank_count_once() -> None:
    """A rank stated by two processes is one rank's work."""
    both = [claim(scope=RANK, rank=3, writer=writer) for writer in range(2)]
    assert flop(*both) == (100 * FLOP, 100 * FLOP)


def test_replayed_steps_are_executed_and_not_unique() -> None:
    """A restart from a checkpoint, and a rollback within an attempt, repeat steps."""
    restart = claim(81, 200, attempt="1", writer=1)
    rollback = claim(151, 160, attempt="1", writer=1, pass_number=1)
    assert flop(claim(), restart, rollback) == ((100 + 120 + 10) * FLOP, 200 * FLOP)
    totals = add_up([claim(), restart, rollback])
    assert (totals.executed_step_count, totals.unique_step_count) == (230, 200)
    assert totals.attempt_count == 2


def test_another_number_of_ranks_after_a_restart() -> None:
    """Replayed steps count as often as before, however many ranks share them."""
    before = [claim(1, 100, 10, scope=RANK, rank=r, writer=r) for r in range(8)]
    after = [claim(51, 100, 20, scope=RANK, rank=r, writer=9 + r, attempt="1") for r in range(4)]
    assert flop(*before, *after) == (80 * 150, 80 * 100)


def test_uneven_shares_are_exact() -> None:
    """FLOP that no number of steps divides are not lost in shares."""
    whole = [
        replace(claim(1, 7, scope=RANK, rank=r), counts=ClaimCounts(7, 7, 5, 10**25 + r))
        for r in range(64)
    ]
    assert flop(*whole) == (sum(10**25 + r for r in range(64)),) * 2


LABELS = st.builds(
    claim,
    first=st.integers(0, 20),
    last=st.integers(20, 40),
    per_step=st.integers(0, 10**22),
    writer=st.integers(0, 3),
    count=st.integers(1, 1),
    scope=st.just(RANK),
    rank=st.integers(0, 2),
    attempt=st.sampled_from("01"),
    pass_number=st.integers(0, 2),
)


@given(claims=st.lists(LABELS, min_size=1, max_size=12), data=st.data())
def test_order_and_repetition_change_nothing(claims: list[Claim], data: st.DataObject) -> None:
    """Claims are a set; unique never passes executed, and one pass has both alike."""
    shuffled = data.draw(st.permutations(claims + claims[:3]))
    executed, unique = flop(*claims)
    assert flop(*shuffled) == (executed, unique)
    assert unique <= executed
    if len({(c.key.attempt, c.key.pass_number) for c in claims}) == 1:
        assert unique == executed


@given(claims=st.lists(LABELS, min_size=1, max_size=8))
def test_against_step_by_step(claims: list[Claim]) -> None:
    """The same as adding every single step by the rule."""
    executed = unique = Fraction(0)
    for step in range(41):
        passes: dict[object, dict[int, Fraction]] = {}
        for each in claims:
            if each.key.first_step <= step <= each.counts.last_step:
                length = each.counts.last_step - each.key.first_step + 1
                ranks = passes.setdefault((each.key.attempt, each.key.pass_number), {})
                share = Fraction(each.counts.compute_flop, length)
                ranks[each.key.rank] = max(share, ranks.get(each.key.rank, share))
        sums = [sum(ranks.values(), Fraction(0)) for ranks in passes.values()]
        executed += sum(sums, Fraction(0))
        unique += max(sums, default=Fraction(0))
    found = flop(*claims)
    nearest = Fraction(1, 2) + Fraction(1, 2**60)  # a half may go either way
    assert abs(found[0] - executed) <= nearest
    assert abs(found[1] - unique) <= nearest


COUNTS = st.builds(ClaimCounts, *[st.integers(0, 10**9)] * 4)


@given(a=COUNTS, b=COUNTS, c=COUNTS)
def test_states_of_a_register_merge_in_any_order(
    a: ClaimCounts, b: ClaimCounts, c: ClaimCounts
) -> None:
    """The merge is associative, commutative and idempotent."""
    assert a.joined(b) == b.joined(a)
    assert a.joined(b).joined(c) == a.joined(b.joined(c))
    assert a.joined(a) == a


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"run": ""}, "the name of a run has 1 to 200"),
        ({"run": "a,b"}, "may hold printable characters"),
        ({"model": "m\n"}, "the name of a model may hold"),
        ({"attempt": ""}, "the attempt of a claim has 1 to 100"),
        ({"writer": "x"}, "32 hexadecimal digits"),
        ({"rank": 1}, "0 when it is global"),
        ({"scope": RANK, "rank": -1}, "has rank 0 to"),
        ({"pass_number": 10_001}, "the pass of a claim"),
        ({"first_step": -1}, "must ascend"),
        ({"first_step": 101}, "must ascend"),
        ({"format_mix": "fp7"}, "unknown number format"),
        ({"format_mix": "bf16=1" + " " * 100}, "at most 100 printable"),
        ({"activity": "Training!"}, "one word in small letters"),
    ],
)
def test_a_key_that_cannot_be_true(wrong: dict[str, object], sentence: str) -> None:
    """Each field is held to its rule, with one sentence."""
    good = claim()
    check_claim(good)
    with pytest.raises(DataError, match=sentence):
        check_claim(replace(good, key=replace(good.key, **wrong)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"last_step": 1 << 62}, "must ascend"),
        ({"step_count": 0}, "at least one step"),
        ({"step_count": 101}, "no more than its stretch"),
        ({"token_count": -1}, "tokens"),
        ({"compute_flop": -1}, "negative or beyond"),
        ({"compute_flop": CLAIMED_FLOP_LIMIT}, "negative or beyond"),
    ],
)
def test_counts_that_cannot_be_true(wrong: dict[str, int], sentence: str) -> None:
    """Impossible counts are refused; a mere lie is not."""
    good = claim()
    check_claim(replace(good, counts=replace(good.counts, compute_flop=CLAIMED_FLOP_LIMIT - 1)))
    with pytest.raises(DataError, match=sentence):
        check_claim(replace(good, counts=replace(good.counts, **wrong)))


METERED = Figures(Interval(50, 90, 100, 110, 1_000), unobserved_ceiling=10).total
EXACT = factor_of(parse_recompute("none"), activity=None, workload=None)
"""Nothing is recomputed: model FLOP are executed FLOP."""


@pytest.mark.parametrize(
    ("claimed", "agreement"),
    [
        (59, Agreement.BELOW),  # 59 x 1.5 = 88.5 < 90
        (60, Agreement.AGREES),
        (100, Agreement.AGREES),
        (180, Agreement.AGREES),  # (110 + 10) x 1.5
        (181, Agreement.ABOVE),
        (1_010, Agreement.ABOVE),
        (1_011, Agreement.IMPOSSIBLE),
    ],
)
@pytest.mark.parametrize("quantity", list(ClaimQuantity))
def test_reconcile(claimed: int, agreement: Agreement, quantity: ClaimQuantity) -> None:
    """A claim agrees within the bound of the likely range, whose upper end has unobserved time."""
    totals = add_up([claim(1, 1, claimed, quantity=quantity)])
    found = reconcile(totals, METERED, factor=EXACT, bound=1.5)
    assert (found.agreement, found.ratio) == (agreement, Fraction(claimed, 100))
    assert found.agreement.alerts == (agreement is not Agreement.AGREES)


def test_like_is_held_against_like() -> None:
    """Under full recomputation a formula's claim is 3/4 of a counted one, and both agree."""
    full = factor_of(parse_recompute("1.33..1.34"), activity=None, workload=None)
    executed = Interval(0, 3_900, 4_000, 4_100, 10_000)
    model, counted = add_up_each(
        [claim(1, 1, 4_000, quantity=ClaimQuantity.EXECUTED), claim(1, 1, 3_000)]
    )
    assert (model.quantity, counted.quantity) == (ClaimQuantity.MODEL, ClaimQuantity.EXECUTED)
    of_model = reconcile(model, executed, factor=full, bound=1.05)
    of_counted = reconcile(counted, executed, factor=full, bound=1.05)
    assert of_model.agreement is of_counted.agreement is Agreement.AGREES
    assert of_model.ratio == Fraction(3_000, round(4_000 / Fraction("1.335")))
    assert (of_counted.ratio, of_counted.metered) == (Fraction(1), executed)
    # Each as the other would contradict.
    as_executed = replace(model, quantity=ClaimQuantity.EXECUTED)
    assert reconcile(as_executed, executed, factor=full, bound=1.05).agreement is Agreement.BELOW
    as_model = replace(counted, quantity=ClaimQuantity.MODEL)
    found = reconcile(as_model, executed, factor=full, bound=1.05)
    assert found.agreement is Agreement.ABOVE
    assert worst([of_model, found]) is Agreement.ABOVE


def test_undeclared_recomputation_widens() -> None:
    """Where nobody declared it, both 3/4 and all of the executed FLOP are within the model's."""
    factor = factor_or_widest(None, activity=None, workload="dense-transformer")
    assert (factor.lower, factor.likely) == (Fraction(1), Fraction(1))
    assert factor.upper == Fraction("1.334")
    executed = Interval(0, 4_000, 4_000, 4_000, 10_000)
    for claimed, agreement in ((2_999, "agrees"), (4_000, "agrees"), (2_900, "below")):
        totals = add_up([claim(1, 1, claimed)])
        assert reconcile(totals, executed, factor=factor, bound=1.0).agreement == agreement


def test_no_flop_claimed() -> None:
    """Steps and tokens without FLOP contradict nothing."""
    found = reconcile(add_up([claim(1, 9, 0)]), METERED, factor=EXACT, bound=1.5)
    assert (found.agreement, found.ratio) == (Agreement.UNCLAIMED, None)
    assert not found.agreement.alerts


def test_reconcile_without_a_meter() -> None:
    """Where nothing was metered there is no ratio, unless physics forbids the claim."""
    totals = add_up([claim()])
    nothing = reconcile(totals, Figures().total, factor=EXACT, bound=1.5)
    assert (nothing.agreement, nothing.ratio) == (Agreement.UNMEASURED, None)
    assert not nothing.agreement.alerts
    capped = Figures(unobserved_ceiling=100 * FLOP - 1).total
    found = reconcile(totals, capped, factor=EXACT, bound=1.5)
    assert found.agreement is Agreement.IMPOSSIBLE


def test_labels_alone() -> None:
    """A claim of labels says what a run is, and counts neither work nor a process."""
    labels = Claim(
        ClaimKey("a", "1", ClaimScope.GLOBAL, 0, "0" * 32, 0, 0, model="m", format_mix="bf16=1"),
        ClaimCounts(0, 0, 0, 0),
    )
    check_claim(labels)
    assert labels.labels_only
    totals = add_up([labels])
    assert (totals.models, totals.formats) == (("m",), ("bf16=1",))
    assert (totals.executed_flop, totals.executed_step_count, totals.attempt_count) == (0, 0, 0)
    work = Claim(
        ClaimKey("a", "2", ClaimScope.GLOBAL, 0, "1" * 32, 0, 0), ClaimCounts(9, 10, 100, 1000)
    )
    both, alone = add_up([labels, work]), add_up([work])
    assert both.executed_flop == alone.executed_flop == 1000
    assert (both.executed_step_count, both.attempt_count, both.writer_count) == (10, 1, 1)
    with pytest.raises(DataError):
        check_claim(replace(labels, counts=ClaimCounts(0, 0, 1, 0)))
    with pytest.raises(DataError):
        check_claim(replace(labels, counts=ClaimCounts(5, 0, 0, 0)))
