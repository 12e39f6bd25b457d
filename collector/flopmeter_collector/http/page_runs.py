"""The page's part about runs: what each did, how it is known, and what belongs to no run.

Owns: which columns there are, and their words.
May touch: nothing; pure functions of an immutable snapshot. Every text is escaped.
Called by http.page.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from flopmeter_collector.http.axis import figure_html, range_html
from flopmeter_collector.http.page_table import Row, table
from flopmeter_collector.metric_ids import ids_of
from flopmeter_collector.presentation import energy_scope_text, shares, unmeasured_share
from flopmeter_collector.snapshot import RunTotals, TotalsSnapshot
from flopmeter_collector.sums import Account
from flopmeter_core.catalogue import Threshold
from flopmeter_core.claim_agreement import Reconciliation
from flopmeter_core.units import J_PER_KWH, MJ_PER_J, NS_PER_S

MAXIMUM_RUNS = 200
"""More would make the page slow; the rest is counted on it and complete in the JSON."""

NO_READING = '<span class="soft">no reading yet</span>'

_PPM_PERCENT = 10_000

_COLUMNS = (
    ("Run", "name"),
    ("FLOP executed (likely range)", "n"),
    ("Number format", "after"),
    ("Evidence", ""),
    ("Not measured", "n"),
    ("Devices", "n"),
    ("Energy", "n"),
)
_CLAIMED = ("Claimed FLOP, like against like", "n")


def runs_section(snapshot: TotalsSnapshot, thresholds: Sequence[Threshold]) -> str:
    """Runs, those with an undeclared format first, and the remainder of no run last."""
    runs = sorted(
        snapshot.runs,
        key=lambda run: (not is_undeclared(run), -run.account.figures.total.best, run.run),
    )
    values = [threshold.value_flop for threshold in thresholds]
    ids = ids_of(snapshot.position)
    # A column that would be empty takes room from all others.
    claimed = any(run.claims for run in runs)
    columns = (*_COLUMNS, _CLAIMED) if claimed else _COLUMNS
    rows = []
    for run in runs[:MAXIMUM_RUNS]:
        cells = (
            _name(run, ids.run(run.run)),
            *_account_cells(run.account, values, _format(run)),
            *([_claims(run)] if claimed else []),
        )
        rows.append(Row(cells))
    remainder = (
        f"Unattributed{mark(snapshot.unattributed.simulated)}"
        '<br><span class="soft">work that belongs to no run</span>',
        *_account_cells(snapshot.unattributed, values, ""),
        *([""] if claimed else []),
    )
    rows.append(Row(remainder, kind="rest"))
    more = len(runs) - MAXIMUM_RUNS
    rest = f'<p class="soft">{more} more runs are in /api/v1/totals.</p>' if more > 0 else ""
    return (
        f'<h2>Runs</h2><div class="card">{table(columns, rows)}{rest}</div>'
        f"{_overflow(snapshot.overflow, values)}"
    )


def _overflow(account: Account, values: Sequence[int]) -> str:
    """What of the remainder may belong to a run that an agent had no room to name."""
    if not account.covered_ns:
        return ""
    total = account.figures.total
    return (
        f'<p class="notice"><strong>{account.covered_ns // NS_PER_S:,} device-seconds are in '
        f"overflow{mark(account.simulated)}</strong>: agents of {account.node_count:,} "
        f"node{'s' if account.node_count != 1 else ''} had no room to tell their users apart. "
        f"{figure_html(total.best, values)} FLOP (likely {range_html(total, values)}) are counted "
        "in Unattributed and in no run.</p>"
    )


def _name(run: RunTotals, own_id: str) -> str:
    """What a run is called, where it belongs, and what a reader has to know of it."""
    label = f" &middot; {run.declaration.activity}" if run.declaration.activity else ""
    model = f"model {escape(run.model)}" if run.model != run.run else "a model of its own"
    warnings = "".join(f'<br><span class="warning">{escape(text)}</span>' for text in run.warnings)
    return (
        f"<b>{escape(run.run)}</b>{mark(run.account.simulated)}"
        f'<br><span class="soft">{model}{label}</span>'
        f'<br><span class="soft id">{own_id}</span>{warnings}'
    )


def _format(run: RunTotals) -> str:
    declared = run.declaration.formats
    # A mix may break after its commas, and nowhere else.
    if declared:
        return escape(declared.text).replace(",", ",<wbr>")
    return '<span class="undeclared">undeclared</span>'


def _claims(run: RunTotals) -> str:
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


def _account_cells(account: Account, values: Sequence[int], formats: str) -> tuple[str, ...]:
    """Figure, format, evidence, what was not measured, devices and energy."""
    total = account.figures.total
    evidence = ", ".join(f"{level} {share * 100:.0f}&nbsp;%" for level, share in shares(account))
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
        else NO_READING
    )
    return (
        figure,
        formats,
        evidence or "none",
        _share_text(unmeasured_share(account)),
        f'{account.device_count:,}<br><span class="soft">{nodes}</span>',
        energy,
    )


def is_undeclared(run: RunTotals) -> bool:
    """Whether nobody declared the run's number format."""
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


def mark(simulated: bool) -> str:
    """The mark of a made-up figure."""
    return ' <span class="mark">SIMULATED</span>' if simulated else ""
