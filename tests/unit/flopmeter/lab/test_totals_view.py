"""Tables of totals fit a narrow terminal: names, figures and states stand whole."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console, RenderableType

from flopmeter.lab.figure_text import state_text
from flopmeter.lab.totals_view import (
    beside_lines,
    claims_table,
    models_table,
    overflow_line,
    runs_table,
)
from flopmeter_core.catalogue import State

NAMES = ("atlas", "a-model-with-a-name-of-forty-characters")


FLOP = 12_345_678 * 10**13
FIGURES = {"floor": 0, "lower": FLOP // 2, "best": FLOP, "upper": 2 * FLOP, "ceiling": 3 * FLOP}


def models(model: str, state: State, *, decided: bool) -> dict[str, Any]:
    """One model against two lines."""
    rows = [
        {"id": name, "value_flop": value, "state": state, "decided": decided}
        for name, value in (("eu-ai-act-51-2", 10**25), ("ca-sb53", 10**26))
    ]
    return {"models": [{"model": model, "compute_flop": FIGURES, "thresholds": rows}]}


def runs(name: str) -> dict[str, Any]:
    """One run with an undeclared format, and an empty remainder."""
    account = {
        "compute_flop": FIGURES,
        "evidence": [{"level": "cycles", "share": 1.0}],
        "busy_device_seconds": 999.0,
        "idle_device_seconds": 0.0,
        "unobserved_device_seconds": 1.0,
        "energy_kwh": 400.0,
        "energy_scope": "node",
        "nodes": 64,
        "devices": 512,
    }
    empty = account | {"devices": 0, "nodes": 0, "evidence": [], "busy_device_seconds": 0.0}
    return {"runs": [account | {"run": name, "model": None}], "unattributed": empty}


def shown(table: RenderableType) -> list[str]:
    """The lines a table has in 80 columns."""
    console = Console(width=80)
    with console.capture() as captured:
        console.print(table)
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= 80
    return lines


@pytest.mark.parametrize("model", NAMES)
@pytest.mark.parametrize("decided", [True, False])
@pytest.mark.parametrize("state", list(State))
def test_models(model: str, state: State, decided: bool) -> None:
    """Name, threshold, value, reached and range stand whole; a long state wraps whole."""
    head, *lines = shown(models_table(models(model, state, decided=decided)))
    words = ["threshold", "value", "reached", "likely", "range", "state"]
    if len(model) > 20:
        # The name stands above its rows.
        assert lines.pop(0) == model
        assert head.split() == words
    else:
        assert lines[0].startswith(model)
        assert head.split() == ["model", *words]
    cut = head.index("state")
    numbers = [" ".join(line[:cut].split()) for line in lines if line[:cut].strip()]
    eu, ca = ("0.0012 % 0.00061..0.0025 %", "0.00012 % 6.1e-5..0.00025 %")
    if state is State.UNKNOWN:
        eu = ca = "- -"  # no figure, not even 0
    assert numbers[0].endswith(f"eu-ai-act-51-2 1e25 {eu}")
    assert numbers[-1] == f"ca-sb53 1e26 {ca}"
    said = " ".join(line[cut:].strip() for line in lines)
    assert said == " ".join([state_text(state, decided=decided)] * 2)


@pytest.mark.parametrize("name", NAMES)
def test_runs(name: str) -> None:
    """A run's name and figures stand whole in 80 columns, however long the name is."""
    lines = shown(runs_table(runs(name)))
    at = next(at for at, line in enumerate(lines) if "1.2e20" in line)
    told = " ".join(lines[at : at + 2]).split()
    for word in (
        "1.2e20",
        "6.1e19..2.5e20",
        "undeclared",
        "99.9",
        "cycles",
        "512",
        "400",
        "(node)",
    ):
        assert word in told, word
    assert name in (lines[at].split()[0], lines[at - 1])


def test_overflow_is_told_where_there_is_any() -> None:
    """One line with time, FLOP and where they count; none where agents had room."""
    overflow = {"device_seconds": 7200.0, "compute_flop": FIGURES}
    (line,) = overflow_line({"overflow": overflow})
    assert str(line).startswith("7,200 device-seconds are in overflow")
    assert "1.2e20 FLOP (likely 6.1e19..2.5e20) are counted in unattributed" in str(line)
    assert overflow_line({"overflow": overflow | {"device_seconds": 0.0}}) == []


def test_claims() -> None:
    """Each quantity stands beside the meter's figure of the same, and fits 80 columns."""
    metered = {bound: str(flop) for bound, flop in FIGURES.items()}
    claims = {
        "by_quantity": [
            {
                "quantity": "model",
                "executed_flop": FLOP,
                "metered_flop_str": metered,
                "ratio": 1.0,
                "agreement": "agrees",
            },
            {
                "quantity": "executed",
                "executed_flop": 10 * FLOP,
                "metered_flop_str": metered,
                "ratio": 10.0,
                "agreement": "impossible",
            },
        ]
    }
    document = {"runs": [{"run": NAMES[1], "claims": claims}, {"run": "b", "claims": None}]}
    _, name, model, executed, *_ = shown(claims_table(document))
    assert name == NAMES[1]
    assert model.split()[-6:] == ["model", "1.2e20", "1.2e20", "6.1e19..2.5e20", "1", "agrees"]
    assert executed.split() == [
        "executed", "1.2e21", "1.2e20", "6.1e19..2.5e20", "10", "impossible"
    ]  # fmt: skip


def test_beside_the_models() -> None:
    """The remainder, external compute and waiting labels are said; without any, nothing is."""
    external = {"floor": "0", "lower": "1000", "best": "2000", "upper": "3000", "ceiling": "3000"}
    document: Any = {
        "unattributed": {"could_add_up_to_flop_str": "123456"},
        "models": [{"model": "m", "external_flop_str": external}, {"model": "n"}],
        "lowerings": [{"state": "pending"}, {"state": "approved"}],
    }
    remainder, entered, waiting = (str(line) for line in beside_lines(document))
    assert "could add up to 1.3e5 FLOP" in remainder
    assert entered.startswith("m: 2.0e3 FLOP (likely 1.0..3.0e3)") and "declared" in entered
    assert waiting.startswith("statements that would lower a total and wait for people")
    assert waiting.endswith(": 1")
    assert beside_lines({"unattributed": {}, "models": [{"model": "n"}]}) == []
