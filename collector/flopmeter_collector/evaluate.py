"""Evaluation: how each model stands to each threshold, and what has changed since.

Owns: which thresholds a figure is held against, and the rule for what is a transition.
May touch: nothing; pure functions of a snapshot, the catalogue and the states recorded before.
Called by judge in each round, by presentation and by the lab's replay.
The tool compares figures; whether a law is met is a determination a named person records.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

from flopmeter_collector.held import held_at
from flopmeter_collector.ledger.base import Transition
from flopmeter_collector.snapshot import ModelTotals, TotalsSnapshot
from flopmeter_collector.standing_words import condition_state, conditions_words
from flopmeter_core.catalogue import Standing, State, Threshold, stand
from flopmeter_core.counting import Counted, Profile, count
from flopmeter_core.errors import DataError
from flopmeter_core.forecast import Outlook
from flopmeter_core.interval import NO_FIGURES, Figures
from flopmeter_core.profiles import builtin_profiles

Subject = tuple[str, str]
"""(model, threshold id)."""

Previous = Mapping[Subject, State]
"""The state last recorded; nothing is recorded of who has always been below."""

Held = tuple[tuple[Standing, Figures], ...]
"""A model's standings, each with the figures that were counted for it."""

QUIET = (State.BELOW, State.UNKNOWN)
"""First states nobody needs to be told of, and that a restart finds again by itself."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The standings of all models, and the transitions nobody recorded yet."""

    standings: Mapping[str, tuple[Standing, ...]] = field(default_factory=dict)
    transitions: tuple[Transition, ...] = ()


def applicable(thresholds: Iterable[Threshold], *, simulated: bool) -> tuple[Threshold, ...]:
    """Keep the thresholds a figure may be held against.

    A line drawn for a demonstration says nothing of a measured figure; a law is shown for a
    simulated one too, marked as simulated like everything about it.
    """
    return tuple([t for t in thresholds if simulated or not t.demonstration])


def model_standings(
    model: ModelTotals,
    thresholds: Iterable[Threshold],
    counts: Mapping[str, Counted] | None = None,
) -> Held:
    """Hold a model against every applicable threshold, each under its own counting profile.

    Args:
        model: its totals.
        thresholds: the rows of the day.
        counts: its `counts_of` these rows, of who has them.

    Returns:
        Each standing with the figures that were counted for it.
    """
    held = []
    for threshold in applicable(thresholds, simulated=model.simulated):
        known = model.held.get(id(threshold))
        if known is None:
            profile = threshold.counting_profile
            of = counts[profile] if counts else counted_by(model, rules_of(threshold))
            standing = stand(of.decided, threshold, declared=model.rulings.declared(threshold.id))
            known = model.held[id(threshold)] = (threshold, (standing, of.decided))
        held.append(known[1])
    return tuple(held)


def standings_of(
    models: Iterable[ModelTotals], lines: Mapping[bool, Sequence[Threshold]]
) -> list[Standing]:
    """The standings of many models, one after another, as `model_standings` has them.

    Args:
        models: their totals.
        lines: the applicable thresholds, by whether a figure is simulated.
    """
    standings: list[Standing] = []
    for model in models:
        against = lines[model.simulated]
        known = [model.held.get(id(threshold)) for threshold in against]
        if None in known:
            standings += [standing for standing, _ in model_standings(model, against)]
        else:
            standings += [each[1][0] for each in known if each is not None]
    return standings


def counts_of(model: ModelTotals, thresholds: Iterable[Threshold]) -> dict[str, Counted]:
    """A model's work under the counting profile of each applicable threshold, by its id."""
    counted: dict[str, Counted] = {}
    for threshold in applicable(thresholds, simulated=model.simulated):
        if threshold.counting_profile not in counted:
            counted[threshold.counting_profile] = counted_by(model, rules_of(threshold))
    return counted


def counted_by(model: ModelTotals, profile: Profile) -> Counted:
    """What a counting profile counts of a model, with and without what it permits to leave out."""
    known = model.counted.get(id(profile))
    if known is None:
        decision = model.rulings.decision(profile)
        found = (
            count(model.parts, profile, decision=decision)
            if model.parts
            else Counted(model.figures, model.figures, model.figures, {}, ())
        )
        known = model.counted[id(profile)] = (profile, found)
    return known[1]


def entered_by(model: ModelTotals, profile: Profile) -> list[tuple[int, int]]:
    """What a profile counts of a model's external compute: when each period began, and its FLOP."""
    began = dict(model.entered_from_ns)
    decision = model.rulings.decision(profile)
    return [
        (began[part.origin.name], count((part,), profile, decision=decision).decided.total.best)
        for part in model.parts
        if part.origin.external
    ]


def rules_of(threshold: Threshold) -> Profile:
    """The counting profile of a threshold: the one it was read with, else the built-in one.

    Raises:
        DataError: a row that was read by itself names a profile that is not built in.
    """
    if threshold.rules is not None:
        return threshold.rules
    profile = builtin_profiles().get(threshold.counting_profile)
    if profile is None:
        raise DataError(
            f"threshold {threshold.id}: counting_profile {threshold.counting_profile!r} is not "
            "built in; read the row together with its profile"
        )
    return profile


def profiles_in(thresholds: Iterable[Threshold]) -> dict[str, Profile]:
    """Every counting profile that may decide a state: the built-in ones, and those of the rows."""
    own = {row.rules.id: row.rules for row in thresholds if row.rules is not None}
    return {**builtin_profiles(), **own}


def profile_of(threshold: Threshold) -> str:
    """The id of the counting profile of a threshold."""
    return threshold.counting_profile


def conditional(threshold: Threshold) -> str:
    """What a threshold asks for beside compute, in words; empty where the number alone decides.

    No meter sees it, so that compute alone never meets such a row.
    """
    return "; ".join(condition.text for condition in threshold.required_conditions)


def previous_states(transitions: Iterable[Transition]) -> dict[Subject, State]:
    """Read the states last recorded from a ledger's transitions, oldest first."""
    return {
        (row.model, row.threshold): State(row.after) for row in transitions if not row.foresight
    }


def evaluate(
    snapshot: TotalsSnapshot,
    thresholds: Iterable[Threshold],
    previous: Previous,
    *,
    law_as_of_ns: int | None = None,
) -> Evaluation:
    """Compute all standings, and a new row for each state that differs from the recorded one.

    A model of which nothing is recorded is below, or has no figure yet: its first state is
    recorded where it is another one, as one that leaves `unknown`. So a thousand new runs write
    nothing, and a restart repeats nothing.

    Args:
        snapshot: the totals.
        thresholds: the catalogue.
        previous: the states last recorded, from `previous_states`.
        law_as_of_ns: Unix time in ns whose law applies; that of the snapshot when None.
    """
    rows = held_at(thresholds, snapshot.as_of_ns if law_as_of_ns is None else law_as_of_ns)
    held = {model.model: model_standings(model, rows) for model in snapshot.models}
    return Evaluation(
        {name: tuple(standing for standing, _ in each) for name, each in held.items()},
        tuple(
            row
            for model in snapshot.models
            for row in changes(snapshot, model, held[model.model], previous)
        ),
    )


def changes(
    snapshot: TotalsSnapshot, model: ModelTotals, held: Held, previous: Previous
) -> Iterator[Transition]:
    """The new rows of one model; see `evaluate`."""
    for standing, figures in held:
        before = previous.get((model.model, standing.threshold.id))
        if standing.state != before and not (before is None and standing.state in QUIET):
            yield transition(
                snapshot,
                model,
                standing,
                figures,
                before=before or State.UNKNOWN,
                after=standing.state,
            )


def departures(
    snapshot: TotalsSnapshot,
    present: Set[str],
    thresholds: Mapping[str, Threshold],
    states: Previous,
    outlooks: Mapping[Subject, Outlook],
) -> Iterator[Transition]:
    """The rows that end what is recorded of models that are in the totals no more.

    A model leaves when its runs are declared another's, or its plan is given up. Without such a
    row its alerts would fire for good, and its coming back above would be no change.

    Args:
        snapshot: the totals.
        present: the models that are in them.
        thresholds: the catalogue by id; of a row that has left it nothing is said.
        states: the states last recorded.
        outlooks: the outlooks last recorded.
    """
    told: list[tuple[Subject, State | Outlook, State | Outlook]] = [
        *((each, was, State.UNKNOWN) for each, was in states.items() if was not in QUIET),
        *(
            (each, was, Outlook.NOT_FORESEEN)
            for each, was in outlooks.items()
            if was is Outlook.FORESEEN
        ),
    ]
    for (name, threshold_id), before, after in told:
        if name in present or threshold_id not in thresholds:
            continue
        model = ModelTotals(name, (), NO_FIGURES, snapshot.simulated)
        standing = stand(NO_FIGURES, thresholds[threshold_id])
        yield transition(snapshot, model, standing, NO_FIGURES, before=before, after=after)


def transition(
    snapshot: TotalsSnapshot,
    model: ModelTotals,
    standing: Standing,
    figures: Figures,
    *,
    before: str,
    after: str,
    more: Mapping[str, str] | None = None,
) -> Transition:
    """Write down a change, with all that it rests on.

    Args:
        snapshot: the totals that caused it.
        model: the model.
        standing: how it stands to the threshold.
        figures: what was counted for that.
        before: the state or outlook it left.
        after: the one it entered.
        more: what else belongs to it.
    """
    total, threshold = figures.total, standing.threshold
    return Transition(
        sequence=0,
        model=model.model,
        threshold=threshold.id,
        before=before,
        after=after,
        decided=standing.decided,
        occurred_at_ns=snapshot.as_of_ns,
        commit_number=snapshot.position.commit_number if snapshot.position else 0,
        figures={
            "floor": str(total.floor),
            "lower": str(total.lower),
            "best": str(total.best),
            "upper": str(total.upper),
            "ceiling": str(total.ceiling),
            "unobserved_ceiling": str(figures.unobserved_ceiling),
            "unattributed_upper": str(snapshot.unattributed.figures.total.upper),
            "threshold_value": str(threshold.value_flop),
            "method_version": snapshot.method_version,
            "device_table_version": snapshot.table_version,
            "simulated": "true" if model.simulated else "false",
            "conditions_state": condition_state(threshold, standing.conditions),
            **_rulings(model, standing),
            **(more or {}),
        },
    )


def _rulings(model: ModelTotals, standing: Standing) -> dict[str, str]:
    """What people ruled that the state rests on."""
    told = {}
    if standing.conditions is False:
        told["conditions_words"] = conditions_words(standing, model.rulings)
    used = model.rulings.used(standing.threshold.counting_profile)
    if used is not None:
        told["decision"] = str(used.sequence)
    return told
