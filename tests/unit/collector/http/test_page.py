"""The page: nothing overlooked, nothing injected, nothing loaded."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from flopmeter_collector.declarations import parse_run_declaration
from flopmeter_collector.http import page, page_runs
from flopmeter_collector.http.axis import axis, line_html, range_html
from flopmeter_collector.http.page import render_page
from flopmeter_collector.http.page_runs import _share_text
from flopmeter_collector.rounding import Rounding, round_flop
from flopmeter_collector.totals import Totals
from flopmeter_core.interval import NO_FIGURES, Figures, Interval
from support.totals import (
    AS_OF_NS,
    POSITION,
    busy_vector,
    feed,
    h100,
    key_of,
    scenario,
    table,
    thresholds,
)


class Reader(HTMLParser):
    """Collects the tags, their attributes and the text; notes tags that do not match."""

    VOID = frozenset({"meta", "br", "img", "link", "hr", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.unmatched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Hold an end against its start."""
        if not self.open or self.open.pop() != tag:
            self.unmatched.append(tag)

    def handle_data(self, data: str) -> None:
        """Collect the text."""
        if self.open and self.open[-1] != "style":
            self.text += data


def read(html: str) -> Reader:
    """Parse a page."""
    reader = Reader()
    reader.feed(html)
    return reader


def test_well_formed_and_self_contained() -> None:
    """Every tag is closed; no script, picture, frame or address elsewhere."""
    reader = read(render_page(scenario(), thresholds()))
    assert reader.unmatched == []
    assert reader.open == []
    assert not reader.tags & {"script", "img", "iframe", "link", "object", "form"}
    links = {value for name, value in reader.attributes if name in ("href", "src")}
    assert links == {"/api/v1/totals"}
    assert "url(" not in render_page(scenario(), thresholds())


def test_names_are_escaped() -> None:
    """A hostile name is shown as text, in every place it appears."""
    totals = Totals(table())
    evil = "<script>alert(1)</script>\"'&"
    totals.declare(parse_run_declaration("a", {"model": "</h3><img src=x>"}))
    record = replace(h100(), pci_device_id=0xBEEF10DE, product_name="<b onload=x>")
    feed(totals, key_of(record, f"run:{evil}"), record, busy_vector(5))
    html = render_page(totals.snapshot(AS_OF_NS, POSITION), thresholds())
    reader = read(html)
    assert not reader.tags & {"script", "img"}
    assert evil in reader.text
    assert "</h3><img src=x>" in reader.text
    assert not [name for name, _ in reader.attributes if name.startswith("on")]


def test_simulated_cannot_be_overlooked() -> None:
    """A simulated page says so in its banner, its title and at every model and run."""
    html = render_page(scenario(), thresholds())
    assert "<title>SIMULATED" in html
    assert html.index('class="simulated"') < html.index("<h1>")
    assert html.count('class="mark"') == 2 + 2 + 1
    totals = Totals(table())
    feed(totals, key_of(h100()), h100(), busy_vector(5))
    assert "SIMULATED" not in read(render_page(totals.snapshot(AS_OF_NS, None), ())).text


def test_undeclared_runs_come_first_in_red() -> None:
    """The notice names them, and the table starts with them."""
    html = render_page(scenario(), thresholds())
    runs = html[html.index("<h2>Runs") :]
    assert runs.index("be&quot;ta") < runs.index("alpha")
    assert '<span class="undeclared">undeclared</span>' in runs
    assert "1 run has no declared number format" in read(html).text


def test_declaring_is_a_whole_command() -> None:
    """The command of the notice names everything it needs, and no format as if it were right."""
    text = read(render_page(scenario(), thresholds())).text
    assert "flopmeter run declare RUN --format MIX --ledger LEDGER" in text
    assert "--format bf16" not in text


def test_run_without_readings_has_no_figure() -> None:
    """A declared run nobody reported for says so; no reading is not 0 FLOP, nor 0 energy."""
    totals = Totals(table())
    totals.declare(parse_run_declaration("awaited", {"format": "bf16"}))
    html = render_page(totals.snapshot(AS_OF_NS, POSITION), thresholds())
    rows = [read(row).text for row in html[html.index("<h2>Runs") :].split("<tr")[2:]]
    assert [row.count("no reading yet") for row in rows[:2]] == [1, 1]
    assert "awaited" in rows[0] and "Unattributed" in rows[1]
    assert rows[0].endswith("0 nodesnone")
    card = read(html[html.index("<h2>Models") : html.index("<h2>Runs")]).text
    assert "no reading yet" in card and "0 FLOP" not in card and "0 %" not in card


def test_position_and_figures() -> None:
    """The page says what it shows: commit, time, two digits with their range, the remainder."""
    text = read(render_page(scenario(), thresholds())).text.replace("\xa0", " ")
    assert "ledger commit 42, as of 2026-09-21T14:13:20Z" in text
    total = scenario().runs[0].account.figures.total
    best = round_flop(total.best, thresholds=[10**20])
    upper = round_flop(total.upper, thresholds=[10**20], rounding=Rounding.UP)
    assert f"{best.mantissa} \u00d7 10{best.exponent} FLOP" in text
    assert f"to {upper.mantissa} \u00d7 10{upper.exponent}" in text
    assert "Unattributed" in text
    assert "ABOVE" in text
    assert "not legal advice" in text


def test_overflow_is_said_under_the_runs() -> None:
    """Time of users that agents could not tell apart has a notice; none where there is none."""
    assert "overflow" not in read(render_page(scenario(), thresholds())).text
    totals = Totals(table())
    feed(totals, key_of(h100(), "overflow"), h100(), busy_vector(4000))
    html = render_page(totals.snapshot(AS_OF_NS, POSITION), thresholds())
    text = read(html[html.index("<h2>Runs") :]).text
    assert "4,000 device-seconds are in overflow: agents of 1 node had no room" in text
    assert "are counted in Unattributed and in no run" in text


def test_empty_ledger() -> None:
    """Before the first report the page says so, and is whole."""
    reader = read(render_page(Totals(table()).snapshot(AS_OF_NS, None), thresholds()))
    assert reader.unmatched == []
    assert "No run has reported yet." in reader.text
    assert "no ledger" in reader.text


def test_demonstration_line_is_not_shown_to_measured_models() -> None:
    """A real page never shows a line no law knows."""
    totals = Totals(table())
    feed(totals, key_of(h100()), h100(), busy_vector(10**6))
    html = render_page(totals.snapshot(AS_OF_NS, POSITION), thresholds())
    assert "demo-line" not in html
    assert "eu-ai-act-51-2" in html


def test_many_runs_are_cut_with_a_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit the page says how many more there are."""
    monkeypatch.setattr(page_runs, "MAXIMUM_RUNS", 1)
    monkeypatch.setattr(page, "MAXIMUM_MODELS", 1)
    text = read(render_page(scenario(), thresholds())).text
    assert "1 more runs are in /api/v1/totals" in text
    assert "1 smaller models are in /api/v1/totals" in text


def test_axis_places() -> None:
    """Thresholds lie where their logarithm is; nothing lies outside the line."""
    laws = [row for row in thresholds() if not row.demonstration]
    html = axis(NO_FIGURES, laws)
    assert 'left:60.00%"><span>eu-ai-act-51-2' in html
    assert 'left:80.00%"><span>ca-sb53' in html
    assert 'class="best"' not in html
    huge = axis(Figures(Interval(0, 1, 10**26, 10**28, 10**40)), laws)
    assert "-" not in "".join(part.split("%")[0] for part in huge.split("left:")[1:])
    assert "width:100.00%" in huge


def test_a_line_stands_as_its_law_prints_it() -> None:
    """A power of ten has no mantissa that looks measured; any other number has all its digits."""
    assert line_html(10**25) == "10<sup>25</sup>"
    assert line_html(1254 * 10**20) == "1.254&nbsp;&times;&nbsp;10<sup>23</sup>"


def test_range_shares_its_power() -> None:
    """A shared power of ten is written once, a different one twice."""
    shared = range_html(Interval(0, 11 * 10**24, 12 * 10**24, 13 * 10**24, 10**26), ())
    assert shared == "1.1 to 1.3&nbsp;&times;&nbsp;10<sup>25</sup>"
    apart = range_html(Interval(0, 10**23, 10**24, 10**25, 10**26), ())
    assert apart.count("<sup>") == 2
    assert range_html(Interval(0, 0, 1, 2, 3), ()).startswith("0 to 2.0")


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0 %"), (1e-9, "below 0.1 %"), (0.001, "0.1 %"), (0.99999, "99.9 %"), (1.0, "100 %")],
)
def test_a_share_is_never_rounded_to_none_or_all(share: float, text: str) -> None:
    """0 % is said of none only, 100 % of all only."""
    assert _share_text(share) == text
