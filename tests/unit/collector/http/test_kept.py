"""What is kept between two scrapes shows nothing that a first scrape would not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from flopmeter_collector.declarations import parse_run_declaration
from flopmeter_collector.http import metrics, starts
from flopmeter_collector.http.metrics import Kept, exposition
from flopmeter_collector.http.status import ServiceStatus
from flopmeter_collector.totals import Totals
from support.totals import AS_OF_NS, POSITION, busy_vector, feed, h100, key_of, table, thresholds

STATUS = ServiceStatus()


def site() -> Totals:
    """Five runs of one device each."""
    totals = Totals(table())
    for number in range(5):
        record = h100(f"GPU-{number}")
        feed(totals, key_of(record, f"run:r{number}"), record, busy_vector(number + 1))
    return totals


def families(text: str) -> list[set[str]]:
    """The lines of each family, which come in any order within it."""
    return [set(family.splitlines()) for family in text.split("# HELP ")]


def states(text: str) -> set[str]:
    """The states that models are in."""
    return {
        line
        for line in text.splitlines()
        if line.startswith("flopmeter_model_threshold_state{") and line.endswith("} 1")
    }


def test_after_changes_as_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever changed (work, a declaration, law, the cap), the text is that of a new reader."""
    totals, kept, laws = site(), Kept(), thresholds()

    def read() -> str:
        snapshot = totals.snapshot(AS_OF_NS, POSITION)
        text = exposition(snapshot, laws, STATUS, kept=kept)
        assert families(text) == families(exposition(snapshot, laws, STATUS))
        return text

    seen = {read(), read(), read()}
    record = h100("GPU-1")
    feed(totals, key_of(record, "run:r1"), record, busy_vector(500))
    seen.add(read())
    totals.declare(parse_run_declaration("r2", {"format": "bf16=1", "model": "atlas"}))
    seen.add(read())
    laws = laws[1:]
    seen.add(read())
    laws = (replace(laws[0], id="another"), *laws[1:])
    seen.add(read())
    laws = (*laws, replace(laws[0], id="low", exact=Fraction(10**18)))
    seen.add(read())
    before = read()
    feed(totals, key_of(record, "run:r1"), record, busy_vector(5_000))
    seen.add(read())
    # Among what changed is a state, whose lines are kept beside it.
    (changed,) = states(read()) - states(before)
    assert 'state="above"' in changed
    monkeypatch.setattr(metrics, "MAXIMUM_RUN_SERIES", 3)
    seen.add(read())
    assert len(seen) == 8
    assert read() in seen


def test_unchanged_runs_are_not_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of five runs that came again, the one that changes is rendered again, no other."""
    totals, kept = site(), Kept()
    made: list[object] = []
    whole = metrics._families_of_runs

    def counting(rows: Sequence[Any], *given: Any) -> object:
        made.extend(rows)
        return whole(rows, *given)

    monkeypatch.setattr(metrics, "_families_of_runs", counting)
    for _ in range(4):
        exposition(totals.snapshot(AS_OF_NS, POSITION), thresholds(), STATUS, kept=kept)
    assert len(made) == 10
    record = h100("GPU-1")
    feed(totals, key_of(record, "run:r1"), record, busy_vector(500))
    exposition(totals.snapshot(AS_OF_NS, POSITION), thresholds(), STATUS, kept=kept)
    assert len(made) == 11


def test_a_subject_that_turns_out_otherwise_begins_anew() -> None:
    """A run that is renamed, or found to be simulated, keeps nothing of what it was called."""
    kept, laws = Kept(), thresholds()
    snapshot = replace(site().snapshot(AS_OF_NS, POSITION), models=())
    run = snapshot.runs[0]
    for other in (
        run,
        replace(run, name="new name"),
        replace(run, name="new name", account=replace(run.account, simulated=True)),
    ):
        said = replace(snapshot, runs=(other, *snapshot.runs[1:]))
        text = exposition(said, laws, STATUS, kept=kept, named=True)
        assert families(text) == families(exposition(said, laws, STATUS, named=True))
    assert 'simulated="true",name="new name"' in text


def test_starts_are_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond their limit all starts are made again, so that runs which left take no memory."""
    monkeypatch.setattr(starts, "MAXIMUM_REMEMBERED", 2)
    kept = starts.KeptStarts()
    first = kept.among("law")
    first.update(dict.fromkeys("ab", starts.starts_of("run", "{}")))
    assert kept.among("law") is first
    first["c"] = first["a"]
    assert kept.among("law") == {}
    again = kept.among("law")
    again["a"] = first["a"]
    assert kept.among("law") is again
    assert kept.among("another law") == {}
