"""Runs and models: every run counts once in a model, by however many ways it is reached."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.activities import Edge
from flopmeter_core.errors import DataError
from flopmeter_core.lineage import OWN_WAY, Lineage, model_of, runs_by_model

names = st.sampled_from("abcdef")
edges = st.sampled_from(list(Edge))


def test_run_without_model_is_a_model_of_one() -> None:
    """A run nobody declared a model for is its own."""
    assert model_of("alpha", {"beta": "m"}) == "alpha"
    assert runs_by_model(["alpha"], {}) == {"alpha": frozenset({"alpha"})}


def test_distinct_runs() -> None:
    """A run named twice is in its model once; models come in the order of their names."""
    declared = {"b": "atlas", "c": "atlas"}
    members = runs_by_model(["c", "z", "b", "c"], declared)
    assert list(members.items()) == [("atlas", frozenset({"b", "c"})), ("z", frozenset({"z"}))]


def test_run_named_like_a_declared_model_joins_it() -> None:
    """An undeclared run and a declared one that say the same name are one model."""
    assert runs_by_model(["m", "a"], {"a": "m"}) == {"m": frozenset({"m", "a"})}


def test_a_diamond() -> None:
    """Two ways to one model are two ways, and one model."""
    lineage = Lineage()
    lineage.add("d", "b", Edge.WEIGHTS)
    lineage.add("d", "c", Edge.DISTILLED_FROM)
    lineage.add("b", "a", Edge.WEIGHTS)
    lineage.add("c", "a", Edge.INIT)
    assert lineage.ways("d") == {
        "a": {(Edge.WEIGHTS,), (Edge.DISTILLED_FROM, Edge.INIT)},
        "b": {(Edge.WEIGHTS,)},
        "c": {(Edge.DISTILLED_FROM,)},
        "d": {OWN_WAY},
    }
    assert lineage.parents("d") == {"b": Edge.WEIGHTS, "c": Edge.DISTILLED_FROM}
    assert lineage.children("a") == ("b", "c")
    lineage.remove("d", "c")
    assert lineage.ways("d")["a"] == {(Edge.WEIGHTS,)}


@given(st.lists(st.tuples(names, names, edges), max_size=30))
def test_never_a_circle(added: list[tuple[str, str, Edge]]) -> None:
    """Whatever is declared: no model comes from itself, and a refused edge changes nothing."""
    lineage = Lineage()
    for model, parent, edge in added:
        before = {name: lineage.ways(name) for name in "abcdef"}
        with contextlib.suppress(DataError):
            lineage.add(model, parent, edge)
            continue
        assert {name: lineage.ways(name) for name in "abcdef"} == before
    for name in "abcdef":
        ways = lineage.ways(name)
        assert ways[name] == {OWN_WAY}
        for other in ways.keys() - {name}:
            assert name not in lineage.ways(other)


def test_many_paths_are_few_ways() -> None:
    """Forty diamonds in a row have 2^40 paths and are answered at once."""
    lineage = Lineage()
    for number in range(40):
        for side in "lr":
            lineage.add(f"m{number + 1}", f"{side}{number}", Edge.WEIGHTS)
            lineage.add(f"{side}{number}", f"m{number}", Edge.MERGE)
    assert lineage.ways("m40")["m0"] == {(Edge.MERGE, Edge.WEIGHTS)}


@pytest.mark.parametrize("parent", ["a", "b", "c"])
def test_refused(parent: str) -> None:
    """A circle is refused in one sentence."""
    lineage = Lineage()
    lineage.add("b", "a", Edge.WEIGHTS)
    lineage.add("c", "b", Edge.WEIGHTS)
    with pytest.raises(DataError, match="cannot be its parent") as caught:
        lineage.add("a", parent, Edge.WEIGHTS)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="no declared parent"):
        lineage.remove("a", "b")
