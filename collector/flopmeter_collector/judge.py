"""What each round says of the law: states, forecasts, and the alerts and reviews they open.

Owns: what was recorded before, and the batch that records what is new.
May touch: nothing; memory only. What it asks for is written by publish, and told back to it.
Called by publish. Explained in docs/adr/0022-forecast.md and docs/adr/0023-alerts-and-reviews.md.

Everything here is found again from the ledger: transitions, history and declarations. A round
records a change in one transaction, and only then is it shown; whoever leads next goes on from
what is recorded, so nothing is recorded twice and nothing is forgotten.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import replace
from itertools import chain

from flopmeter_collector.alerts.acts import (
    ALERT_KIND,
    REVIEW_KIND,
    Act,
    Determination,
    parse_act,
    parse_determination,
)
from flopmeter_collector.alerts.lifecycle import Alerts
from flopmeter_collector.alerts.transitions import alerts
from flopmeter_collector.duties import legal_fields, review_dates
from flopmeter_collector.evaluate import (
    Held,
    Subject,
    applicable,
    changes,
    departures,
    entered_by,
    model_standings,
    previous_states,
    profile_of,
    rules_of,
    transition,
)
from flopmeter_collector.held import RowsOfTheDay
from flopmeter_collector.law_effects import by_law, lapses, law_basis
from flopmeter_collector.law_memory import LawMemory, memory_of, replaced_rows
from flopmeter_collector.ledger.base import Declaration, HistoryRow, Transition
from flopmeter_collector.legal_view import LegalView, view_of
from flopmeter_collector.outlook import (
    Forecast,
    Forecasts,
    forecast,
    foreseen,
    previous_outlooks,
)
from flopmeter_collector.reviews import Reviews
from flopmeter_collector.snapshot import ModelTotals, TotalsSnapshot
from flopmeter_collector.trails import PACES_A_ROUND, Trails
from flopmeter_collector.turns import Pause, between, go_on
from flopmeter_core.catalogue import Standing, State, Threshold
from flopmeter_core.forecast import Basis, Outlook
from flopmeter_core.interval import Figures
from flopmeter_core.units import NS_PER_S
from flopmeter_core.values import value_class
from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)

FORECAST_HOLDS_NS = 10 * NS_PER_S
FORECASTS_A_ROUND = 50
"""A forecast is made anew so often, and of so many models a round: a date by the day needs no more,
and reports must not wait for a thousand models."""

DECLARED_TO = "declared_to"
"""Field of a transition's figures: the last declaration that was known when it was made."""


@value_class(frozen=True, slots=True)
class Judgement:
    """What one round found.

    Attributes:
        transitions: every one that nobody recorded yet.
        forecasts: by model and threshold.
        history: rows that have to be written.
        law: what is to be remembered of the law that decided, beside the last of them; None where
            the ledger has it.
    """

    transitions: tuple[Transition, ...]
    forecasts: Forecasts
    history: tuple[HistoryRow, ...]
    law: LawMemory | None = None


class Judge:
    """Holds every round against what is recorded; used by one round at a time."""

    def __init__(
        self,
        thresholds: Sequence[Threshold],
        *,
        horizon_ns: int,
        paces_a_round: int = PACES_A_ROUND,
    ) -> None:
        """Start without a past.

        Args:
            thresholds: what models are held against.
            horizon_ns: how far ahead a date counts as foreseen.
            paces_a_round: how many paces are worked out in one round.
        """
        self._horizon_ns = horizon_ns
        self._of_the_day = RowsOfTheDay()
        self._in_force: tuple[Threshold, ...] = ()
        self._begun = False
        self._replaced: dict[str, Threshold] | None = None
        self._remembered: LawMemory | None = None
        self._newest: dict[Subject, Transition] = {}
        self.take_law(thresholds)
        self._states: dict[Subject, State] = {}
        self._outlooks: dict[Subject, Outlook] = {}
        self._acts: list[Act | Determination] = []
        self._recorded: list[Transition] = []
        self._trails = Trails(paces_a_round)
        self._held: dict[str, tuple[ModelTotals, Held]] = {}
        self._unrecorded: set[str] = set()
        self._forecasts: dict[Subject, Forecast] = {}
        self._forecast_ns: dict[str, int] = {}
        self._planned: set[str] = set()
        self.alerts = Alerts()
        self.reviews = Reviews()

    def take_law(self, thresholds: Iterable[Threshold]) -> None:
        """Take other rows in the place of those that are known; the next round judges by them."""
        self._thresholds = tuple(thresholds)
        self._by_id = {threshold.id: threshold for threshold in self._thresholds}
        self._law_basis = law_basis(self._thresholds)

    def restore(
        self,
        transitions: Iterable[Transition],
        history: Iterable[HistoryRow],
        law: LawMemory | None = None,
    ) -> None:
        """Take what the ledger has, in the place of what was known: this collector leads now.

        Args:
            transitions: all that are recorded.
            history: of the last weeks.
            law: what is remembered of the law by which they were recorded.
        """
        self._remembered, self._begun = law, False
        rows = list(transitions)
        self._states, self._outlooks = previous_states(rows), previous_outlooks(rows)
        self._recorded = rows
        self._newest = {(row.model, row.threshold): row for row in rows}
        self._trails.restore(history)
        self._held, self._forecasts, self._forecast_ns = {}, {}, {}
        self._planned = set()
        self._rebuild()

    @property
    def recorded_to_ns(self) -> int:
        """Unix time in ns to which the totals of models were put down."""
        return self._trails.newest_ns

    def apply(self, declaration: Declaration) -> bool:
        """Take a declaration about alerts or reviews; returns whether it was one.

        Raises:
            DataError: it cannot be understood.
        """
        if declaration.kind == ALERT_KIND:
            act: Act | Determination = parse_act(declaration)
        elif declaration.kind == REVIEW_KIND:
            act = parse_determination(declaration)
        else:
            return False
        self._acts.append(act)
        if self._recorded and act.sequence <= _known_to(self._recorded[-1]):
            # Who led before took it already, and recorded more since.
            self._rebuild()
        else:
            self._take(act)
        return True

    def _rebuild(self) -> None:
        """Find alerts and reviews again, from what is recorded and what people did."""
        self.alerts.reset()
        self.reviews.reset()
        # In the order they were taken: a determination ends a review, and what changes after it
        # opens another. Each row says which declarations were known when it was made.
        told: list[tuple[int, int, Transition | Act | Determination]] = [
            *((_known_to(row), 1, row) for row in self._recorded),
            *((act.sequence, 0, act) for act in self._acts),
        ]
        for _, _, each in sorted(told, key=lambda entry: entry[:2]):
            if isinstance(each, Transition):
                self.alerts.record([each])
                self.reviews.record([each])
            else:
                self._take(each)

    def _take(self, act: Act | Determination) -> None:
        if isinstance(act, Act):
            known = self.alerts.apply(act)
        else:
            review = self.reviews.determine(act)
            known = review is not None
            if review is not None:
                self.alerts.determined(review.model, review.threshold, act.at_ns, act.author)
        if not known:
            number = act.alert if isinstance(act, Act) else act.review
            logger.debug("nothing is recorded under a number", extra=fields(number=number))

    def judge(
        self,
        snapshot: TotalsSnapshot,
        *,
        declared_to: int,
        corrected: bool,
        pause: Pause = go_on,
    ) -> Judgement:
        """Hold totals against everything; nothing of it is recorded yet.

        Only models whose totals are another object than in the last round are held against the
        thresholds again, and those whose changes are not recorded yet.

        Args:
            snapshot: the totals.
            declared_to: sequence of the last declaration that is in them.
            corrected: whether one was read in this round.
            pause: called between two models.
        """
        now_ns = snapshot.as_of_ns
        present = {model.model for model in snapshot.models}
        self._forget_all_but(present)
        self._take_law_of(now_ns)
        moved = [
            model
            for model in between(snapshot.models, pause)
            if model.model in self._unrecorded or self._last(model) is not model
        ]
        rows = list(departures(snapshot, present, self._by_id, self._states, self._outlooks))
        rows += self._lapses(snapshot, present)
        for model in between(moved, pause):
            held = model_standings(model, self._in_force)
            self._held[model.model] = (model, held)
            (self._planned.add if model.planned else self._planned.discard)(model.model)
            rows += (
                by_law(row, model, self._replaced)
                for row in changes(snapshot, model, held, self._states)
            )
        history = self._trails.note(
            {model.model: self._profiles(model) for model in between(moved, pause)},
            now_ns=now_ns,
            lowest_flop=self._lowest_flop(snapshot),
            basis=f"{snapshot.method_version}/{snapshot.table_version}{self._law_basis}",
            corrected=corrected,
        )
        rows += self._foresee(snapshot)
        self._unrecorded = {row.model for row in rows}
        found = tuple(self._dated(row, now_ns, declared_to, history) for row in rows)
        law = memory_of(self._in_force) if found or history else self._remembered
        news = law if law != self._remembered else None
        return Judgement(found, dict(self._forecasts), history, news)

    def _take_law_of(self, now_ns: int) -> None:
        """Keep the rows that are held today; by other rows every model is judged anew."""
        in_force = self._of_the_day.at(self._thresholds, now_ns)
        if not self._begun:
            # What was held when somebody recorded last, as far as the ledger tells it.
            self._replaced = replaced_rows(self._remembered, in_force)
            self._in_force, self._held, self._forecast_ns = in_force, {}, {}
            self._begun = True
        elif in_force != self._in_force:
            # What was held before the rows were replaced; kept until a round is recorded.
            self._replaced = {row.id: row for row in self._in_force} | (self._replaced or {})
            self._in_force, self._held, self._forecast_ns = in_force, {}, {}
        elif not self._unrecorded:
            self._replaced = None

    def _lapses(self, snapshot: TotalsSnapshot, present: Set[str]) -> Iterator[Transition]:
        """The rows that end what is recorded against lines that are held no more."""
        held = {row.id for row in self._in_force}
        yield from lapses(
            snapshot,
            {each: row for each, row in self._newest.items() if each[0] in present},
            held,
            self._states,
            self._outlooks,
        )
        for subject in [each for each in self._forecasts if each[1] not in held]:
            del self._forecasts[subject]

    def _forget_all_but(self, present: Set[str]) -> None:
        """Keep nothing of models that have left the totals: what is kept of them is shown."""
        # Not as a difference of sets: of 100,000 that is one piece in which no thread computes.
        kept = chain(self._held, self._planned, self._forecast_ns)
        for name in [name for name in kept if name not in present]:
            self._held.pop(name, None)
            self._planned.discard(name)
            self._forecast_ns.pop(name, None)
            for subject in [each for each in self._forecasts if each[0] == name]:
                del self._forecasts[subject]

    def _last(self, model: ModelTotals) -> ModelTotals | None:
        """The totals of a model that were judged last."""
        held = self._held.get(model.model)
        return held[0] if held is not None else None

    def _foresee(self, snapshot: TotalsSnapshot) -> Iterator[Transition]:
        """Forecast a bounded number of models anew, those that waited longest first."""
        now_ns = snapshot.as_of_ns
        due = sorted(
            (at_ns, name)
            for name in {*self._trails.names, *self._planned, *self._spoken_of()}
            for at_ns in (self._forecast_ns.get(name, 0),)
            if now_ns - at_ns >= FORECAST_HOLDS_NS and name in self._held
        )
        for _, name in due[:FORECASTS_A_ROUND]:
            self._forecast_ns[name] = now_ns
            model, held = self._held[name]
            for standing, figures in held:
                yield from self._forecast(snapshot, model, standing, figures)

    def _spoken_of(self) -> set[str]:
        """Models of which a forecast is shown or recorded; their plan may have been given up."""
        shown = {name for name, _ in self._forecasts}
        return shown | {
            name for (name, _), outlook in self._outlooks.items() if outlook is Outlook.FORESEEN
        }

    def _forecast(
        self, snapshot: TotalsSnapshot, model: ModelTotals, standing: Standing, figures: Figures
    ) -> Iterator[Transition]:
        """Forecast one model against one line; yields the change of its outlook."""
        subject = (model.model, standing.threshold.id)
        before = self._outlooks.get(subject, Outlook.NOT_FORESEEN)
        found = forecast(
            model,
            standing,
            figures.observed.best,
            self._trails,
            now_ns=snapshot.as_of_ns,
            horizon_ns=self._horizon_ns,
            before=before,
        )
        if found is None or (found.plan is None and model.model not in self._trails.names):
            self._forecasts.pop(subject, None)
            # A line that was crossed needs no word: the crossing itself ends its forecast.
            if before is Outlook.FORESEEN and standing.state is not State.ABOVE:
                yield transition(
                    snapshot, model, standing, figures, before=before, after=Outlook.NOT_FORESEEN
                )
            return
        self._forecasts[subject] = found
        if found.outlook is not before:
            yield foreseen(snapshot, model, standing, figures, found, before=before)

    def _dated(
        self, row: Transition, now_ns: int, declared_to: int, pending: Sequence[HistoryRow]
    ) -> Transition:
        """A transition with what it may oblige somebody to, and what was known when it was made."""
        threshold = self._by_id.get(row.threshold)
        if threshold is None:
            # It has left the catalogue: what was recorded of it then stays with it.
            return replace(row, figures={**row.figures, DECLARED_TO: str(declared_to)})
        more = {DECLARED_TO: str(declared_to), **legal_fields(threshold)}
        figures = {**row.figures, **more}
        if alerts(replace(row, figures=figures)):
            earliest_ns = now_ns
            planned = self._held[row.model][0].planned
            if planned is not None and row.figures.get("forecast_basis") == Basis.PLAN:
                # Who plans knows from the day of the plan.
                earliest_ns = min(now_ns, planned.declared_at_ns)
            if not row.foresight:
                earliest_ns = self._trails.first_reached_ns(
                    row.model,
                    profile_of(threshold),
                    threshold.value_flop,
                    best_flop=int(row.figures["best"]),
                    now_ns=now_ns,
                    pending=pending,
                    entered=entered_by(self._held[row.model][0], rules_of(threshold)),
                )
            made_up = row.figures.get("simulated") == "true"
            figures |= review_dates(threshold, earliest_ns, simulated=made_up)
        return replace(row, figures=figures)

    def _profiles(self, model: ModelTotals) -> dict[str, int]:
        """The totals of a model under the profiles of the thresholds it is held against."""
        # What only the upper side takes moves no best figure: no interval is made for it.
        whole = model.figures.observed.best
        totals = {"": whole}
        for standing, figures in self._held[model.model][1]:
            if figures.observed.best != whole:
                totals[profile_of(standing.threshold)] = figures.observed.best
        return totals

    def _lowest_flop(self, snapshot: TotalsSnapshot) -> int:
        held = applicable(self._in_force, simulated=snapshot.simulated)
        return min((threshold.value_flop for threshold in held), default=0)

    def recorded(self, transitions: Sequence[Transition]) -> None:
        """Take transitions that are in the ledger by now, with their sequences."""
        self._replaced = None
        self._states.update(previous_states(transitions))
        self._outlooks.update(previous_outlooks(transitions))
        self._recorded += transitions
        self._newest |= {(row.model, row.threshold): row for row in transitions}
        self.alerts.record(transitions)
        self.reviews.record(transitions)

    def remembered(self, law: LawMemory | None) -> None:
        """Take that a law is in the ledger by now; None where none was written."""
        self._remembered = law or self._remembered

    def written(self, history: Sequence[HistoryRow]) -> None:
        """Take history rows that are in the ledger by now."""
        self._trails.recorded(history)

    def view(self, found: Judgement, now_ns: int) -> LegalView:
        """What is shown beside the totals of a round."""
        return view_of(self.alerts.all(), self.reviews.all(), found.forecasts, now_ns)


def _known_to(row: Transition) -> int:
    """The last declaration that was known when a transition was made."""
    return int(row.figures.get(DECLARED_TO, "0"))
