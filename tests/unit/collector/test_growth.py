"""What keys grow by, added first and weighed once, makes the sums that each key's vectors make."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flopmeter_collector.declarations import parse_run_declaration
from flopmeter_collector.ledger.base import StoredVector
from flopmeter_collector.totals import Totals
from flopmeter_core.registers import COMPONENT_COUNT, Key, Vector
from support.grown import DECLARATIONS, KEYS, branch, seen
from support.totals import busy_vector, feed, table

numbers = st.sampled_from(range(len(KEYS)))
amounts = st.lists(st.integers(0, 10**12), min_size=COMPONENT_COUNT, max_size=COMPONENT_COUNT).map(
    tuple
)
grown = st.tuples(st.just("grow"), numbers, amounts)
forked = st.tuples(st.just("fork"), numbers, st.just(()))
declared = st.tuples(st.just("declare"), st.sampled_from(range(len(DECLARATIONS))), st.just(()))
looked_at = st.just(("look", 0, ()))
steps = st.lists(st.one_of(grown, grown, grown, forked, declared, looked_at), max_size=40)


@given(steps)
def test_growth_is_exact(steps: list[tuple[str, int, Vector]]) -> None:
    """Whatever grows, forks and is declared in between, the sums are those of the last vectors."""
    totals = Totals(table())
    newest: dict[Key, tuple[Vector, ...]] = {}
    records = dict(KEYS)
    said = []
    for what, which, more in steps:
        if what == "declare":
            said.append(which)
            totals.declare(parse_run_declaration(*DECLARATIONS[which]))
        elif what == "look":
            seen(totals)
        else:
            key, record = KEYS[which]
            held, *_ = newest.get(key, ((0,) * COMPONENT_COUNT,))
            if what == "fork":
                newest[key] = (held, branch(held))
            else:
                newest[key] = (tuple(map(sum, zip(held, more, strict=True))),)
            feed(totals, key, record, *newest[key])
    again = Totals(table())
    for number in said:
        again.declare(parse_run_declaration(*DECLARATIONS[number]))
    for key, vectors in newest.items():
        feed(again, key, records[key], *vectors)
    assert seen(totals) == seen(again)
    for key in newest:
        assert totals.allocation_flop(key.allocation) == again.allocation_flop(key.allocation)


def test_a_key_that_only_grows_is_not_weighed_by_itself() -> None:
    """Between two looks the usual key adds its difference; that is what makes a report cheap."""
    totals = Totals(table())
    key, record = KEYS[0]
    feed(totals, key, record, busy_vector(10))
    before = seen(totals).runs[0].account.figures
    for seconds in range(11, 20):
        feed(totals, key, record, busy_vector(seconds))
    (growth,) = (each for each in totals._sums["a"].growths.values() if each.grown)
    assert growth.vector == [
        after - first for after, first in zip(busy_vector(19), busy_vector(10), strict=True)
    ]
    assert seen(totals).runs[0].account.figures != before
    assert not growth.grown


def test_a_key_is_new_once() -> None:
    """Whoever counts keys in slices is told which cost more: those that are counted first."""
    totals = Totals(table())
    key, record = KEYS[0]
    rows = [StoredVector(key, 0, 1, busy_vector(1)), StoredVector(key, 0, 2, busy_vector(2))]
    assert totals.update(key, record, rows[:1])
    assert not totals.update(key, record, rows[1:])
