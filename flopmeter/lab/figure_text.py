"""Words for figures: ranges, percentages, states and times as people read them.

Owns: the text of each part of a totals document.
May touch: nothing; pure functions of the document (collector.presentation makes it).
Called by totals_view and demo_view. Exact integers go in, two significant figures come out, by
the collector's own rounding, which never lands on or crosses a threshold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flopmeter_collector.rounding import percent_range, percent_text, round_flop, round_range
from flopmeter_core.catalogue import State
from flopmeter_core.units import NS_PER_S

Document = Mapping[str, Any]
"""A part of the JSON contract."""


def best_text(compute_flop: Document, values: Iterable[int] = ()) -> str:
    """The best figure: ``1.2e20``.

    Args:
        compute_flop: exact bounds in FLOP.
        values: thresholds in FLOP that rounding must stay on the side of.
    """
    return str(round_flop(compute_flop["best"], thresholds=tuple(values)))


def range_text(compute_flop: Document, values: Iterable[int] = ()) -> str:
    """The likely range, rounded outward: ``1.1..1.3e20``, ``9.6e19..1.1e20``."""
    thresholds = tuple(values)
    lower, upper = round_range(compute_flop["lower"], compute_flop["upper"], thresholds=thresholds)
    if lower.exponent == upper.exponent and compute_flop["lower"]:
        return f"{lower.mantissa}..{upper}"
    return f"{lower}..{upper}"


def counted_of(model: Document, row: Document) -> dict[str, int]:
    """What a threshold counts of a model, exactly; everything where the document says no more."""
    told = row.get("counted_flop_str") or model["compute_flop"]
    return {bound: int(told[bound]) for bound in ("lower", "best", "upper")}


def has_readings(account: Document) -> bool:
    """Whether any device reported for it: without one there is no figure, not even 0."""
    return bool(account["devices"])


def reached_text(state: str, best_flop: int, value_flop: int) -> str:
    """How much of a line a model reached: ``12 %``; no figure, not even 0, without a reading.

    Args:
        state: of the model against the line.
        best_flop: what the line counts of it, exactly.
        value_flop: the line's own value.
    """
    return "-" if state == State.UNKNOWN else percent_text(best_flop, value_flop)


def percent_range_text(compute_flop: Document, value_flop: int) -> str:
    """The likely range as a share of a threshold, rounded outward: ``11..13 %``."""
    lower, upper = percent_range(compute_flop["lower"], compute_flop["upper"], value_flop)
    return f"{lower.removesuffix(' %')}..{upper}"


def standing_text(row: Document) -> str:
    """How a model stands to a line, in the document's own words where it has them."""
    words = row.get("state_words")
    if words:
        return "ABOVE" + words.removeprefix("above") if words.startswith("above") else str(words)
    conditional = bool(row.get("conditions"))
    return state_text(row["state"], decided=row["decided"], conditional=conditional)


def state_text(state: str, *, decided: bool, conditional: bool = False) -> str:
    """How the best figure stands, and whether the likely range leaves a doubt.

    Args:
        state: of the best figure.
        decided: whether the whole likely range says the same.
        conditional: whether the law asks for more than compute.
    """
    if state == State.ABOVE and conditional:
        return f"compute test met{'' if decided else ', range reaches below'}, rest unknown"
    if state == State.ABOVE:
        return "ABOVE" if decided else "ABOVE, range reaches below"
    if state == State.CONDITIONS_NOT_MET:
        return "compute test met, another condition declared not met"
    if state == State.ABOVE_BY_UNOBSERVED_ONLY:
        return "below, unless unobserved time"
    if state == State.UNKNOWN:
        return "unknown"
    return "below" if decided else "below, range reaches above"


def evidence_text(account: Document) -> str:
    """The rungs the figure rests on: ``cycles``, or ``cycles 97 %, busy 3 %``."""
    rungs = [(rung["level"], rung["share"]) for rung in account["evidence"]]
    if len(rungs) == 1:
        return str(rungs[0][0])
    return ", ".join(f"{level} {_share_text(share)}" for level, share in rungs) or "-"


def observed_text(account: Document) -> str:
    """The share of device time that was measured; a hole never rounds away: ``99.9 %``."""
    observed_s = account["busy_device_seconds"] + account["idle_device_seconds"]
    covered_s = observed_s + account["unobserved_device_seconds"]
    return _share_text(observed_s / covered_s) if covered_s else "-"


def _share_text(share: float) -> str:
    """A share in percent; only the whole is 100 %, only nothing is 0 %."""
    if share in (0, 1):
        return f"{share * 100:.0f} %"
    return f"{min(99.9, max(0.1, share * 100)):.3g} %"


def format_text(account: Document) -> str | None:
    """The declared number format, or None where nobody declared one."""
    declared = account.get("declared") or {}
    text = declared.get("format")
    return str(text) if text else None


def time_text(time_ns: int) -> str:
    """A span as hours, minutes and seconds: ``2 h 05 min``, ``45 s``."""
    seconds = time_ns // NS_PER_S
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def energy_text(account: Document) -> str:
    """Energy with its scope: ``12 kWh (gpu)``."""
    kwh = account["energy_kwh"]
    if account["energy_scope"] == "none":
        return "-"
    amount = f"{kwh:.2g}" if kwh < 100 else f"{kwh:,.0f}"
    return f"{amount} kWh ({account['energy_scope']})"
