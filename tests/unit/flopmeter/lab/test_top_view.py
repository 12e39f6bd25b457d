"""`flopmeter top`: rates of two looks, the order of rows, and each form of a look."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import pytest
from rich.console import Console

from flopmeter.cli import main, top
from flopmeter.lab import collector_api
from flopmeter.lab.top_view import Moment, document, live_view, models_at, plain_line, runs_at
from flopmeter_core.errors import UnreachableError


def run(own: str, best: int, **more: Any) -> dict[str, Any]:
    """A run of so many FLOP."""
    bounds = {"floor": 0, "lower": best // 2, "best": best, "upper": 2 * best, "ceiling": 4 * best}
    return {
        "run": own, "name": own, "model": None, "simulated": False, "devices": 8, "nodes": 1,
        "compute_flop_str": {bound: str(flop) for bound, flop in bounds.items()}, **more,
    }  # fmt: skip


def model(name: str, best: int, **more: Any) -> dict[str, Any]:
    """A model against three lines."""
    bounds = {"lower": best, "best": best, "upper": best}
    lines = [
        {
            "id": f"line-{exponent}", "value_flop": 10**exponent, "decided": True,
            "state": "above" if best > 10**exponent else "below",
        }
        for exponent in (26, 23, 25)
    ]  # fmt: skip
    return {"model": name, "compute_flop": bounds, "thresholds": lines, **more}


def look(second: int, *runs: dict[str, Any], ledger: str = "5eed", **more: Any) -> dict[str, Any]:
    """A totals document of a moment."""
    return {
        "as_of": f"2026-11-30T10:00:{second:02}Z", "ledger": {"id": ledger}, "simulated": False,
        "method_version": "3", "runs": list(runs), "models": [], **more,
    }  # fmt: skip


def text(moment: Moment, **more: Any) -> str:
    """What a terminal shows."""
    out = Console(file=io.StringIO(), width=160, highlight=False)
    out.print(live_view(moment, **{"rows": 20, **more}))
    found = out.file
    assert isinstance(found, io.StringIO)
    return found.getvalue()


def test_a_rate_is_what_was_added_over_the_time_between() -> None:
    """The fastest run first; of one that is new, or fell, no rate is told."""
    moment = Moment(look(0, run("a", 1000), run("b", 500), run("down", 900))).after(
        look(10, run("a", 2000), run("b", 9500), run("new", 7), run("down", 800))
    )
    rows = runs_at(moment)
    assert [(row["run"], row["flop_per_s"]) for row in rows] == [
        ("b", 900), ("a", 100), ("down", None), ("new", None),
    ]  # fmt: skip
    assert document(moment)["flop_per_s"] == 1000
    assert "rate 1.0e3 FLOP/s" in plain_line(moment) and "working 2" in plain_line(moment)


def test_no_rate_without_a_look_before() -> None:
    """At first, of another ledger, and where no time passed."""
    first = Moment(look(0, run("a", 1000)))
    for moment in (
        first,
        first.after(look(5, run("a", 3000), ledger="other")),
        first.after(look(0, run("a", 3000))),
    ):
        assert runs_at(moment)[0]["flop_per_s"] is None
        assert document(moment)["flop_per_s"] is None
        assert "working -" in plain_line(moment) and "rate -" in plain_line(moment)


def test_each_model_against_its_next_line() -> None:
    """Who is above the greatest line first, then who is nearest to the next; all lines are told."""
    moment = Moment(
        look(
            0,
            models=[
                model("small", 10**20),
                model("all", 2 * 10**26),
                model("near", 9_960 * 10**21),
                model("two", 2 * 10**25),
                model("none", 5, thresholds=[]),
            ],
        )
    )
    rows = [(row["model"]["model"], row["line"]["id"], row["above"]) for row in models_at(moment)]
    assert rows == [
        ("all", "line-26", ["line-23", "line-25", "line-26"]),
        ("two", "line-26", ["line-23", "line-25"]),
        ("near", "line-25", ["line-23"]),
        ("small", "line-23", []),
    ]
    shown = text(moment)
    assert "99.6 %" in shown and "100 %" not in shown
    (told, *_) = document(moment)["models"]
    assert (told["model"], told["counted_flop_str"]) == ("all", str(2 * 10**26))
    assert plain_line(moment).endswith(
        "nearest all 200 % of line-26, ABOVE, above line-23, line-25, line-26"
    )


def test_what_a_terminal_has_room_for() -> None:
    """Rows that do not fit are counted, and a reason stands above old figures."""
    runs = [run(f"r{n:02}", 10**20 + n, model="m", name=f"job {n}") for n in range(30)]
    moment = Moment(look(0, *runs, models=[model(f"m{n}", 10**21 * (n + 1)) for n in range(12)]))
    shown = text(moment, rows=12, note="no collector answers")
    assert "and 22 more runs" in shown and "and 8 more models" in shown
    assert "r29 (job 29)" in shown and "no collector answers" in shown
    assert "8 on 1" in shown


def test_nothing_measured_is_no_figure() -> None:
    """A declared run nobody reported for has no 0, neither by itself nor against a line."""
    unknown = model("planned", 0)
    for line in unknown["thresholds"]:
        line.update(state="unknown")
    moment = Moment(look(0, run("planned", 0, devices=0), models=[unknown]))
    told = text(moment)
    assert "no reading yet" in told and "0..0" not in told and " 0 %" not in told
    assert plain_line(moment).endswith("nearest planned unknown")


def test_made_up_figures_say_so() -> None:
    """In each form."""
    moment = Moment(look(0, run("a", 1), simulated=True))
    assert "SIMULATED" in plain_line(moment) and "SIMULATED" in text(moment)
    assert document(moment)["simulated"] is True


def test_alerts_and_reviews_are_counted() -> None:
    """Those that fire, and those nobody determined."""
    legal: dict[str, Any] = {
        "alerts": [{"status": "firing"}, {"status": "resolved"}],
        "reviews": [{"determination": None}, {"determination": {"date": "2026-11-30"}}],
    }
    moment = Moment(look(0, run("a", 1), **legal))
    assert "alerts 1  reviews 1" in plain_line(moment)
    assert "alerts firing 1, reviews open 1" in text(moment)


class Looks:
    """A collector that answers look by look."""

    def __init__(self, *answers: dict[str, Any] | Exception) -> None:
        """Take what it answers."""
        self._answers = list(answers)

    def __call__(self, url: str) -> dict[str, Any]:
        """The next answer."""
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets what a collector answers; no second passes between two looks."""
    monkeypatch.setattr(time, "sleep", lambda _: None)
    return lambda *answers: monkeypatch.setattr(collector_api, "fetch_totals", Looks(*answers))


def test_a_pipe_gets_a_line_a_look(looked: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """One that nobody answers is said on standard error, and the next is tried."""
    looked(look(0, run("a", 100)), UnreachableError("nobody is there"), look(10, run("a", 1100)))
    assert main(["top", "--count", "3"]) == 0
    out, err = capsys.readouterr()
    assert [line.split("  ")[0] for line in out.splitlines()] == [
        "2026-11-30T10:00:00Z", "2026-11-30T10:00:10Z",
    ]  # fmt: skip
    assert "rate 1.0e2 FLOP/s" in out and err == "flopmeter: nobody is there\n"


def test_json_is_an_object_a_line(looked: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Exact figures, one look a line."""
    looked(look(0, run("a", 100)), look(2, run("a", 110)))
    assert main(["top", "--count", "2", "--json"]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["flop_per_s"], second["flop_per_s"]) == (None, 5)
    assert second["runs"][0]["compute_flop_str"]["best"] == "110"


def test_a_terminal_is_drawn_anew(
    looked: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last look stays with the reason where nobody answers any more."""
    out = Console(file=io.StringIO(), width=120, height=30, force_terminal=True, highlight=False)
    monkeypatch.setattr(top, "console", lambda: out)
    looked(look(0, run("a", 100)), UnreachableError("nobody is there"))
    assert main(["top", "--count", "2"]) == 0
    drawn = out.file
    assert isinstance(drawn, io.StringIO)
    assert drawn.getvalue().count("flopmeter top") >= 2
    assert "nobody is there" in drawn.getvalue()


def test_nobody_answers_the_first_look(looked: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """That is an error as of every command."""
    looked(UnreachableError("nobody is there"))
    assert main(["top"]) == 69
    assert "nobody is there" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--period-s", "0"], ["--count", "0"], ["--period-s", "soon"]])
def test_no_pace(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A pace that is none is refused before anybody is asked."""
    assert main(["top", *words]) == 64
    assert capsys.readouterr().err.count("\n") == 1
