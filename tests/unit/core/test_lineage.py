"""Runs and models: every run is in exactly one model, however often it is named."""

from __future__ import annotations

from flopmeter_core.lineage import model_of, runs_by_model


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
