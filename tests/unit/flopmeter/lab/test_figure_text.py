"""What people read: two significant figures, never across a threshold, no hole rounded away."""

from __future__ import annotations

from typing import Any

import pytest

from flopmeter.lab.figure_text import (
    best_text,
    energy_text,
    evidence_text,
    format_text,
    observed_text,
    percent_range_text,
    range_text,
    state_text,
    time_text,
)
from flopmeter_collector.rounding import Rounding, percent_text


def bounds(lower: int, best: int, upper: int) -> dict[str, int]:
    """Likely bounds in FLOP."""
    return {"floor": 0, "lower": lower, "best": best, "upper": upper, "ceiling": upper}


@pytest.mark.parametrize(
    ("flop", "text"),
    [
        (0, "0 %"),
        (1, "0.10 %"),
        (124, "12 %"),
        (996, "99.6 %"),
        (1000, "100 %"),
        (1001, "100.1 %"),
        (1260, "130 %"),
        (99_000, "9900 %"),
        (99_999, "1.0e4 %"),
    ],
)
def test_percent_of_1000(flop: int, text: str) -> None:
    """Two significant figures, and more where two would land on the line."""
    assert percent_text(flop, 1000) == text


def test_percent_keeps_its_side() -> None:
    """One FLOP above or below a legal line is never shown as on it."""
    line = 10**26
    assert percent_text(line, line) == "100 %"
    assert percent_text(line + 1, line) == "100." + "0" * 23 + "1 %"
    assert percent_text(line - 1, line) == "99." + "9" * 24 + " %"
    assert percent_text(12 * 10**13, line) == "1.2e-10 %"
    # Beyond the decimals a percentage is computed with.
    assert percent_text(3 * 10**40 + 1, 3 * 10**40) != "100 %"


def test_percent_range_is_outward() -> None:
    """The range never looks narrower than it is."""
    assert percent_range_text(bounds(1119, 1150, 1181), 10_000) == "11..12 %"
    assert percent_text(1119, 10_000, Rounding.UP) == "12 %"


def test_range() -> None:
    """One power of ten is written once; the bounds are rounded outward."""
    assert range_text(bounds(1_190, 1_250, 1_310)) == "1.1..1.4e3"
    assert range_text(bounds(969, 1_000, 1_210)) == "9.6e2..1.3e3"
    assert range_text(bounds(0, 0, 0)) == "0..0"
    assert range_text(bounds(0, 5, 12)) == "0..1.2e1"
    assert best_text(bounds(0, 9_999, 10_000), [10_000]) == "9.999e3"


@pytest.mark.parametrize(
    ("state", "decided", "text"),
    [
        ("below", True, "below"),
        ("below", False, "below, range reaches above"),
        ("above", True, "ABOVE"),
        ("above", False, "ABOVE, range reaches below"),
        ("above_by_unobserved_only", False, "below, unless unobserved time"),
        ("unknown", True, "unknown"),
    ],
)
def test_state(state: str, decided: bool, text: str) -> None:
    """Each state of the contract has its own words."""
    assert state_text(state, decided=decided) == text


def account(busy_s: float, unobserved_s: float, **more: Any) -> dict[str, Any]:
    """The times of a run, in device seconds."""
    return {
        "busy_device_seconds": busy_s,
        "idle_device_seconds": 0.0,
        "unobserved_device_seconds": unobserved_s,
        "evidence": [],
        **more,
    }


@pytest.mark.parametrize(
    ("busy_s", "unobserved_s", "text"),
    [(0, 0, "-"), (10, 0, "100 %"), (0, 10, "0 %"), (1e9, 1, "99.9 %"), (1, 1e9, "0.1 %")],
)
def test_observed(busy_s: float, unobserved_s: float, text: str) -> None:
    """A second nobody measured keeps the share below 100 %."""
    assert observed_text(account(busy_s, unobserved_s)) == text


def test_evidence() -> None:
    """One rung is named alone, several with their shares, none with a dash."""
    one = [{"level": "cycles", "share": 1.0}]
    two = [{"level": "gpm", "share": 0.97}, {"level": "busy", "share": 0.03}]
    assert evidence_text(account(1, 0, evidence=one)) == "cycles"
    assert evidence_text(account(1, 0, evidence=two)) == "gpm 97 %, busy 3 %"
    assert evidence_text(account(1, 0)) == "-"


def test_format() -> None:
    """An undeclared format is None, whatever else was declared."""
    assert format_text({"declared": {"format": "bf16"}}) == "bf16"
    assert format_text({"declared": {"format": None}}) is None
    assert format_text({}) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (450, "7 min 30 s"), (7_500, "2 h 05 min")],
)
def test_time(seconds: int, text: str) -> None:
    """The two greatest units."""
    assert time_text(seconds * 10**9) == text


@pytest.mark.parametrize(
    ("kwh", "scope", "text"),
    [
        (0.0, "none", "-"),
        (1.234, "gpu", "1.2 kWh (gpu)"),
        (99.0, "node", "99 kWh (node)"),
        (12_345.6, "mixed", "12,346 kWh (mixed)"),
    ],
)
def test_energy(kwh: float, scope: str, text: str) -> None:
    """Two digits and what they cover; nothing measured is no figure."""
    assert energy_text({"energy_kwh": kwh, "energy_scope": scope}) == text
