"""What ledgers call the keys of rows: told by the ledger that asks, and by no other."""

from __future__ import annotations

from flopmeter_collector.ledger.packed import NO_ID, RowIds


def test_each_ledger_is_told_its_own() -> None:
    """A ledger that did not say what it calls a row's key hears nothing of what another said."""
    ids, one, other = RowIds(), object(), object()
    assert ids.known(one, [3, 0]) == [NO_ID, NO_ID]
    ids.note(one, [3, 0], [7, 5])
    assert ids.known(one, [0, 3]) == [5, 7]
    assert NO_ID in ids.known(one, [0, 2]) and NO_ID in ids.known(one, [4])
    assert ids.known(other, [0, 3]) == [NO_ID, NO_ID]
    ids.note(other, [3], [1])
    assert ids.known(other, [3]) == [1]
    assert ids.known(one, [3]) == [NO_ID]
