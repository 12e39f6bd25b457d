"""Notes of a round may be taken in parts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flopmeter_collector.ledger.base import Coverage
from flopmeter_collector.sightings import Sighting, Sightings

ROW = Coverage("i", "d", "n", "", None, None, 1, 1)


@given(st.integers(0, 7), st.integers(0, 7), st.integers(1, 9))
def test_parts_are_the_whole(reported: int, live: int, size: int) -> None:
    """Every note is in one part, none is large, and vectors come before the reports of them."""
    whole = Sightings(
        live={f"i{number}": Sighting("n", "b", number, number) for number in range(live)},
        reported={(f"i{number}", "d"): number for number in range(reported)},
        enrolled=(ROW,),
    )
    parts = list(whole.parts(size))
    assert {key: value for part in parts for key, value in part.live.items()} == whole.live
    assert {key: value for part in parts for key, value in part.reported.items()} == whole.reported
    assert [row for part in parts for row in part.enrolled] == [ROW]
    assert all(len(part.live) + len(part.reported) <= size for part in parts)
    kinds = ["live" if part.live else "reported" for part in parts if part.live or part.reported]
    assert kinds == sorted(kinds, reverse=True)


def test_of_nothing_there_is_no_part() -> None:
    """A round that nobody reported to gives way to nobody."""
    assert not list(Sightings().parts(1))
