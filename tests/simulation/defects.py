"""Defects put into the production code while a simulation runs, to see that the oracle finds them.

Owns: one context manager a defect; each takes its defect out again.
May touch: attributes of production classes and modules, in this process.
Called by tests/simulation/test_planted.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

from flopmeter_agent import journal, past
from flopmeter_agent.accumulate import Accumulator, DeviceState
from flopmeter_agent.own import OwnStates
from flopmeter_agent.succession import Succession
from flopmeter_collector import branches as rule
from flopmeter_collector import commit, intake, loading, registers
from flopmeter_collector.ledger.base import StoredVector
from flopmeter_collector.relay import outbox
from flopmeter_core.errors import WireError
from flopmeter_core.kernels.merge import ABOVE, APART
from flopmeter_core.registers import Key
from flopmeter_core.reports import Held, KeyedVector, LedgerPosition
from flopmeter_proto.wire import stream

Defect = Callable[[], contextlib.AbstractContextManager[object]]


def ack_before_commit() -> contextlib.AbstractContextManager[object]:
    """The collector answers while the commit is still on its way."""

    async def durable(self: intake.Intake, accepted: int) -> LedgerPosition:
        self._committer.durable().add_done_callback(lambda done: done.exception())
        return LedgerPosition("0" * 32, 1, 1)

    return mock.patch.object(intake.Intake, "durable", durable)


def add_instead_of_newest() -> contextlib.AbstractContextManager[object]:
    """The collector adds what comes to what it has."""
    whole = rule._merge_one

    def merge(held: Any, keyed: KeyedVector) -> Any:
        outcome, branches = whole(held, keyed)
        if outcome is rule.Outcome.ADVANCED:
            added = tuple(map(sum, zip(held[0].vector, keyed.vector, strict=True)))
            branches = (StoredVector(keyed.key, 0, keyed.sequence, added),)
        return outcome, branches

    return mock.patch.object(rule, "_merge_one", merge)


def forget_a_closed_key() -> contextlib.AbstractContextManager[object]:
    """An agent drops a register of an earlier incarnation that nobody has acknowledged."""
    whole = Succession.resume

    def resume(self: Succession, payload: bytes | None) -> None:
        whole(self, payload)
        for keyed in list(self._closed.unacknowledged()):
            del self._closed._rows[keyed.key]

    return mock.patch.object(Succession, "resume", resume)


def drop_the_carry() -> contextlib.AbstractContextManager[object]:
    """A restart loses the part of each register below one unit."""
    whole = Succession.resume

    def resume(self: Succession, payload: bytes | None) -> None:
        whole(self, payload)
        self._accumulator.carries.clear()

    return mock.patch.object(Succession, "resume", resume)


def charge_a_gap_twice() -> contextlib.AbstractContextManager[object]:
    """Time that was registered as unobserved is registered again when the device comes back."""

    def without_time(amount: Any, already_ns: int, slept_ns: int) -> Any:
        return amount

    return mock.patch("flopmeter_agent.accumulate._without_time", without_time)


def unsynced_send() -> contextlib.AbstractContextManager[object]:
    """A report leaves before the journal is durable."""
    return mock.patch.object(journal.Journal, "sync", lambda self: None)


def forget_the_baseline() -> contextlib.AbstractContextManager[object]:
    """A restart begins from the present counters: the work since the last sample is lost."""

    def resume_device(self: Accumulator, state: DeviceState) -> None:
        state.baseline = None
        self.devices[state.record.device] = state

    return mock.patch.object(Accumulator, "resume_device", resume_device)


def ledger_that_went_back_is_believed() -> contextlib.AbstractContextManager[object]:
    """An agent sends nothing again when the ledger was restored."""
    return mock.patch.object(LedgerPosition, "went_back", lambda self, before: False)


def acknowledge_a_failed_commit() -> contextlib.AbstractContextManager[object]:
    """A commit that failed is answered as if it had been stored."""

    def fail(self: commit.Committer, error: Exception, waiters: list[Any]) -> None:
        commit._resolve(waiters, LedgerPosition("0" * 32, 1, 1))
        commit_failure(self, error, [])  # type: ignore[arg-type]

    commit_failure = commit.Committer._fail
    return mock.patch.object(commit.Committer, "_fail", fail)


def compare_boots() -> contextlib.AbstractContextManager[object]:
    """Clocks and counters of an earlier boot are taken for those of the present one."""
    return mock.patch.object(past.Past, "is_of_this_boot", lambda self, old: True)


def a_sample_covers_any_hole() -> contextlib.AbstractContextManager[object]:
    """What a sampling sensor says of one period is taken for all the time since the last one."""
    return mock.patch("flopmeter_core.increments.LONGEST_SAMPLED_PERIODS", 1_000)


def a_clone_is_taken_for_the_next_report() -> contextlib.AbstractContextManager[object]:
    """A vector that does not follow what is held takes its place, as if it did."""
    order = rule._order

    def follows(keyed: KeyedVector, stored: StoredVector) -> int:
        found = order(keyed, stored)
        return ABOVE if found == APART else found

    return mock.patch.object(rule, "_order", follows)


def a_clone_is_not_told() -> contextlib.AbstractContextManager[object]:
    """A vector of another process of one incarnation is taken for an own one's past or next."""
    return mock.patch.object(rule, "_is_unknown", lambda order, stored, keyed: False)


def an_agent_doubts_what_it_did_not_send() -> contextlib.AbstractContextManager[object]:
    """What a copy of its disk has sent from its journal is another process' to an agent."""

    def is_own(self: OwnStates, key: Key, sequence: int, held: Held) -> bool:
        return held.fingerprint in self.follows(key)

    return mock.patch.object(OwnStates, "is_own", is_own)


def a_fork_is_not_alerted() -> contextlib.AbstractContextManager[object]:
    """Both branches are kept, and nobody is told."""
    return mock.patch.object(registers.RegisterTable, "forked_key_count", lambda self: 0)


def a_relay_speaks_for_the_root() -> contextlib.AbstractContextManager[object]:
    """A relay says that everything it has committed is at the root."""

    def watch(self: outbox.Outbox, key: Key, sequence: int, watch: outbox.Watch) -> None:
        watch.ready[key] = sequence

    return mock.patch.object(outbox.Outbox, "watch", watch)


def a_relay_trusts_its_root() -> contextlib.AbstractContextManager[object]:
    """A relay sends nothing again to a root that is another one, or went back."""
    return mock.patch.object(outbox.Outbox, "reset", lambda self, now_ns: None)


def a_relay_forwards_once() -> contextlib.AbstractContextManager[object]:
    """What was on its way when a stream ended is not sent again."""
    return mock.patch.object(outbox.Outbox, "rewind", lambda self: None)


def an_older_agent_is_refused() -> contextlib.AbstractContextManager[object]:
    """A vector that does not say how long its host had been up is no vector."""
    whole = stream.StreamReader.report

    def report(self: stream.StreamReader, message: Any) -> Any:
        if any(not vector.boot_duration_ns for vector in message.vectors):
            raise WireError("a vector has no boot time")
        return whole(self, message)

    return mock.patch.object(stream.StreamReader, "report", report)


def a_server_that_went_back_is_told_the_newest_only() -> contextlib.AbstractContextManager[object]:
    """A collector stores again what it had in hand, and not all that it holds."""
    return mock.patch.object(
        commit.Committer, "_whole", lambda self, batch: replace(batch, whole=True)
    )


def others_are_not_read() -> contextlib.AbstractContextManager[object]:
    """Who exports the totals does not take in what other collectors of the ledger committed."""
    return mock.patch.object(registers.RegisterTable, "absorb", lambda self, foreign: None)


CLONED = ("live_clone", "kill_agent", "bad_weather")
"""Faults that often leave a fork behind."""

RELAYED = ("bad_weather", "kill_agent", "kill_collector", "old_backup", "upstream_outage")
"""Faults that a tree of relays has to stand."""

SERVED = ("failover", "kill_agent", "lost_commit_answer", "kill_collector")
"""Faults that collectors of one server's ledger have to stand."""


def merge_before_it_is_read() -> contextlib.AbstractContextManager[object]:
    """A collector that is loading holds a report against what it happens to have in memory."""

    async def know(self: loading.Loading, nodes: object) -> None:
        """Nothing is looked up."""

    return mock.patch.object(loading.Loading, "know", know)


FAULTS: dict[str, tuple[str, ...]] = {
    "a shared ledger is told the newest only": SERVED,
    "others of a shared ledger are not read": SERVED,
    "refuse an older agent": ("other_version", "kill_agent"),
    "a relay speaks for the root": RELAYED,
    "a relay trusts its root": RELAYED,
    "a relay forwards once": RELAYED,
    "believe a clone": CLONED,
    "fork without alert": CLONED,
    "clones are not told": CLONED,
    "doubt what was not sent": ("old_image", "old_backup", "bad_weather"),
    "merge before it is read": ("kill_collector", "late_stream", "bad_weather", "kill_agent"),
}
"""The faults under which a defect is looked for, where it is not all of them."""

DEFECTS: dict[str, tuple[Defect, str]] = {
    "ack before commit": (ack_before_commit, "before its commit"),
    "add instead of newest": (add_instead_of_newest, "nobody wrote"),
    "forget a closed key": (forget_a_closed_key, "a state that it must not come back to"),
    "drop the carry": (drop_the_carry, "are not what was read of it"),
    "unsynced send": (unsynced_send, "before it is synced"),
    "acknowledge a failed commit": (acknowledge_a_failed_commit, "before its commit"),
    "compare boots": (compare_boots, "are not what was read of it"),
    "charge a gap twice": (charge_a_gap_twice, "are not what was read of it"),
    "believe a ledger that went back": (ledger_that_went_back_is_believed, "is not in the ledger"),
    "a sample for any hole": (a_sample_covers_any_hole, "are not what was read of it"),
    "believe a clone": (a_clone_is_taken_for_the_next_report, "which has a clone"),
    "fork without alert": (a_fork_is_not_alerted, "forks are alerted"),
    "clones are not told": (a_clone_is_not_told, "of one of two live clones is hidden"),
    "doubt what was not sent": (an_agent_doubts_what_it_did_not_send, "for another writer's"),
    "a relay speaks for the root": (a_relay_speaks_for_the_root, "by site-1 before its commit"),
    "a relay trusts its root": (a_relay_trusts_its_root, "the ledger holds sequence"),
    "a relay forwards once": (a_relay_forwards_once, "the fleet did not converge"),
    "refuse an older agent": (an_older_agent_is_refused, "the fleet did not converge"),
    "a shared ledger is told the newest only": (
        a_server_that_went_back_is_told_the_newest_only,
        "acknowledged by root before its commit",
    ),
    "others of a shared ledger are not read": (others_are_not_read, "FLOP were done"),
    "merge before it is read": (merge_before_it_is_read, "went back on a vector"),
    "forget the baseline": (forget_the_baseline, "are not what was read of it"),
}
"""Each defect with a part of the sentence it is found by."""
