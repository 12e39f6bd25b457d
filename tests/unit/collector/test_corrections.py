"""Which declarations a round takes for corrections of what was counted before."""

from __future__ import annotations

from unittest.mock import MagicMock

import pytest

from flopmeter_collector.around import Past
from flopmeter_collector.judge import Judge
from flopmeter_collector.ledger.base import Declaration, HistoryRow
from flopmeter_collector.publish import Publisher
from flopmeter_collector.totals import Totals
from support.totals import table, thresholds

MOVES = ("run", "a", {"model": "m"})


def publisher() -> Publisher:
    """One that has read nothing yet."""
    return Publisher(
        table=MagicMock(),
        totals=Totals(table()),
        committer=MagicMock(),
        clock=MagicMock(),
        judge=Judge(thresholds(), horizon_ns=1),
        teller=MagicMock(),
        give_way=MagicMock(),
    )


def said(kind: str, subject: str, body: dict[str, str]) -> Declaration:
    """The first declaration of a ledger."""
    return Declaration(1, 1_000, "ann", "cli", kind, subject, body)


@pytest.mark.parametrize(
    ("kind", "subject", "body", "corrects"),
    [
        (*MOVES, True),
        ("merge", "a", {"into": "b"}, True),
        ("filing", "m", {}, False),
        ("rename", "a", {"name": "z"}, False),
        ("role", "ann", {"role": "owner", "state": "granted", "reason": "first"}, False),
    ],
)
def test_only_what_values_work_anew_corrects(
    kind: str, subject: str, body: dict[str, str], corrects: bool
) -> None:
    """A filing, a role or a name leaves growth what it is: work."""
    each = publisher()
    each.take([said(kind, subject, body)])
    assert (each.corrected, each.refused_declarations) == (corrects, 0)


def test_what_is_read_at_the_start_corrects_nothing() -> None:
    """Declarations that are read again were in the totals before: what grew since is work."""
    each = publisher()
    each.restore([said(*MOVES)])
    assert not each.corrected


@pytest.mark.parametrize(
    ("recorded_ns", "corrects"), [((500,), True), ((500, 1_000), False), ((), False)]
)
def test_what_was_declared_while_nobody_led_is_no_work(
    recorded_ns: tuple[int, ...], corrects: bool
) -> None:
    """It moved totals after they were put down last, and nobody put down that it did."""
    each = publisher()
    each.restore([said(*MOVES)])
    history = tuple(HistoryRow("m", at_ns, {"": 10}, basis="") for at_ns in recorded_ns)
    each.begin_to_lead(Past((), history, ()))
    assert each.corrected is corrects
