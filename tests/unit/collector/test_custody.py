"""Custody: what is held, what is over, and which hours may therefore be thinned."""

from __future__ import annotations

import pytest

from flopmeter_collector.attribution import Attribution, RunSpan
from flopmeter_collector.custody import Custody, custody_of
from flopmeter_collector.ledger.base import Declaration
from flopmeter_core.errors import DataError


def declared(kind: str, subject: str, **body: str) -> Declaration:
    """One declaration."""
    return Declaration(1, 7, "ada", "cli", kind, subject, body)


def hold(subject: str, state: str = "held") -> Declaration:
    """A hold, or its end."""
    return declared("hold", subject, state=state, reason="case 7")


def seal(run: str, state: str = "ended") -> Declaration:
    """A run's end, or its new beginning."""
    return declared("seal", run, state=state, reason="done")


def test_only_ended_runs_are_thinned() -> None:
    """Hours of a run open to declarations stay, and so do those of work that names no run."""
    custody = custody_of([seal("a"), seal("b"), seal("b", "open")])
    thinned = {name: custody.may_thin(name) for name in ("run:a", "run:b", "run:c", "slurm:7/1")}
    assert thinned == {"run:a": True, "run:b": False, "run:c": False, "slurm:7/1": False}
    assert custody.may_thin("none")


def test_attached_work_is_thinned_with_its_run() -> None:
    """Attached work may be thinned once every run it may be of is over; a hold on any keeps it."""
    attribution = Attribution()
    custody = Custody(attribution)
    attribution.attach("slurm:7/1", RunSpan(None, None, None, "a"))
    attribution.attach("slurm:7/2", RunSpan(5, None, None, "a"))
    attribution.merge("a", "b")
    custody.apply(seal("b"))
    assert custody.may_thin("slurm:7/1") and custody.may_thin("run:a")
    assert not custody.may_thin("slurm:7/2"), "what is before is nobody's yet"
    attribution.split("b", RunSpan(None, None, 3, "c"))
    assert not custody.may_thin("slurm:7/1")
    custody.apply(seal("c"))
    assert custody.may_thin("slurm:7/1")
    custody.apply(hold("run:a"))
    assert not custody.may_thin("slurm:7/1")


@pytest.mark.parametrize("subject", ["all", "run:a", "model:m", "model:old"])
def test_holds(subject: str) -> None:
    """A hold by name, by any model the run ever had, or on all keeps its hours until it ends."""
    model = [declared("run", "a", model="old"), declared("run", "a", model="m"), seal("a")]
    custody = custody_of([*model, hold(subject)])
    assert not custody.may_thin("run:a")
    assert custody.may_thin("none") == (subject != "all")
    custody.apply(hold(subject, "released"))
    assert custody.may_thin("run:a")


def test_a_run_is_its_own_model() -> None:
    """A run nobody declared a model of is held with the model of its name."""
    assert not custody_of([seal("a"), hold("model:a")]).may_thin("run:a")


@pytest.mark.parametrize(
    "wrong",
    [
        hold("node:a"),
        hold("run:"),
        hold("all", "perhaps"),
        declared("hold", "all", state="held", reason=" "),
        seal("a", "nearly"),
        seal(""),
        declared("seal", "a", state="ended"),
    ],
)
def test_unreadable(wrong: Declaration) -> None:
    """What cannot be read changes nothing, and is said where one asks."""
    custody = Custody()
    with pytest.raises(DataError):
        custody.apply(wrong)
    assert not custody.holds and not custody.ended
    assert custody_of([wrong, seal("z")]).may_thin("run:z")
