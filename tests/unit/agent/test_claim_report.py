"""Claims in reports: beside the meter's vectors, alone where there are none, never in the way."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from flopmeter_agent import claim_report
from flopmeter_agent.claim_report import ClaimingSource, claiming, socket_path
from flopmeter_core.claims import Claim, ClaimCounts, ClaimKey, ClaimScope
from flopmeter_core.reports import Answer, ClaimAcknowledgement, Durability, LedgerPosition, Report
from flopmeter_proto.daemon.clock import SystemClock
from support.manual_clock import ManualClock

METERED = Report({}, (), boot_ns=3, wall_ns=4, display_flop={"run:a": 9})
POSITION = LedgerPosition("L", 1, 1)
KEY = ClaimKey("a", "0", ClaimScope.GLOBAL, 0, "ab" * 16, 0, 1)
CLAIM = Claim(KEY, ClaimCounts(1, 1, 1, 1))


class Source:
    """A meter with one report, or none."""

    def __init__(self, report: Report | None) -> None:
        """Give this."""
        self._report = report
        self.answers: list[Answer] = []

    async def next_report(self) -> Report | None:
        """The report."""
        return self._report

    async def acknowledge(self, answer: Answer) -> None:
        """Keep."""
        self.answers.append(answer)


class Book:
    """A book of claims."""

    def __init__(self, *claims: Claim) -> None:
        """With these pending."""
        self.claims = claims
        self.answers: list[object] = []

    def __len__(self) -> int:
        """How many there are."""
        return len(self.claims)

    def pending(self) -> tuple[Claim, ...]:
        """The claims; nobody asks a book without any, because a thread costs more than to look."""
        assert self.claims
        return self.claims

    def acknowledge(self, answers: object, position: LedgerPosition) -> None:
        """Keep."""
        self.answers.append((answers, position))


@pytest.mark.parametrize("metered", [METERED, None])
@pytest.mark.parametrize("claims", [(CLAIM,), ()])
def test_reports(metered: Report | None, claims: tuple[Claim, ...]) -> None:
    """The meter's report is never changed, and nothing is sent when there is nothing to say."""
    source = ClaimingSource(Source(metered), Book(*claims), ManualClock())  # type: ignore[arg-type]
    report = asyncio.run(source.next_report())
    if metered is None and not claims:
        assert report is None
        return
    assert report is not None
    assert report.claims == claims
    assert report.display_flop == ({"run:a": 9} if metered else {})


def test_answers() -> None:
    """The meter and the claims each get the answer."""
    meter, book = Source(None), Book()
    source = ClaimingSource(meter, book, ManualClock())  # type: ignore[arg-type]
    acks = (ClaimAcknowledgement(CLAIM, Durability.AT_ROOT),)
    asyncio.run(source.acknowledge(Answer((), POSITION, acks)))
    assert (len(meter.answers), book.answers) == (1, [(acks, POSITION)])


def test_where_claims_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default where the folder exists, and not by made-up meters; a path is a path."""
    monkeypatch.setattr(claim_report, "SOCKET_FOLDER", tmp_path)
    assert socket_path("auto", simulated=False) == tmp_path / "agent.sock"
    assert socket_path("auto", simulated=True) is None
    assert socket_path("", simulated=False) is None
    assert socket_path("/x/s", simulated=True) == Path("/x/s")
    monkeypatch.setattr(claim_report, "SOCKET_FOLDER", tmp_path / "none")
    assert socket_path("auto", simulated=False) is None


@pytest.mark.parametrize("broken", ["socket", "journal"])
def test_broken_claims_leave_the_meter(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    """A socket or a journal that cannot be had is said, and the meter reports as ever."""
    path = tmp_path / ("none/s" if broken == "socket" else "s")
    if broken == "journal":
        (tmp_path / "claims").write_bytes(b"garbage" * 100_000)
    source = Source(METERED)
    with (
        caplog.at_level(logging.ERROR),
        claiming(source, path, state=tmp_path, node="n", run="", clock=SystemClock()) as (
            given,
            book,
        ),
    ):
        assert (given, book) == (source, None)
    assert "no claims are taken" in caplog.text
