"""Opaque ids: the same for a name for ever, another for another name, kind or ledger."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from flopmeter_collector.metric_ids import MetricIds, ids_of
from support.totals import IDS, POSITION


def test_an_id_never_changes() -> None:
    """A series goes on over a release: these ids are written down."""
    ids = MetricIds("00112233445566778899aabbccddeeff")
    assert (ids.run("atlas"), ids.model("atlas")) == ("r-673qk7rxf5bc", "m-bpkf77wu5ufc")
    assert ids_of(POSITION) == IDS
    assert ids_of(None) == MetricIds("")


@given(st.text(), st.text())
def test_ids_tell_names_apart(one: str, other: str) -> None:
    """Another name, kind or ledger has another id, and an id holds nothing a name could bring."""
    assert re.fullmatch(r"r-[a-z2-7]{12}", IDS.run(one))
    assert re.fullmatch(r"m-[a-z2-7]{12}", IDS.model(one))
    assert (IDS.run(one) == IDS.run(other)) == (one == other)
    assert IDS.run(one)[2:] != IDS.model(one)[2:]
    assert IDS.run(one) != MetricIds(POSITION.ledger_id + "0").run(one)


def test_names_are_shown_where_they_are_wanted() -> None:
    """The setting decides what stands as a name, and moves no id."""
    named = MetricIds(POSITION.ledger_id, named=True)
    assert named.run("atlas") == IDS.run("atlas")
    assert named.shown("r-1", "atlas") == "atlas"
    assert IDS.shown("r-1", "atlas") == "r-1"
