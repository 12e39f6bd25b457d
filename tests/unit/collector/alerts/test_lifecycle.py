"""An alert's life follows from rows alone: when it fires, what silences it, how it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from flopmeter_collector.alerts.acts import Act, Action
from flopmeter_collector.alerts.lifecycle import Alert, Alerts
from flopmeter_collector.ledger.base import Transition

CROSSED = Transition(1, "m", "line", "unknown", "above", True, 100, 1, {})
BACK = Transition(2, "m", "line", "above", "below", True, 500, 2, {})
FORESEEN = Transition(3, "m", "line", "not_foreseen", "foreseen", True, 50, 1, {})


def act(action: Action, at_ns: int, until_ns: int = 0, alert: int = 1) -> Act:
    """One act on the alert."""
    return Act(alert, action, at_ns, until_ns, "ada", "seen", 9)


def book(*rows: Transition | Act) -> Alerts:
    """The alerts after these rows."""
    alerts = Alerts()
    for row in rows:
        if isinstance(row, Transition):
            alerts.record([row])
        else:
            alerts.apply(row)
    return alerts


def only(alerts: Alerts) -> Alert:
    """The one alert there is."""
    (alert,) = alerts.all()
    return alert


def names(alert: Alert, now_ns: int) -> list[str]:
    """What receivers have been told by then."""
    return [event.name for event in alert.events(now_ns)]


def test_fires_until_the_state_goes_back() -> None:
    """A crossing fires from its totals on; the transition back ends it, with its reason."""
    alerts = book(CROSSED)
    alert = only(alerts)
    assert (names(alert, 499), alert.status(499)) == (["1/1/fires"], "firing")
    alerts.record([BACK])
    assert (names(alert, 500), alert.status(500)) == (["1/1/fires", "1/1/ends"], "over")
    assert alert.events(500)[-1].why == "the state is below again"


def test_a_clock_that_was_put_right_loses_neither_beginning_nor_end() -> None:
    """What is recorded came to pass: it is told though the clock now says an earlier time."""
    alerts = book(CROSSED)
    alert = only(alerts)
    assert (names(alert, 50), alert.status(50)) == (["1/1/fires"], "firing")
    alerts.record([replace(BACK, occurred_at_ns=60)])
    assert names(alert, 60) == names(alert, 10**6) == ["1/1/fires", "1/1/ends"]
    assert alert.status(60) == "over"


def test_a_second_crossing_is_a_second_alert() -> None:
    """Going above again opens an alert of its own, whatever was done about the first."""
    again = replace(CROSSED, sequence=3, occurred_at_ns=900)
    alerts = book(CROSSED, act(Action.ACKNOWLEDGE, 200), BACK, again)
    assert [alert.status(950) for alert in alerts.all()] == ["over", "firing"]


def test_acknowledged_and_resolved_do_not_fire() -> None:
    """A person takes it: it ends then, and stays ended."""
    for action in (Action.ACKNOWLEDGE, Action.RESOLVE):
        alert = only(book(CROSSED, act(action, 300)))
        assert names(alert, 10**6) == ["1/1/fires", "1/1/ends"]
        assert alert.status(10**6) == f"{action}d"
        assert alert.events(10**6)[-1].why == f"{action}d by ada: seen"


def test_silence_ends_by_itself() -> None:
    """After a silence it fires again, as a new event, unless a person took it meanwhile."""
    alert = only(book(CROSSED, act(Action.SILENCE, 200, 300)))
    assert [alert.status(now) for now in (150, 250, 350)] == ["firing", "silenced", "firing"]
    assert names(alert, 350) == ["1/1/fires", "1/1/ends", "1/2/fires"]
    alert.apply(act(Action.ACKNOWLEDGE, 250))
    assert names(alert, 350) == ["1/1/fires", "1/1/ends"]


def test_overlapping_silences_are_one() -> None:
    """A longer silence within a silence makes no event of its own."""
    alert = only(book(CROSSED, act(Action.SILENCE, 200, 300), act(Action.SILENCE, 250, 400)))
    assert names(alert, 10**6) == ["1/1/fires", "1/1/ends", "1/2/fires"]
    assert not alert.fires(350)


def test_a_clock_behind_takes_nothing_back() -> None:
    """An act by a clock that is behind holds from the alert on: who acts has seen it."""
    alert = only(book(CROSSED, act(Action.ACKNOWLEDGE, 5)))
    assert not alert.fires(10**6)
    assert only(book(CROSSED, act(Action.SILENCE, 5, 80))).fires(101)


def test_a_silence_by_a_clock_behind_fires_again_under_another_name() -> None:
    """After a silence that seems to be older than the alert, receivers are told again."""
    alert = only(book(CROSSED))
    told = names(alert, 200)
    alert.apply(act(Action.SILENCE, 5, 300))
    assert names(alert, 250) == [*told, "1/1/ends"]
    assert names(alert, 300) == [*told, "1/1/ends", "1/2/fires"]


def test_a_second_silence_by_an_earlier_clock_renames_nothing() -> None:
    """Silences count in the ledger's order: what was told keeps its number."""
    alert = only(book(CROSSED, act(Action.SILENCE, 200, 300)))
    told = alert.events(350)
    alert.apply(act(Action.SILENCE, 150, 160))
    assert alert.events(350) == told


def test_a_silence_of_what_is_over_makes_nothing_fire() -> None:
    """Whoever silences by a clock that is behind what is over already, hears nothing more of it."""
    for end in (BACK, act(Action.RESOLVE, 500)):
        alert = only(book(CROSSED, end, act(Action.SILENCE, 200, 300)))
        assert names(alert, 10**6) == ["1/1/fires", "1/1/ends"]


def test_an_acknowledgement_by_a_clock_ahead_holds_at_once() -> None:
    """What a person took does not fire until that person's time has come."""
    alert = only(book(CROSSED, act(Action.ACKNOWLEDGE, 9_000)))
    assert (alert.fires(200), alert.status(200)) == (False, "acknowledged")
    assert alert.events(200) == alert.events(10_000)


def test_forecast_and_crossing_are_two_alerts() -> None:
    """What was foreseen and has come is foreseen no more; the crossing fires alone."""
    crossed = replace(CROSSED, sequence=4)
    alerts = book(FORESEEN, crossed)
    assert [alert.fires(200) for alert in alerts.all()] == [False, True]
    assert alerts.firing(200) == {("m", "line", False)}
    gone = replace(FORESEEN, sequence=5, before="foreseen", after="not_foreseen")
    assert book(FORESEEN, gone).firing(200) == frozenset()


def test_a_determination_takes_both() -> None:
    """A named person's determination ends every alert of its model and threshold, no other."""
    other = replace(CROSSED, sequence=7, model="other")
    alerts = book(replace(CROSSED, sequence=4), other, replace(FORESEEN, sequence=5))
    alerts.determined("m", "line", 300, "ada")
    assert alerts.firing(400) == {("other", "line", False)}
    assert alerts.all()[0].status(400) == "determined"


def test_rows_may_be_taken_twice() -> None:
    """Recording a row again changes nothing, and an act on no alert is said to be one."""
    alerts = book(CROSSED, CROSSED)
    assert names(only(alerts), 200) == ["1/1/fires"]
    assert not alerts.apply(act(Action.RESOLVE, 1, alert=77))


acts = st.lists(
    st.tuples(st.sampled_from(list(Action)), st.integers(0, 900), st.integers(1, 300)),
    max_size=6,
)


@given(acts, st.booleans())
def test_events_alternate_and_never_change(
    given_acts: Sequence[tuple[Action, int, int]], back: bool
) -> None:
    """Events fire and end in turn; what was told at one time is the beginning of what is later."""
    rows: list[tuple[Action | None, int, int]] = [*given_acts]
    if back:
        rows.append((None, BACK.occurred_at_ns, 0))
    alerts = book(CROSSED)
    told: list[str] = []
    at_ns = 100
    for action, when, lasts in sorted(rows, key=lambda each: each[1]):
        # An act is known when it happens, so what was told before it stays told.
        at_ns = max(at_ns, when)
        events = only(alerts).events(at_ns - 1)
        assert [event.name for event in events][: len(told)] == told
        told = [event.name for event in events]
        if action is None:
            alerts.record([BACK])
        else:
            alerts.apply(act(action, at_ns, at_ns + lasts))
    events = only(alerts).events(10**6)
    assert [event.name for event in events][: len(told)] == told
    assert [event.fires for event in events] == [n % 2 == 0 for n in range(len(events))]
    times = [event.at_ns for event in events]
    assert times == sorted(times)
