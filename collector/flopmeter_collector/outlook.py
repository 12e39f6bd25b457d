"""When each model will cross each line: its pace and its plan, held against the thresholds.

Owns: the forecast of a model and threshold, and the transition that says it is foreseen.
May touch: nothing; pure functions of totals, histories and a time.
Called by judge in each round; shown by http, presentation and the commands.
Explained in docs/forecast.md and docs/adr/0022-forecast.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flopmeter_collector.evaluate import Subject, profile_of, transition
from flopmeter_collector.ledger.base import Transition
from flopmeter_collector.snapshot import ModelTotals, TotalsSnapshot
from flopmeter_collector.spans import time_text
from flopmeter_collector.trails import Trails
from flopmeter_core.catalogue import Standing, State
from flopmeter_core.forecast import Crossing, Outlook, Plan, at_pace, by_plan, outlook
from flopmeter_core.interval import Figures
from flopmeter_core.pace import Pace
from flopmeter_core.values import value_class


@value_class(frozen=True, slots=True)
class Forecast:
    """When one model crosses one line.

    Attributes:
        pace: how it grows; None before a day of history, and after two weeks of standstill.
        by_pace: the dates at that pace.
        plan: what is planned for the model; None where nobody declared anything.
        by_plan: the dates by that plan.
        outlook: whether it is foreseen that the line is met.
    """

    pace: Pace | None
    by_pace: Crossing | None
    plan: Plan | None
    by_plan: Crossing | None
    outlook: Outlook

    @property
    def shown(self) -> Crossing | None:
        """The dates to show first: by the pace where there is one, else by the plan."""
        return self.by_pace if self.by_pace is not None else self.by_plan


Forecasts = Mapping[Subject, Forecast]


def forecast(
    model: ModelTotals,
    standing: Standing,
    best_flop: int,
    trails: Trails,
    *,
    now_ns: int,
    horizon_ns: int,
    before: Outlook,
) -> Forecast | None:
    """Forecast one model against one line; None where it is above, or has neither figure nor plan.

    Args:
        model: its totals.
        standing: how it stands to the line.
        best_flop: the most likely figure that was counted for that.
        trails: the histories.
        now_ns: Unix time in ns of the totals.
        horizon_ns: how far ahead a date counts as foreseen.
        before: the outlook last recorded.
    """
    plan = plan_of(model)
    if standing.state in (State.ABOVE, State.CONDITIONS_NOT_MET):
        return None
    if standing.state is State.UNKNOWN and plan is None:
        return None
    threshold = standing.threshold
    pace = trails.pace(model.model, profile_of(threshold), best_flop=best_flop, now_ns=now_ns)
    # The line is met above its value, or at it: one FLOP is no difference to a date.
    value_flop = threshold.value_flop
    paced = (
        at_pace(pace, best_flop=best_flop, value_flop=value_flop, now_ns=now_ns)
        if pace is not None
        else None
    )
    planned = (
        by_plan(plan, best_flop=best_flop, value_flop=value_flop, now_ns=now_ns)
        if plan is not None and plan.end_ns > now_ns and threshold.planned_counts
        else None
    )
    return Forecast(
        pace,
        paced,
        plan,
        planned,
        # What is declared not to apply is not foreseen; the dates of the number stand all the same.
        Outlook.NOT_FORESEEN
        if standing.conditions is False
        else outlook(paced, planned, now_ns=now_ns, horizon_ns=horizon_ns, before=before),
    )


def plan_of(model: ModelTotals) -> Plan | None:
    """What is planned for a model, as it was declared last."""
    planned = model.planned
    if planned is None or planned.until_ns <= planned.from_ns:
        return None
    return Plan(
        planned.compute.lower,
        planned.compute.best,
        planned.compute.upper,
        planned.from_ns,
        planned.until_ns,
    )


def previous_outlooks(transitions: Iterable[Transition]) -> dict[Subject, Outlook]:
    """Read the outlooks last recorded from a ledger's transitions, oldest first."""
    return {(row.model, row.threshold): Outlook(row.after) for row in transitions if row.foresight}


def foreseen(
    snapshot: TotalsSnapshot,
    model: ModelTotals,
    standing: Standing,
    figures: Figures,
    found: Forecast,
    *,
    before: Outlook,
) -> Transition:
    """Write down that a line is foreseen to be met, or no more, with the dates at that moment."""
    rests = found.by_plan if _planned(found) else found.shown
    dates = {} if rests is None else dates_text(rests)
    return transition(
        snapshot,
        model,
        standing,
        figures,
        before=before,
        after=found.outlook,
        more={
            **dates,
            **({"forecast_basis": rests.basis.value} if rests is not None else {}),
            **(
                {"pace_flop_per_h": str(found.pace.likely_flop_per_h)}
                if found.pace is not None
                else {}
            ),
        },
    )


def dates_text(crossing: Crossing) -> dict[str, str]:
    """The dates of a crossing that there are, as ISO 8601 in UTC."""
    named = {
        "earliest_date": crossing.earliest_ns,
        "likely_date": crossing.likely_ns,
        "latest_date": crossing.latest_ns,
    }
    return {name: time_text(at_ns) for name, at_ns in named.items() if at_ns is not None}


def _planned(found: Forecast) -> bool:
    """Whether the plan alone makes it foreseen."""
    return found.by_plan is not None and (found.by_pace is None or found.by_pace.likely_ns is None)
