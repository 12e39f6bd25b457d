"""Which devices an incarnation told of, and in which order they are looked at."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from flopmeter_collector.classified import Classified, ClassifiedRows
from flopmeter_collector.placing import Agents
from support.totals import h100, key_of

ONE, OTHER = "a" * 32, "b" * 32


@given(
    added=st.lists(st.tuples(st.sampled_from([ONE, OTHER]), st.integers(0, 9), st.booleans())),
)
def test_devices_are_looked_at_by_their_names(added: list[tuple[str, int, bool]]) -> None:
    """Whatever the order in which they came, and whenever somebody looked in between."""
    rows = ClassifiedRows()
    agents, told = Agents(rows), []
    for incarnation, number, looked_at in added:
        key = key_of(h100(f"GPU-{number}"))
        part = Classified(rows, rows.open())
        agents.add(dataclasses.replace(key, incarnation=incarnation), part)
        told.append((incarnation, key.device, part.number))
        if looked_at:
            agents.parts(incarnation)
    for each in (ONE, OTHER):
        named = [(device, number) for incarnation, device, number in told if incarnation == each]
        assert [part.number for part in agents.parts(each)] == [
            number for _, number in sorted(named)
        ]
