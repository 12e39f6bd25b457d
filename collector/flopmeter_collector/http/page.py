"""The page for people: every model against every threshold, every run, and what is doubtful.

Owns: the page's content and order.
May touch: nothing; a pure function of an immutable snapshot and the catalogue.
Called by http.app. Every name on it comes from somebody else, so every text is escaped.
No script and nothing loaded: it can be saved, printed and handed on as one file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape

from flopmeter_collector.alike import name_of, put_together
from flopmeter_collector.evaluate import (
    applicable,
    conditional,
    counted_by,
    model_standings,
    rules_of,
)
from flopmeter_collector.forecast_words import NO_PACE
from flopmeter_collector.held import held_at, local_date
from flopmeter_collector.http.axis import axis, figure_html, line_html, range_html
from flopmeter_collector.http.page_legal import (
    NO_DATE,
    could_add,
    forecast_cell,
    legal_sections,
)
from flopmeter_collector.http.page_runs import NO_READING, is_undeclared, mark, runs_section
from flopmeter_collector.http.page_style import STYLE
from flopmeter_collector.http.page_table import Row, table
from flopmeter_collector.legal_view import NO_LEGAL_VIEW, LegalView
from flopmeter_collector.metric_ids import ids_of
from flopmeter_collector.presentation import (
    utc_text,
)
from flopmeter_collector.rounding import percent_range, percent_text, round_flop
from flopmeter_collector.site import stale_sentence
from flopmeter_collector.snapshot import ModelTotals, TotalsSnapshot
from flopmeter_collector.standing_words import state_words
from flopmeter_core.catalogue import Standing, State, Threshold
from flopmeter_core.interval import Figures

REFRESH_S = 15
"""How often an open page asks again: as slow as a person reads."""

MAXIMUM_MODELS = 50
"""More would make the page slow; the rest is counted on it and complete in the JSON."""

_STANDING_COLUMNS = (
    ("Threshold", ""),
    ("Jurisdiction", ""),
    ("Value (FLOP)", "n"),
    ("Reached", "n"),
    ("Likely range", "n"),
    ("State", "after"),
    ("Crossing (in 90 % of cases)", ""),
)

_SIMULATED_BANNER = (
    '<div class="simulated" role="alert"><b>SIMULATED</b> Every figure on this page is made up. '
    "No accelerator was measured.</div>"
)


def render_page(
    snapshot: TotalsSnapshot,
    thresholds: Sequence[Threshold],
    site: str = "",
    legal: LegalView = NO_LEGAL_VIEW,
) -> str:
    """The whole page as HTML.

    Args:
        snapshot: the totals.
        thresholds: the catalogue.
        site: what the totals are of, where they are not the fleet's, in one sentence.
        legal: forecasts, alerts and reviews.
    """
    rows = held_at(thresholds, snapshot.as_of_ns)
    held = applicable(rows, simulated=snapshot.simulated)
    body = [
        _SIMULATED_BANNER if snapshot.simulated else "",
        _header(snapshot),
        "<main>",
        f'<p class="notice">{escape(site)}</p>' if site else "",
        _waiting(legal),
        _notices(snapshot),
        _stale(held, snapshot),
        _models(snapshot, held, legal),
        legal_sections(legal),
        runs_section(snapshot, held),
        _thresholds(held),
        "</main>",
        _footer(snapshot),
    ]
    title = "SIMULATED - flopmeter" if snapshot.simulated else "flopmeter"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="refresh" content="{REFRESH_S}">'
        f"<title>{title}</title><style>{STYLE}</style></head><body>{''.join(body)}</body></html>"
    )


def _header(snapshot: TotalsSnapshot) -> str:
    position = snapshot.position
    place = f"ledger commit {position.commit_number}" if position else "no ledger"
    return (
        "<header><h1>flopmeter</h1>"
        f'<span class="meta">{place}, as of {utc_text(snapshot.as_of_ns)} &middot; '
        f"method {escape(snapshot.method_version)} &middot; "
        f"device table {escape(snapshot.table_version)}</span></header>"
    )


def _waiting(legal: LegalView) -> str:
    """That a person has to determine something, before everything else."""
    waiting = [review for review in legal.reviews if review.open]
    if not waiting:
        return ""
    count = f"{len(waiting)} review{'s wait' if len(waiting) > 1 else ' waits'}"
    due = min((review.due_on for review in waiting if review.due_on), default="")
    until = f", the first until the end of {escape(due)}" if due else ""
    return (
        f'<p class="notice"><strong>{count} for a named person</strong>{until}: '
        '<a href="#reviews">reviews</a>.</p>'
    )


def _notices(snapshot: TotalsSnapshot) -> str:
    """What widens figures most and a person can cure, before everything else."""
    undeclared = [run.run for run in snapshot.runs if is_undeclared(run)]
    accounts = [snapshot.unattributed, *(run.account for run in snapshot.runs)]
    unknown = sorted({part for account in accounts for part in account.unknown_parts})
    forks = sum(account.fork_count for account in accounts)
    notices = []
    if undeclared:
        count = f"{len(undeclared)} run{'s have' if len(undeclared) > 1 else ' has'}"
        notices.append(
            f"<strong>{count} no declared number format</strong>, which widens the figures more "
            f"than anything else: {_some(undeclared)}. Declare what was computed in with "
            "<code>flopmeter run declare RUN --format MIX --ledger LEDGER</code>; "
            "<code>flopmeter run declare --help</code> says how to write MIX and LEDGER."
        )
    if unknown:
        notices.append(
            f"<strong>Unknown accelerators</strong> are counted at their ceiling: {_some(unknown)}."
        )
    if forks:
        notices.append(
            f"<strong>{forks} register{'s' if forks > 1 else ''} with two histories</strong>: two "
            "agents wrote under one identity; the range covers both until a person decides."
        )
    return "".join(f'<p class="notice">{notice}</p>' for notice in notices)


def _stale(thresholds: Sequence[Threshold], snapshot: TotalsSnapshot) -> str:
    """That rows were not looked at for long, where they were not."""
    sentence = stale_sentence(thresholds, local_date(snapshot.as_of_ns, "UTC"))
    return f'<p class="notice">{escape(sentence)}.</p>' if sentence else ""


def _models(snapshot: TotalsSnapshot, thresholds: Sequence[Threshold], legal: LegalView) -> str:
    models = snapshot.models
    beside = could_add(snapshot, [threshold.value_flop for threshold in thresholds])
    largest = sorted(models, key=lambda m: (-m.figures.total.best, m.model))
    ids = ids_of(snapshot.position)
    cards = [
        _model(model, ids.model(model.model), thresholds, legal, beside)
        for model in largest[:MAXIMUM_MODELS]
    ]
    if not cards:
        cards = ['<p class="soft">No run has reported yet.</p>']
    legend = (
        '<p class="soft"><span class="key" style="background:#0b4f8a;width:5px;height:14px">'
        '</span>most likely <span class="key" style="background:#7fb0dc"></span>likely range '
        '(95 %) <span class="key" style="background:#dfe8f0;border:1px solid #b9c8d6"></span>'
        "physically possible; powers of ten, in FLOP</p>"
    )
    more = len(models) - MAXIMUM_MODELS
    rest = f'<p class="soft">{more} smaller models are in /api/v1/totals.</p>' if more > 0 else ""
    return f"<h2>Models against thresholds</h2>{legend}{''.join(cards)}{rest}"


def _model(
    model: ModelTotals, own_id: str, thresholds: Sequence[Threshold], legal: LegalView, beside: str
) -> str:
    values = [threshold.value_flop for threshold in thresholds]
    total = model.figures.total
    runs = f"{len(model.runs)} run{'s' if len(model.runs) != 1 else ''}: {_some(model.runs)}"
    # As in the catalogue's rule for `unknown`: nothing that was read can have a ceiling of 0.
    figure = (
        f'<span class="figure">{figure_html(total.best, values)} FLOP</span> '
        f'<span class="range">likely {range_html(total, values)}</span>'
        if total.ceiling
        else NO_READING
    )
    rows = [
        _standing(model, rows, legal)
        for rows in put_together(
            model_standings(model, thresholds), lambda row: _said(model, row, legal)
        )
    ]
    columns: Sequence[tuple[str, str]] = _STANDING_COLUMNS
    dates = {row.cells[-1] for row in rows} - {""}
    if dates <= {NO_DATE}:
        # A column that says the same in each row takes room from all others.
        rows = [replace(row, cells=row.cells[:-1]) for row in rows]
        columns = columns[:-1]
        beside += f'<p class="soft">No date of a crossing ({NO_PACE}).</p>' if dates else ""
    return (
        f'<section class="card"><div class="top"><div><h3>{escape(model.model)}'
        f"{mark(model.simulated)}</h3>"
        f'<span class="soft"><span class="id">{own_id}</span> &middot; {runs}</span></div>'
        f"<div>{figure}</div></div>"
        f"{axis(model.figures, thresholds)}"
        f"{table(columns, rows)}{beside}</section>"
    )


def _said(
    model: ModelTotals, row: tuple[Standing, Figures], legal: LegalView
) -> tuple[object, ...]:
    """All that a line of the table says but whose law it is."""
    standing, figures = row
    threshold = standing.threshold
    return (
        threshold.value_flop,
        standing.state,
        standing.decided,
        figures.total,
        conditional(threshold),
        state_words(standing, model.rulings),
        threshold.may_alert,
        forecast_cell(legal, (model.model, threshold.id)),
    )


def _standing(
    model: ModelTotals, rows: Sequence[tuple[Standing, Figures]], legal: LegalView
) -> Row:
    standing, figures = rows[0]
    threshold, total = standing.threshold, figures.total
    value = threshold.value_flop
    known = standing.state is not State.UNKNOWN
    ends = percent_range(total.lower, total.upper, value) if known else ("-", "-")
    cells = (
        f'<span class="id">{escape(name_of([each.threshold.id for each, _ in rows]))}</span>',
        escape(name_of([each.threshold.jurisdiction for each, _ in rows])),
        line_html(value),
        f"<b>{percent_text(total.best, value)}</b>" if known else "-",
        ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}",
        f"{_state(model, standing)}{_notes(model, standing)}",
        forecast_cell(legal, (model.model, threshold.id)),
    )
    return Row(cells, title=escape(", ".join(each.threshold.id for each, _ in rows)))


def _notes(model: ModelTotals, standing: Standing) -> str:
    """What a state does not say: other conditions, exclusions in use, an unverified source."""
    threshold = standing.threshold
    notes = []
    if conditional(threshold) and standing.state in (State.ABOVE, State.CONDITIONS_NOT_MET):
        notes.append(conditional(threshold))
    elif conditional(threshold):
        notes.append(f"compute is one test of several: {conditional(threshold)}")
    used = model.rulings.used(threshold.counting_profile)
    if used is not None:
        counted = counted_by(model, rules_of(threshold))
        whole, permitted = counted.everything.total.best, counted.permitted.total.best
        notes.append(
            f"{used.said} left out by decision {used.sequence}; all "
            f"{round_flop(whole, thresholds=[threshold.value_flop])}, with permitted exclusions "
            f"{round_flop(permitted, thresholds=[threshold.value_flop])}"
        )
    if not threshold.may_alert:
        notes.append("unverified source: a note, no alert")
    return "".join(f'<br><span class="soft">{escape(note)}</span>' for note in notes)


def _state(model: ModelTotals, standing: Standing) -> str:
    """The state as a word; green only where the whole likely range is below."""
    words = escape(state_words(standing, model.rulings))
    if standing.state is State.BELOW:
        kind = "below" if standing.decided else "open"
    elif standing.state is State.UNKNOWN:
        kind = "unknown"
    else:
        alone = standing.state is State.ABOVE and standing.conditions
        kind = "above" if alone else "open"
    text = "ABOVE" + words.removeprefix("above") if words.startswith("above") else words
    return f'<span class="state {kind}">{text}</span>'


def _thresholds(thresholds: Sequence[Threshold]) -> str:
    columns = (
        ("Id", ""),
        ("Instrument", ""),
        ("FLOP", "n"),
        ("What it counts", "after"),
        ("Source", ""),
    )
    rows = [
        Row(
            (
                f'<span class="id">{escape(t.id)}</span>',
                f'{escape(t.instrument)}<br><span class="soft">{escape(t.jurisdiction)}</span>',
                f"{t.operator.value.replace('_', ' ')} {line_html(t.value_flop)}",
                escape(t.counts),
                f'{escape(t.source)}<br><span class="soft">checked {t.checked_on.isoformat()}, '
                f"{escape(t.verification)}</span>",
            )
        )
        for t in thresholds
    ]
    return f'<h2>Thresholds applied</h2><div class="card">{table(columns, rows)}</div>'


def _footer(snapshot: TotalsSnapshot) -> str:
    return (
        '<footer class="soft"><p>Figures are executed FLOP: what the silicon did, with padding, '
        "recomputation and evaluation. A law may count less or more; whether it is met is a "
        "determination a named person records. Draft for counsel, not legal advice.</p>"
        "<p>The likely range contains the true figure with a probability of 95 % by the method's "
        "stated error budget. Time nobody measured adds nothing to the lower and most likely "
        "figures and its full ceiling to the upper one. Exact integers: "
        '<a href="/api/v1/totals">/api/v1/totals</a>.</p>'
        f"<p>{'SIMULATED ledger. ' if snapshot.simulated else ''}"
        f"Generated {utc_text(snapshot.as_of_ns)}.</p></footer>"
    )


def _some(names: Sequence[str], limit: int = 6) -> str:
    """Names, escaped, and how many more there are."""
    shown = ", ".join(escape(name) for name in names[:limit])
    more = len(names) - limit
    return f"{shown} and {more} more" if more > 0 else shown
