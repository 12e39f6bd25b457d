"""The page for people: every model against every threshold, every run, and what is doubtful.

Owns: the page's content and order.
May touch: nothing; a pure function of an immutable snapshot and the catalogue.
Called by http.app. Every name on it comes from somebody else, so every text is escaped.
No script and nothing loaded: it can be saved, printed and handed on as one file.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from flopmeter_collector.alike import name_of, put_together
from flopmeter_collector.evaluate import (
    applicable,
    conditional,
    counted_by,
    model_standings,
    rules_of,
)
from flopmeter_collector.held import held_at, local_date
from flopmeter_collector.http.axis import axis, figure_html, range_html
from flopmeter_collector.http.page_legal import could_add, forecast_cell, legal_sections
from flopmeter_collector.http.page_style import STYLE
from flopmeter_collector.legal_view import NO_LEGAL_VIEW, LegalView
from flopmeter_collector.metric_ids import ids_of
from flopmeter_collector.presentation import (
    energy_scope_text,
    shares,
    unmeasured_share,
    utc_text,
)
from flopmeter_collector.rounding import percent_text, round_flop
from flopmeter_collector.site import stale_sentence
from flopmeter_collector.snapshot import ModelTotals, RunTotals, TotalsSnapshot
from flopmeter_collector.standing_words import state_words
from flopmeter_collector.sums import Account
from flopmeter_core.catalogue import Standing, State, Threshold
from flopmeter_core.claims import Reconciliation
from flopmeter_core.interval import Figures
from flopmeter_core.units import J_PER_KWH, MJ_PER_J, NS_PER_S

REFRESH_S = 15
"""How often an open page asks again: as slow as a person reads."""

MAXIMUM_MODELS = 50
MAXIMUM_RUNS = 200
"""More would make the page slow; the rest is counted on it and complete in the JSON."""

_PPM_PERCENT = 10_000

_NO_READING = '<span class="soft">no reading yet</span>'

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
        _notices(snapshot),
        _stale(held, snapshot),
        _models(snapshot, held, legal),
        legal_sections(legal),
        _runs(snapshot, held),
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


def _notices(snapshot: TotalsSnapshot) -> str:
    """What widens figures most and a person can cure, before everything else."""
    undeclared = [run.run for run in snapshot.runs if _undeclared(run)]
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
        else _NO_READING
    )
    rows = "".join(
        _standing(model, rows, legal)
        for rows in put_together(
            model_standings(model, thresholds), lambda row: _said(model, row, legal)
        )
    )
    return (
        f'<section class="card"><div class="top"><div><h3>{escape(model.model)}'
        f"{_mark(model.simulated)}</h3>"
        f'<span class="soft"><span class="id">{own_id}</span> &middot; {runs}</span></div>'
        f"<div>{figure}</div></div>"
        f"{axis(model.figures, thresholds)}"
        '<div class="scroll"><table><thead><tr><th>Threshold</th><th>Jurisdiction</th>'
        '<th class="n">Value (FLOP)</th>'
        '<th class="n">Reached</th><th class="n">Likely range</th><th class="after">State</th>'
        "<th>Above from (90 % of cases)</th>"
        f"</tr></thead><tbody>{rows}</tbody></table></div>{beside}</section>"
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
) -> str:
    standing, figures = rows[0]
    threshold, total = standing.threshold, figures.total
    names = name_of([each.threshold.id for each, _ in rows])
    places = name_of([each.threshold.jurisdiction for each, _ in rows])
    every = ", ".join(each.threshold.id for each, _ in rows)
    value = threshold.value_flop
    ends = (percent_text(total.lower, value), percent_text(total.upper, value))
    likely = ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
    return (
        f'<tr><td title="{escape(every)}">{escape(names)}</td><td>{escape(places)}</td>'
        f'<td class="n">{figure_html(value, ())}</td>'
        f'<td class="n"><b>{percent_text(total.best, value)}</b></td>'
        f'<td class="n">{likely}</td><td class="after">{_state(model, standing)}'
        f"{_notes(model, standing)}</td>"
        f"{forecast_cell(legal, (model.model, threshold.id))}</tr>"
    )


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


def _runs(snapshot: TotalsSnapshot, thresholds: Sequence[Threshold]) -> str:
    """Runs, those with an undeclared format first, and the remainder of no run last."""
    runs = sorted(
        snapshot.runs,
        key=lambda run: (not _undeclared(run), -run.account.figures.total.best, run.run),
    )
    values = [threshold.value_flop for threshold in thresholds]
    ids = ids_of(snapshot.position)
    rows = [_run(run, ids.run(run.run), values) for run in runs[:MAXIMUM_RUNS]]
    more = len(runs) - MAXIMUM_RUNS
    if more > 0:
        rows.append(
            f'<tr><td colspan="9" class="soft">{more} more runs are in /api/v1/totals</td></tr>'
        )
    remainder = _account_cells(snapshot.unattributed, values)
    return (
        '<h2>Runs</h2><div class="card scroll"><table><thead><tr><th>Run</th><th>Model</th>'
        '<th>Number format</th><th class="n">FLOP executed (likely range)</th>'
        '<th class="n">Claimed FLOP, like against like</th>'
        '<th class="after">Evidence</th><th class="n">Not measured</th>'
        '<th class="n">Devices</th><th class="n">Energy</th></tr>'
        f"</thead><tbody>{''.join(rows)}"
        f'<tr class="rest"><td class="name">Unattributed{_mark(snapshot.unattributed.simulated)}'
        '<br><span class="soft">work that belongs to no run</span></td><td></td><td></td>'
        f"{remainder}</tr></tbody></table></div>{_overflow(snapshot.overflow, values)}"
    )


def _overflow(account: Account, values: Sequence[int]) -> str:
    """What of the remainder may belong to a run that an agent had no room to name."""
    if not account.covered_ns:
        return ""
    total = account.figures.total
    return (
        f'<p class="notice"><strong>{account.covered_ns // NS_PER_S:,} device-seconds are in '
        f"overflow{_mark(account.simulated)}</strong>: agents of {account.node_count:,} "
        f"node{'s' if account.node_count != 1 else ''} had no room to tell their users apart. "
        f"{figure_html(total.best, values)} FLOP (likely {range_html(total, values)}) are counted "
        "in Unattributed and in no run.</p>"
    )


def _run(run: RunTotals, own_id: str, values: Sequence[int]) -> str:
    declared = run.declaration
    formats = (
        escape(declared.formats.text)
        if declared.formats
        else '<span class="undeclared">undeclared</span>'
    )
    warnings = "".join(f'<br><span class="warning">{escape(text)}</span>' for text in run.warnings)
    activity = f'<br><span class="soft">{declared.activity}</span>' if declared.activity else ""
    return (
        f'<tr><td class="name"><b>{escape(run.run)}</b>{_mark(run.account.simulated)}'
        f'<br><span class="soft id">{own_id}</span>{activity}{warnings}</td>'
        f'<td class="name">{escape(run.model)}</td><td>{formats}</td>'
        f"{_account_cells(run.account, values, _claimed(run))}</tr>"
    )


def _claimed(run: RunTotals) -> str:
    """What training processes claim, each quantity beside the meter's figure of the same."""
    if not run.claims:
        return '<span class="soft">none</span>'
    return "<br>".join(map(_claim, run.claims))


def _claim(claims: Reconciliation) -> str:
    """The executed claim, and its ratio to what was metered of the same quantity."""
    quantity = claims.totals.quantity.text
    kind = "warning" if claims.agreement.alerts else "soft"
    ratio = "" if claims.ratio is None else f"{float(claims.ratio):.3g} of metered, "
    return (
        f"{figure_html(claims.totals.executed_flop, ())} {quantity}"
        f'<br><span class="{kind}">{ratio}{claims.agreement}</span>'
        f'<br><span class="soft">metered {quantity}: {range_html(claims.metered, ())}</span>'
    )


def _account_cells(account: Account, values: Sequence[int], claimed: str = "") -> str:
    total = account.figures.total
    evidence = ", ".join(f"{level} {share * 100:.0f} %" for level, share in shares(account))
    joules = sum(account.energy_mj.values()) // MJ_PER_J
    energy = (
        f'{_kwh_text(joules)} kWh<br><span class="soft">{energy_scope_text(account)}</span>'
        if joules
        else "none"
    )
    nodes = f"{account.node_count:,} node{'s' if account.node_count != 1 else ''}"
    # Without a device there is no figure, not even 0.
    figure = (
        f"<b>{figure_html(total.best, values)}</b><br>"
        f'<span class="soft">{range_html(total, values)}</span>'
        if account.device_count
        else _NO_READING
    )
    return (
        f'<td class="n">{figure}</td>'
        f'<td class="n">{claimed}</td>'
        f'<td class="after">{evidence or "none"}</td>'
        f'<td class="n">{_share_text(unmeasured_share(account))}</td>'
        f'<td class="n">{account.device_count:,}<br><span class="soft">{nodes}</span></td>'
        f'<td class="n">{energy}</td>'
    )


def _thresholds(thresholds: Sequence[Threshold]) -> str:
    rows = "".join(
        f"<tr><td>{escape(t.id)}</td><td>{escape(t.instrument)}<br>"
        f'<span class="soft">{escape(t.jurisdiction)}</span></td>'
        f'<td class="n">{t.operator.value.replace("_", " ")} {figure_html(t.value_flop, ())}</td>'
        f'<td class="after">{escape(t.counts)}</td>'
        f"<td>{escape(t.source)}<br>"
        f'<span class="soft">checked {t.checked_on.isoformat()}, {escape(t.verification)}</span>'
        "</td></tr>"
        for t in thresholds
    )
    return (
        '<h2>Thresholds applied</h2><div class="card scroll"><table><thead><tr><th>Id</th>'
        '<th>Instrument</th><th class="n">FLOP</th><th class="after">What it counts</th>'
        "<th>Source</th></tr>"
        f"</thead><tbody>{rows}</tbody></table></div>"
    )


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


def _undeclared(run: RunTotals) -> bool:
    return run.declaration.formats is None


def _share_text(share: float) -> str:
    """A share of time: 0 % only for none, 100 % only for all."""
    if share in (0.0, 1.0):
        return f"{share * 100:.0f} %"
    parts = round(share * 100 * _PPM_PERCENT)
    if parts < _PPM_PERCENT // 10:
        return "below 0.1 %"
    return f"{min(share * 100, 99.9):.1f} %"


def _kwh_text(joules: int) -> str:
    """Energy in kWh: whole numbers from 10 on, two digits below."""
    kwh = joules / J_PER_KWH
    return f"{kwh:,.0f}" if kwh >= 10 else f"{kwh:.2g}"


def _some(names: Sequence[str], limit: int = 6) -> str:
    """Names, escaped, and how many more there are."""
    shown = ", ".join(escape(name) for name in names[:limit])
    more = len(names) - limit
    return f"{shown} and {more} more" if more > 0 else shown


def _mark(simulated: bool) -> str:
    return ' <span class="mark">SIMULATED</span>' if simulated else ""
