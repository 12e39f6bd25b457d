"""The families: the cap keeps the sum, bounds are families, nothing exact is lost."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from flopmeter_collector.declarations import parse_run_declaration
from flopmeter_collector.http import metrics
from flopmeter_collector.http.metrics import exposition
from flopmeter_collector.http.status import ServiceStatus
from flopmeter_collector.snapshot import TotalsSnapshot
from flopmeter_collector.totals import Totals
from support.totals import (
    AS_OF_NS,
    IDS,
    POSITION,
    busy_vector,
    feed,
    h100,
    key_of,
    scenario,
    table,
    thresholds,
)

BETA = 'be"ta\\<b>'


def series(text: str, family: str) -> dict[str, str]:
    """Label text -> number text of one family."""
    found = re.findall(rf"^{family}(\{{.*\}})? (\S+)$", text, re.MULTILINE)
    return dict(found)


def many(runs: int, *, extra: str = "") -> TotalsSnapshot:
    """So many runs, each a second longer than the one before."""
    totals = Totals(table())
    record = h100()
    for number in range(runs):
        feed(totals, key_of(record, f"run:r{number}"), record, busy_vector(number + 1))
    if extra:
        feed(totals, key_of(record, f"run:{extra}"), record, busy_vector(10_000))
    return totals.snapshot(AS_OF_NS, POSITION)


def test_cap_keeps_the_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the cap the smallest runs are summed into other; every family's sum is unchanged."""
    shot = many(9)
    whole = exposition(shot, thresholds(), ServiceStatus())
    monkeypatch.setattr(metrics, "MAXIMUM_RUN_SERIES", 4)
    capped = exposition(shot, thresholds(), ServiceStatus())
    for subject, name in (("run", "run"), ("model", "model")):
        for bound in ("", "lower_", "upper_", "floor_", "ceiling_"):
            family = f"flopmeter_{subject}_compute_{bound}flop"
            before, after = series(whole, family), series(capped, family)
            assert len(before) == 9
            assert sum(map(int, before.values())) == sum(map(int, after.values()))
            own_id = IDS.run if name == "run" else IDS.model
            assert [re.search(rf'{name}="([\w-]+)"', labels)[1] for labels in after] == [  # type: ignore[index]
                *map(own_id, ("r5", "r6", "r7", "r8")),
                "other",
            ]
    assert series(capped, "flopmeter_run_busy_device_seconds")[
        '{run="other",simulated="false"}'
    ] == str(1 + 2 + 3 + 4 + 5)
    assert 'run="other"' not in "".join(series(capped, "flopmeter_run_threshold_ratio"))


def test_run_called_other_makes_no_second_series(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is itself called other has an id like every run: one name, one series."""
    monkeypatch.setattr(metrics, "MAXIMUM_RUN_SERIES", 4)
    text = exposition(many(9, extra="other"), thresholds(), ServiceStatus())
    lines = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
    assert max(Counter(lines).values()) == 1


def test_every_series_is_marked_simulated() -> None:
    """Each series of a figure says whether it is made up."""
    text = exposition(scenario(), thresholds(), ServiceStatus())
    for line in text.splitlines():
        if line.startswith(("flopmeter_run_", "flopmeter_model_", "flopmeter_unattributed_")):
            assert 'simulated="true"' in line


def test_no_name_without_the_switch() -> None:
    """Whoever may scrape reads no name of a run or model, and with the switch one family has it."""
    quiet = exposition(scenario(), thresholds(), ServiceStatus())
    for name in ("alpha", "atlas", 'be\\"ta'):
        assert name not in quiet
    assert series(quiet, "flopmeter_run_info") == {
        f'{{run="{own_id}",simulated="true",name="{own_id}"}}': "1"
        for own_id in (IDS.run("alpha"), IDS.run(BETA))
    }
    named = exposition(scenario(), thresholds(), ServiceStatus(), named=True)
    assert set(series(named, "flopmeter_model_info")) == {
        f'{{model="{IDS.model("atlas")}",simulated="true",name="atlas"}}',
        f'{{model="{IDS.model(BETA)}",simulated="true",name="be\\"ta\\\\<b>"}}',
    }
    assert [line for line in quiet.splitlines() if "_info" not in line] == [
        line for line in named.splitlines() if "_info" not in line
    ]


def test_exact_digits() -> None:
    """FLOP are whole decimal digits, whatever their size."""
    totals = Totals(table())
    totals.declare(parse_run_declaration("alpha", {"format": "bf16=1"}))
    for phase in range(3):
        feed(totals, key_of(h100(), phase=phase), h100(), busy_vector(10**9 + phase))
    shot = totals.snapshot(AS_OF_NS, POSITION)
    text = exposition(shot, thresholds(), ServiceStatus())
    at = f'{{run="{IDS.run("alpha")}",simulated="false"}}'
    number = series(text, "flopmeter_run_compute_flop")[at]
    assert number == str(shot.runs[0].account.figures.total.best)
    assert int(number) > 2**63


def test_overflow_has_families_of_its_own() -> None:
    """Time, best and upper of users that agents could not tell apart; 0 where there is none."""
    totals = Totals(table())
    feed(totals, key_of(h100(), "overflow"), h100(), busy_vector(30))
    shot = totals.snapshot(AS_OF_NS, POSITION)
    figures = shot.overflow.figures.total
    assert figures.upper > figures.best > 0
    for snapshot, expected in (
        (shot, ("30", str(figures.best), str(figures.upper))),
        (Totals(table()).snapshot(AS_OF_NS, POSITION), ("0", "0", "0")),
    ):
        text = exposition(snapshot, (), ServiceStatus())
        names = ("device_seconds", "compute_flop", "compute_upper_flop")
        told = tuple(series(text, f"flopmeter_overflow_{name}") for name in names)
        assert told == tuple({'{simulated="false"}': value} for value in expected)


def test_state_is_one_of_all() -> None:
    """Of the states of a model against a threshold exactly one is 1."""
    text = exposition(scenario(), thresholds(), ServiceStatus())
    states = series(text, "flopmeter_model_threshold_state")
    above = [labels for labels, number in states.items() if number == "1" and "above" in labels]
    assert above == [
        f'{{model="{IDS.model("atlas")}",simulated="true",threshold="demo-line",state="above"}}',
    ]
    assert len(states) == 2 * 3 * 5
    assert sum(map(int, states.values())) == 2 * 3


def test_before_the_first_totals() -> None:
    """Without totals the collector still shows itself, and no figure."""
    text = exposition(None, thresholds(), ServiceStatus(report_count=3))
    assert series(text, "flopmeter_reports_total") == {"": "3"}
    assert "compute" not in text
