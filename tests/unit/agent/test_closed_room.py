"""Adding up closed registers: exact to the sub-unit, and each fraction stays with its owner."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_agent.accumulate import CarryOwner, carry_owner
from flopmeter_agent.closed_room import KEPT_NS, Room, added_up
from flopmeter_agent.closed_rows import Carries, ClosedRegister, Rows
from flopmeter_core.allocations import OVERFLOW
from flopmeter_core.registers import COMPONENT_COUNT, SUBUNITS, Component, Key
from support.closed_registers import incarnation, stored

NEW = incarnation(99)
BUSY = Component.BUSY_MEGACYCLES
UNIT = SUBUNITS[BUSY]


def row(
    of: int, run: int, *, device: int = 0, sent: bool = False, boot: str = "boot"
) -> ClosedRegister:
    """A row of an incarnation and a user."""
    left = stored(of, device=device, run=run)
    return ClosedRegister(left.key, 5, left.register.units, boot, sent, boot_ns=of)


def fraction(subunits: int) -> list[int]:
    """What is below one unit in one component."""
    return [subunits if place == BUSY else 0 for place in range(COMPONENT_COUNT)]


def totals(
    rows: Mapping[Key, ClosedRegister], carries: Carries, *, by_user: bool
) -> dict[Hashable, int]:
    """Sub-units of every device, or of every user of one."""
    sums: dict[Hashable, int] = defaultdict(int)

    def add(owner: CarryOwner, subunits: int) -> None:
        sums[owner if by_user else owner[0]] += subunits

    for key, each in rows.items():
        add(carry_owner(key), each.units[BUSY] * UNIT)
    for owner, carry in carries.items():
        add(owner, carry[BUSY])
    return dict(sums)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.integers(0, 3),
            st.booleans(),
            st.sampled_from(["boot", "earlier"]),
        ),
        max_size=12,
    ),
    st.lists(st.sampled_from([0, 1, UNIT // 2, UNIT - 1]), min_size=8, max_size=8),
    st.booleans(),
)
def test_sums_are_exact(
    parts: list[tuple[int, int, bool, str]], below: list[int], overflow: bool
) -> None:
    """Whatever is added up: nothing is lost or doubled, and what has a row keeps its fraction."""
    rows = {}
    for of, (device, run, sent, boot) in enumerate(parts):
        each = row(of, run, device=device, sent=sent, boot=boot)
        rows[each.key] = each
    carries = {
        carry_owner(key): fraction(below[4 * int(key.device[-1]) + int(key.allocation[-1])])
        for key in rows
    }
    carries = {owner: carry for owner, carry in carries.items() if any(carry)}
    kept, fractions = added_up(rows, carries, "boot", NEW, overflow=overflow)
    assert totals(kept, fractions, by_user=False) == totals(rows, carries, by_user=False)
    if not overflow:
        assert totals(kept, fractions, by_user=True) == totals(rows, carries, by_user=True)
    owners = {carry_owner(key) for key in kept}
    assert fractions.keys() <= owners
    assert all(0 < carry[BUSY] < UNIT for carry in fractions.values())
    for key, each in rows.items():
        if each.sent or each.boot_id != "boot":
            assert kept[key] is each
        if carry_owner(key) in owners:
            assert fractions.get(carry_owner(key)) == carries.get(carry_owner(key))


def test_fractions_that_make_a_unit() -> None:
    """Halves of two users are one unit of the sum, and nothing is left beside it."""
    rows = {each.key: each for each in (row(1, 0), row(2, 1))}
    carries = {carry_owner(key): fraction(UNIT // 2) for key in rows}
    kept, fractions = added_up(rows, carries, "boot", NEW, overflow=True)
    ((key, whole),) = kept.items()
    assert (key.allocation, key.incarnation, fractions) == (OVERFLOW, NEW, {})
    assert whole.units[BUSY] == sum(each.units[BUSY] for each in rows.values()) + 1
    assert (whole.sequence, whole.boot_id, whole.sent, whole.boot_ns) == (1, "boot", False, 2)


def test_a_fraction_of_another_length_is_refused() -> None:
    """It is of another version's components, and is never cut."""
    rows = {each.key: each for each in (row(1, 0), row(2, 1))}
    carries = {carry_owner(key): fraction(1)[:-1] for key in rows}
    with pytest.raises(ValueError, match="argument"):
        added_up(rows, carries, "boot", NEW, overflow=True)


def room(limit: int) -> Room:
    """A room in which every row and every fraction takes 100 bytes."""

    def spelled(rows: Rows, carries: Carries) -> bytes:
        return bytes(100 * (len(rows) + len(carries)))

    return Room(limit, spelled)


@pytest.mark.parametrize(("count", "gone"), [(11, 4), (12, 5), (16, 9)])
def test_a_quarter_of_the_room_is_made_free(count: int, gone: int) -> None:
    """By the rows that the root had first, and no more of them than it takes."""
    rows = {
        each.key: replace(each, sent=True, root_up_ns=up_ns)
        for up_ns, each in enumerate(reversed([row(of, 0) for of in range(count)]))
    }
    of = room(1_000)
    made = of.make(rows, {}, boot_id="boot", draw=lambda: NEW, up_ns=count)
    assert made == (dict([*rows.items()][gone:]), {})
    assert (of.counters.let_go_early, of.counters.added_up, of.counters.overflowed) == (gone, 0, 0)


def test_what_fits_stays() -> None:
    """Up to the last byte; only what the root had for 90 days goes."""
    rows = {each.key: each for each in (row(of, of) for of in range(4))}
    over = replace(row(9, 9), sent=True, root_up_ns=5)
    of = room(400)
    made = of.make(
        {**rows, over.key: over}, {}, boot_id="boot", draw=lambda: NEW, up_ns=KEPT_NS + 6
    )
    assert made == (rows, {})
    assert (of.counters.let_go_early, of.counters.added_up, of.counters.overflowed) == (0, 0, 0)
    kept = room(500).make(
        {**rows, over.key: over}, {}, boot_id="boot", draw=lambda: NEW, up_ns=KEPT_NS + 5
    )
    assert kept == ({**rows, over.key: over}, {})
