"""Two boots of one node: the reports prove that it was off, and not when it went off.

Whatever a node did between the last report of one boot and the start of the next one, the collector
is told the same; so the residual has to hold the history in which its device worked to the end.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from flopmeter_collector.ledger.base import Coverage
from flopmeter_collector.residual import Residual, ResidualAccounts
from flopmeter_collector.sightings import Sighting, Sightings
from flopmeter_core.registers import Evidence, Key
from flopmeter_core.units import NS_PER_S
from support.totals import h100

EPOCH_NS = 1_790_000_000 * NS_PER_S
CEILING = 2_000


@dataclass(frozen=True)
class History:
    """What a node did, in seconds of the collector's clock.

    Attributes:
        last_report: until when an agent of the first boot measured and reported.
        off: when the node went off; its device may have worked until then.
        boot: when the second boot began.
        seen: when an agent of the second boot began to measure.
        end: until when that one measured and reported.
    """

    last_report: int
    off: int
    boot: int
    seen: int
    end: int


@st.composite
def histories(draw: st.DrawFn) -> tuple[History, History]:
    """Two histories that differ in nothing but when the node went off."""
    spans = draw(st.lists(st.integers(1, 100_000), min_size=4, max_size=4))
    last, boot, seen, end = (sum(spans[: count + 1]) for count in range(4))
    early, late = (draw(st.integers(last, boot)) for _ in range(2))
    return History(last, early, boot, seen, end), History(last, late, boot, seen, end)


def told(history: History) -> tuple[list[Coverage], Residual]:
    """What a collector makes of all that the node's agents can say."""
    accounts = ResidualAccounts(silence_ns=NS_PER_S)
    for number, (boot, since, until) in enumerate(
        ((0, 0, history.last_report), (history.boot, history.seen, history.end))
    ):
        key = Key("GPU-0", f"{number:032x}", "run:a", 0, Evidence.CYCLES, h100().record_id)
        covered_ns = 0
        for now in sorted({since + (until - since) * part // 4 for part in range(1, 5)}):
            grown_ns = (now - since) * NS_PER_S - covered_ns
            covered_ns += grown_ns
            accounts.grow(
                key, h100(), covered_ns=grown_ns, lower_flop=0, ceiling_flop_per_ns=CEILING
            )
            now_ns = EPOCH_NS + now * NS_PER_S
            sighting = Sighting("n0", f"boot-{number}", (now - boot) * NS_PER_S, now_ns)
            sightings = Sightings(reported={(key.incarnation, "GPU-0"): 0})
            sightings.note_live(key.incarnation, sighting)
            accounts.sighted(sightings, now_ns, steady_ns=now_ns)
            accounts.take_doubled()
    accounts.take_doubled()
    return accounts.rows(), accounts.at(EPOCH_NS + history.end * NS_PER_S)


@given(histories())
def test_when_it_went_off_is_in_no_report(pair: tuple[History, History]) -> None:
    """Both histories leave the same rows and the same residual."""
    assert told(pair[0]) == told(pair[1])


@given(histories())
def test_work_before_a_shutdown_is_in_the_ceiling(pair: tuple[History, History]) -> None:
    """The device may have worked from the last report to the end of its boot, and in the next."""
    for history in pair:
        _, residual = told(history)
        unseen_s = (history.off - history.last_report) + (history.seen - history.boot)
        charged = sum(charge.flop for charge in residual.charges.values())
        assert charged >= unseen_s * NS_PER_S * CEILING


@given(histories())
def test_no_second_is_charged_twice(pair: tuple[History, History]) -> None:
    """The gap between two boots is charged once, and nothing beside it."""
    history = pair[0]
    _, residual = told(history)
    charged_ns = sum(charge.residual_ns for charge in residual.charges.values())
    assert charged_ns == (history.seen - history.last_report) * NS_PER_S
