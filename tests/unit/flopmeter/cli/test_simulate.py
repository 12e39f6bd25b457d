"""`flopmeter simulate`: its keys, its exit codes, and what it refuses."""

from __future__ import annotations

import dataclasses
import json

import pytest

from flopmeter.cli import main
from flopmeter.lab.simulation import world
from flopmeter.lab.simulation.plan import plan_for

SMALL = ["simulate", "--nodes", "1", "--devices", "1", "--hours", "0.2"]

KEYS = [
    "seed",
    "truth",
    "ledger",
    "equal",
    "in_flight_lost",
    "acked_lost",
    "double_counted",
    "virtual_seconds",
    "wall_seconds",
    "processor_seconds",
    "faults",
    "reverted",
    "forks_raised",
    "forks_hidden",
]


def test_json_has_exactly_the_documented_keys(capsys: pytest.CaptureFixture[str]) -> None:
    """And whole numbers by component, equal on both sides."""
    assert main([*SMALL, "--faults", "kill_agent,bad_weather", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert list(printed) == KEYS
    assert printed["equal"] is True
    assert printed["truth"] == printed["ledger"]
    assert printed["processor_seconds"] > 0
    assert all(isinstance(units, int) for units in printed["truth"].values())


def test_text_ends_with_the_command_that_repeats_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Everything that decides the run is in it."""
    assert main([*SMALL, "--faults", "none", "--seed", "9"]) == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last == (
        "replay: flopmeter simulate --nodes 1 --devices 1 --hours 0.2 --sample 30 --seed 9 "
        "--faults none"
    )


def test_an_unknown_fault_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """In one sentence that names the known ones."""
    assert main([*SMALL, "--faults", "earthquake"]) == 64
    assert "choose all, none, or from kill_agent" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["--nodes", "0"], ["--hours", "0"], ["--seed", "-1"], ["--sample", "0"]]
)
def test_impossible_sizes_are_refused(words: list[str]) -> None:
    """Before anything is simulated."""
    assert main(["simulate", *words]) == 64


def test_events_are_printed_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """Before the result; beside it where that is JSON."""
    words = [*SMALL, "--faults", "none", "--trace"]
    assert main(words) == 0
    out = capsys.readouterr().out.splitlines()
    events = [line for line in out if " start " in f" {line} "]
    assert events and out[-1].startswith("replay: ")
    assert main([*words, "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["equal"] is True
    assert [line for line in captured.err.splitlines() if line in events] == events


def test_a_broken_promise_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first thing that was broken is said, and the result is printed all the same."""
    sound = world.simulate(plan_for(1, nodes=1, devices=1, hours=0.2))
    broken = dataclasses.replace(sound, equal=False, violations=("a vector is gone", "another"))
    monkeypatch.setattr(world, "simulate", lambda plan, keep_trace: broken)
    assert main([*SMALL, "--faults", "all"]) == 1
    captured = capsys.readouterr()
    assert captured.err == "flopmeter: a vector is gone\n"
    assert "replay: flopmeter simulate" in captured.out
