"""Rows that say the same are shown once, and none is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flopmeter_collector.alike import name_of, put_together


@given(st.lists(st.tuples(st.integers(0, 3), st.text())))
def test_put_together(rows: list[tuple[int, str]]) -> None:
    """Each row is in one group, each group has one key, and the first of each keep their order."""
    groups = put_together(rows, lambda row: row[0])
    assert sorted(row for group in groups for row in group) == sorted(rows)
    assert all(len({row[0] for row in group}) == 1 for group in groups)
    assert [group[0][0] for group in groups] == list(dict.fromkeys(row[0] for row in rows))


def test_name_of() -> None:
    """One name stands whole; of several the first, and how many more."""
    assert name_of(["a"]) == "a"
    assert name_of(["a", "b", "c"]) == "a +2"
