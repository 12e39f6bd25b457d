"""The life of an alert: when it fires, when it is quiet, and which events that makes.

Owns: which transitions open and close an alert, and what acts and silences do to it.
May touch: nothing; a pure function of ledger rows and a time.
Called by judge (feeds it), alerts.sender (delivers its events), metrics and commands (show it).
Explained in docs/adr/0023-alerts-and-reviews.md.

Everything an alert is follows from transitions and declarations, which are in the ledger: so a
restart or a failover finds the same alerts with the same names, and has nothing to remember.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from flopmeter_collector.alerts.acts import Act, Action
from flopmeter_collector.alerts.transitions import alerts, closes
from flopmeter_collector.ledger.base import Transition


@dataclass(frozen=True, slots=True)
class Event:
    """One thing a receiver is told, exactly once if it can be.

    Attributes:
        alert: sequence of the transition that opened the alert.
        number: how often it has fired: 1, and one more after each silence.
        fires: whether it begins to fire; otherwise it ends to.
        at_ns: Unix time in ns.
        why: why it ended, in one phrase; empty for the beginning.
    """

    alert: int
    number: int
    fires: bool
    at_ns: int
    why: str = ""

    @property
    def name(self) -> str:
        """The event's name in the ledger, the same on every collector and for ever."""
        return f"{self.alert}/{self.number}/{'fires' if self.fires else 'ends'}"


@dataclass(slots=True)
class Alert:
    """One alert and what was done about it.

    Attributes:
        opening: the transition that opened it.
        closing: the transition that took its state back; None while the state stands.
        silences: those that people set while it stood, in the ledger's order.
        taken: when a person took it out of the receivers' hands, and how; None while nobody did.
    """

    opening: Transition
    closing: Transition | None = None
    silences: list[Act] = field(default_factory=list)
    taken: tuple[int, str] | None = None

    @property
    def number(self) -> int:
        """The number people name it by: the sequence of its transition."""
        return self.opening.sequence

    def take(self, at_ns: int, how: str) -> None:
        """Note that a person took it: it does not fire any more. The first one counts."""
        if self.taken is None:
            # By whichever clock: what is about an alert came after it.
            self.taken = (max(at_ns, self.opening.occurred_at_ns + 1), how)

    def apply(self, act: Act) -> None:
        """Note an act; a silence of what is over makes nothing fire again after it."""
        if act.action is not Action.SILENCE:
            self.take(act.at_ns, f"{act.action}d by {act.author}: {act.reason}")
        elif self.end() is None:
            self.silences.append(act)

    def end(self) -> tuple[int, str] | None:
        """When it stopped for good and why; None while it may fire."""
        ends = [] if self.taken is None else [self.taken]
        if self.closing is not None:
            # By whichever clock, too: one that was put right says an earlier time.
            closed_ns = max(self.closing.occurred_at_ns, self.opening.occurred_at_ns + 1)
            ends.append((closed_ns, f"the state is {self.closing.after} again"))
        return min(ends) if ends else None

    def phases(self) -> Iterator[tuple[int, int | None, str]]:
        """When it fires: from, until (None: it has no end yet) and why it ends."""
        end = self.end()
        end_ns, why = end if end is not None else (None, "")
        since_ns = self.opening.occurred_at_ns
        # By whichever clocks: a silence came after the alert, and after the silences before it in
        # the ledger; what was told before it stays told.
        quiet_ns = self.opening.occurred_at_ns + 1
        for act in self.silences:
            quiet_ns = max(act.at_ns, quiet_ns)
            if end_ns is not None and quiet_ns >= end_ns:
                break
            if quiet_ns > since_ns:
                yield since_ns, quiet_ns, f"silenced by {act.author}: {act.reason}"
            since_ns = max(since_ns, quiet_ns, act.until_ns)
        if end_ns is None or since_ns < end_ns:
            yield since_ns, end_ns, why

    def events(self, now_ns: int) -> list[Event]:
        """Everything receivers have to be told by now, in its order."""
        told = []
        end = self.end()
        for number, (since_ns, until_ns, why) in enumerate(self.phases(), start=1):
            # Only silences are waited for. That it began, and that it is over, is in the ledger:
            # it came to pass, even where the clock that dated it was ahead.
            if number > 1 and since_ns > now_ns:
                break
            told.append(Event(self.number, number, True, since_ns))
            if until_ns is not None and (until_ns <= now_ns or (end and until_ns == end[0])):
                told.append(Event(self.number, number, False, until_ns, why))
        return told

    def fires(self, now_ns: int) -> bool:
        """Whether it fires now."""
        told = self.events(now_ns)
        return bool(told) and told[-1].fires

    def status(self, now_ns: int) -> str:
        """One word for a person: firing, silenced, acknowledged, resolved or over."""
        if self.fires(now_ns):
            return "firing"
        if self.closing is not None:
            return "over"
        if self.taken is not None:
            return self.taken[1].partition(" ")[0]
        return "silenced"


class Alerts:
    """All alerts of a ledger; fed in the ledger's order, on one thread."""

    def __init__(self) -> None:
        """Start with none."""
        self._by_number: dict[int, Alert] = {}
        self._open: dict[tuple[str, str, bool], int] = {}

    def reset(self) -> None:
        """Forget all: they are about to be found again."""
        self._by_number.clear()
        self._open.clear()

    def record(self, transitions: Iterable[Transition]) -> None:
        """Take recorded transitions, oldest first; one that was taken before changes nothing."""
        for row in transitions:
            if row.sequence in self._by_number:
                continue
            for forecast in closes(row):
                number = self._open.pop((row.model, row.threshold, forecast), None)
                if number is not None:
                    self._by_number[number].closing = row
            if alerts(row):
                self._by_number[row.sequence] = Alert(row)
                self._open[row.model, row.threshold, row.foresight] = row.sequence

    def apply(self, act: Act) -> bool:
        """Take an act; returns whether there is such an alert."""
        alert = self._by_number.get(act.alert)
        if alert is not None:
            alert.apply(act)
        return alert is not None

    def determined(self, model: str, threshold: str, at_ns: int, author: str) -> None:
        """Take the alerts of a model and threshold: a person has determined what they mean."""
        for forecast in (False, True):
            number = self._open.get((model, threshold, forecast))
            if number is not None:
                self._by_number[number].take(at_ns, f"determined by {author}")

    def all(self) -> Sequence[Alert]:
        """Every alert, in the order of the numbers."""
        return list(self._by_number.values())

    def get(self, number: int) -> Alert | None:
        """The alert of a number; None where that is no alert."""
        return self._by_number.get(number)

    def stands_again(self, alert: Alert, now_ns: int) -> bool:
        """Whether a later alert of the same model, threshold and kind fires now."""
        row = alert.opening
        number = self._open.get((row.model, row.threshold, row.foresight), 0)
        return number > alert.number and self._by_number[number].fires(now_ns)

    def firing(self, now_ns: int) -> frozenset[tuple[str, str, bool]]:
        """(model, threshold, whether it is of the forecast) of each alert that fires now."""
        return frozenset(
            subject
            for subject, number in self._open.items()
            if self._by_number[number].fires(now_ns)
        )
