"""The usual case of a commit: settled as the rule of the merge does, or left to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_collector.branches import join_branches
from flopmeter_collector.held_rows import Branches
from flopmeter_collector.ledger import rows
from flopmeter_collector.ledger.base import StoredVector
from flopmeter_collector.ledger.postgres import block
from flopmeter_core.registers import COMPONENT_COUNT
from support.forms import FORMS, kernel
from support.ingest import RECORD, key

pytestmark = pytest.mark.timeout(600)

KEYS = [key(RECORD, phase=phase) for phase in range(4)]
ENTRY = st.integers(0, 2) | st.just(2**62 - 1)
VECTOR = st.tuples(ENTRY, ENTRY).map(lambda two: (*two, *[7] * (COMPONENT_COUNT - 2)))
BRANCH = st.tuples(st.integers(1, 3) | st.just(2**40 + 1), VECTOR)
SIDE = st.lists(st.lists(BRANCH, max_size=2), min_size=4, max_size=4)


def branches(number: int, told: list[tuple[int, tuple[int, ...]]]) -> Branches:
    """The branches that vectors of a key leave, as a table numbers them."""
    left: Branches = ()
    for sequence, vector in told:
        left = join_branches(left, (StoredVector(KEYS[number], 0, sequence, vector),))
    return left


@pytest.mark.parametrize("form", FORMS)
@given(there=SIDE, coming=SIDE)
def test_as_the_rule(
    form: str,
    there: list[list[tuple[int, tuple[int, ...]]]],
    coming: list[list[tuple[int, tuple[int, ...]]]],
) -> None:
    """What is settled is what the rule leaves; a key with several branches is never settled."""
    held = {number: branches(number, told) for number, told in enumerate(there)}
    came = {number: branches(number, told) for number, told in enumerate(coming) if told}
    found = [
        (number, each.branch, each.sequence, rows.pack(each.vector))
        for number, stored in held.items()
        for each in stored
        if number in came
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block, "merge_rows", kernel("merge_block", form).merge_rows)
        settled = block.settle(came, found)
    alone, written = True, []
    for number in settled.keys:
        left = join_branches(held[number], came[number])
        assert len(left) == len(came[number]) == 1
        assert len(held[number]) <= 1
        alone &= left == came[number]
        if left != held[number]:
            (won,) = left
            written.append((number, won.branch, won.sequence, rows.pack(won.vector)))
    assert (settled.alone, sorted(settled.written)) == (alone, sorted(written))


def test_older_row() -> None:
    """A row of fewer components than today is left to the rule, which fills it up."""
    vector = (1,) * COMPONENT_COUNT
    came = {0: (StoredVector(KEYS[0], 0, 2, vector),)}
    older = [(0, 0, 1, rows.pack(vector)[:-8])]
    assert block.settle(came, older).keys == set()
    assert block.settle(came, [(0, 0, 1, rows.pack(vector))]).keys == {0}


def test_big_endian(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are little-endian in the ledger, whatever the machine is."""
    vector = (2**61 + 3, *range(1, COMPONENT_COUNT))
    assert tuple(block._block([rows.pack(vector)])) == vector
    monkeypatch.setattr("sys.byteorder", "big")
    assert block._block([rows.pack(vector)])[1] == 1 << 56
