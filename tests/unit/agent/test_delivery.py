"""Two processes of one incarnation: neither's work is hidden, and one alone is never doubted."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flopmeter_agent import delivery, own
from flopmeter_agent.loop import AgentLoop
from flopmeter_collector.branches import Outcome
from flopmeter_collector.doubts import Listener
from flopmeter_collector.receive import OVER
from flopmeter_collector.registers import RegisterTable
from flopmeter_core.registers import ZERO_VECTOR, Key, Vector
from flopmeter_core.reports import (
    Acknowledgement,
    Answer,
    Doubt,
    Durability,
    Held,
    LedgerPosition,
    Report,
)
from flopmeter_core.writers import fingerprint, key_digest, mark_of
from support.counting_node import CountingNode

POSITION = LedgerPosition("L", 1, 1)
COMMON = f"{1:032x}"
"""The incarnation that the first agent of every node here has."""


class Writer:
    """One of the processes, with the random numbers it draws after the copy."""

    def __init__(self, folder: Path, name: str) -> None:
        """Start, as the other one does."""
        folder.mkdir()
        self.name = name
        self.names = (f"{name}{number:031x}" for number in range(1, 1_000))
        self.node = CountingNode(folder, devices=2)
        self.node.start()
        self.loop._past._new_incarnation = lambda: next(self.names)
        self.remembers = True
        """Whether this is the process that was copied, or its copy."""
        self.renewals = 0
        self.listener: Listener | None = None

    def step(self) -> None:
        """A sample; no two machines take it at the same nanosecond."""
        self.node.step(self.node.period_ns + ord(self.name))

    @property
    def loop(self) -> AgentLoop:
        """The running process."""
        assert self.node.loop is not None
        return self.node.loop

    def renew(self) -> None:
        """Another incarnation of the same process, as after a quarantine."""
        self.renewals += 1
        assert self.loop.renew()

    def restart(self) -> None:
        """SIGKILL and the next process: it draws for itself."""
        self.remembers = False
        self.node.starts += 1_000 * ord(self.name)
        self.node.start()
        self.loop._past._new_incarnation = lambda: next(self.names)

    def work_under_the_common_name(self) -> dict[Key, Vector]:
        """What this process has of the keys that both write."""
        held = self.loop.held().items()
        return {key: each.vector for key, each in held if key.incarnation == COMMON}


def exchange(
    table: RegisterTable,
    loop: AgentLoop,
    *,
    answered: bool = True,
    listener: Listener | None = None,
) -> Report | None:
    """Report to a table as a collector does, and take its answer where it is not lost.

    Args:
        table: the collector's.
        loop: the agent's.
        answered: whether the answer arrives.
        listener: the stream; without one nobody is asked about what others sent.
    """
    report = loop.report()
    if report is None:
        return None
    acks = []
    for keyed in report.vectors:
        outcome = table.merge(keyed, report.records[keyed.key.record])
        contested = outcome is Outcome.CONTESTED
        late = contested or outcome is Outcome.LATE
        held = table.beside(keyed) if late else None
        if outcome in OVER and not keyed.follows and len(table.branches(keyed.key)) == 1:
            doubted = Held(keyed.sequence, fingerprint(keyed.sequence, keyed.vector))
            doubt = Doubt("node", key_digest(keyed.key), doubted)
            if not mark_of(keyed.sequence):
                table.doubts.note(doubt, listener, late=outcome is Outcome.LATE)
        durable = Durability.CONTESTED if contested else Durability.AT_ROOT
        acks.append(Acknowledgement(keyed.key, keyed.sequence, durable, held=held))
    doubts = table.doubts.tell(listener) if listener is not None else ()
    if answered:
        loop.acknowledge(Answer(tuple(acks), POSITION, doubts=doubts))
    return report


def plus(vectors: list[Vector]) -> Vector:
    """Their sum."""
    return tuple(map(sum, zip(ZERO_VECTOR, *vectors, strict=True)))


def judge(table: RegisterTable, writers: list[Writer], before: dict[Key, Vector]) -> int:
    """Hold the table to what both did; returns how many keys are forked.

    Work of before the copy was done once, and both have it.
    """
    for key in {key for writer in writers for key in writer.work_under_the_common_name()}:
        branches = [stored.vector for stored in table.branches(key)]
        common = before.get(key, ZERO_VECTOR)
        done = [writer.work_under_the_common_name().get(key, common) for writer in writers]
        truth = plus([common, *(tuple(map(int.__sub__, one, common)) for one in done)])
        assert branches
        assert any(all(map(int.__le__, branch, truth)) for branch in branches), "lower"
        assert all(map(int.__le__, truth, plus(branches))), "upper"
    return table.forked_key_count()


STEPS = st.lists(
    st.tuples(
        st.integers(0, 1), st.sampled_from(("step", "step", "report", "lost", "restart", "renew"))
    ),
    max_size=14,
)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 3), STEPS)
@example(0, [(0, "report"), (1, "step"), (1, "report")])
@example(2, [(0, "report"), (1, "step"), (1, "report"), (0, "restart"), (0, "step")])
@example(0, [(1, "step"), (1, "report"), (1, "renew"), (0, "step"), (0, "step"), (0, "restart")])
def test_two_writers_of_one_incarnation(samples: int, steps: list[tuple[int, str]]) -> None:
    """However two processes of one incarnation take turns, both are within the bounds."""
    with tempfile.TemporaryDirectory() as folder:
        writers = [Writer(Path(folder) / name, name) for name in "ab"]
        table = RegisterTable()
        for writer in writers:
            for _ in range(samples):
                writer.node.step()
            writer.listener = table.doubts.listen(("node",))
            exchange(table, writer.loop, listener=writer.listener)
        before = writers[0].work_under_the_common_name()
        for who, act in steps:
            writer = writers[who]
            if act == "step":
                writer.step()
            elif act == "restart":
                writer.restart()
                writer.listener = table.doubts.listen(("node",))
            elif act == "renew":
                writer.renew()
            else:
                answered = act == "report"
                exchange(table, writer.loop, answered=answered, listener=writer.listener)
                if not answered:
                    # A stream whose answer is lost has ended.
                    writer.listener = table.doubts.listen(("node",))
        # Each lives on and reports some more times.
        for _ in range(4):
            for writer in writers:
                writer.step()
                exchange(table, writer.loop, listener=writer.listener)
        remembered = any(writer.remembers and writer.renewals < 2 for writer in writers)
        told = any(writer.loop.counters.second_writers for writer in writers)
        if remembered or told:
            judge(table, writers, before)


def test_a_live_clone_is_told(tmp_path: Path) -> None:
    """One of two leaves the incarnation with a mark, the fork stands, and nobody is told twice."""
    first, second = (Writer(tmp_path / name, name) for name in "ab")
    table = RegisterTable()
    first.step()
    first.step()
    second.step()
    for _ in range(2):
        second.step()
    exchange(table, first.loop)
    exchange(table, second.loop)
    exchange(table, second.loop)
    assert (first.loop.incarnation, second.loop.incarnation[0]) == (COMMON, "b")
    marks = {mark_of(each.sequence) for _, held in table.items() for each in held}
    assert len(marks) == 2
    for _ in range(5):
        for writer in (first, second):
            writer.step()
            exchange(table, writer.loop)
    assert [each.loop.counters.second_writers for each in (first, second)] == [0, 2]
    assert judge(table, [first, second], {}) == 2


def test_an_ended_clone_is_told_in_its_boot(tmp_path: Path) -> None:
    """What a killed clone left is late, and its successor knows that nobody had more of it."""
    first, second = (Writer(tmp_path / name, name) for name in "ab")
    table = RegisterTable()
    second.step()
    second.step()
    for _ in range(5):
        first.step()
    exchange(table, first.loop)
    second.restart()
    exchange(table, second.loop)
    exchange(table, second.loop)
    assert judge(table, [first, second], {}) == 2


def ended_unheard(tmp_path: Path, steps: int) -> tuple[RegisterTable, Writer, Writer]:
    """A clone that lost its power before it was heard, and one that has left the incarnation.

    Args:
        tmp_path: for their folders.
        steps: of the one that ended; the other does three.
    """
    ended, alive = (Writer(tmp_path / name, name) for name in "ab")
    table = RegisterTable()
    for _ in range(steps):
        ended.step()
    assert ended.loop.report() is not None  # and it is lost
    ended.node.clock.boot_id = "another boot"
    ended.restart()
    for _ in range(3):
        alive.step()
    alive.listener = table.doubts.listen(("node",))
    exchange(table, alive.loop, listener=alive.listener)
    alive.renew()
    return table, ended, alive


@pytest.mark.parametrize("steps", [2, 5])
def test_who_lives_is_asked_about_what_ended(tmp_path: Path, steps: int) -> None:
    """Below its vectors or in their place: only it can tell that they are not its own."""
    table, ended, alive = ended_unheard(tmp_path, steps)
    for _ in range(3):
        exchange(table, ended.loop)
        alive.step()
        exchange(table, alive.loop)
    assert table.forked_key_count() == 0, "nobody was asked"
    exchange(table, alive.loop, listener=alive.listener)
    alive.step()
    exchange(table, alive.loop, listener=alive.listener)
    alive.step()
    exchange(table, alive.loop, listener=alive.listener)
    assert judge(table, [ended, alive], {}) == 2
    assert [each.loop.counters.second_writers for each in (ended, alive)] == [0, 2]


def test_a_doubt_acknowledges_and_distrusts_nothing(tmp_path: Path) -> None:
    """What is told of an own vector, of a stranger's key or of a marked one changes nothing."""
    writer = Writer(tmp_path / "a", "a")
    table = RegisterTable()
    writer.step()
    writer.step()
    report = writer.loop.report()
    assert report is not None
    own = [
        Doubt(
            "node",
            key_digest(keyed.key),
            Held(keyed.sequence, fingerprint(keyed.sequence, keyed.vector)),
        )
        for keyed in report.vectors
    ]
    key = report.vectors[0].key
    strange = Key(key.device, "9" * 32, key.allocation, key.phase, key.evidence, key.record)
    doubts = (*own, Doubt("node", key_digest(strange), Held(77, 5)))
    writer.loop.acknowledge(Answer((), POSITION, doubts=doubts))
    again = writer.loop.report()
    assert again is not None
    assert again.vectors == report.vectors
    assert [keyed.follows for keyed in again.vectors] == [
        (fingerprint(keyed.sequence, keyed.vector),) for keyed in report.vectors
    ]
    assert writer.loop.counters.second_writers == 0
    for _ in range(2):
        foreign = Answer((), POSITION, doubts=(Doubt("node", own[0].key_digest, Held(1, 5)),))
        writer.loop.acknowledge(foreign)
    assert writer.loop.counters.second_writers == 1
    writer.step()
    exchange(table, writer.loop)
    assert {mark_of(row.sequence) > 0 for row in table.branches(key)} == {True}


def test_an_image_of_a_running_node_is_no_second_writer(tmp_path: Path) -> None:
    """What lay in the journal and was never sent is known when a copy of the disk sends it."""
    writer = Writer(tmp_path / "a", "a")
    table = RegisterTable()
    for _ in range(3):
        writer.node.step()
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    for _ in range(2):
        writer.node.step()
    copied = CountingNode(tmp_path / "copy", devices=2)
    copied.clock.boot_id = "another boot"
    copied.starts = 77
    exchange(table, copied.start())
    for _ in range(3):
        exchange(table, writer.loop)
        writer.node.step()
    assert writer.loop.counters.second_writers == 0
    assert writer.loop.incarnation == COMMON
    for _, held in table.items():
        assert len(held) == 1
    (newest,) = {
        each.sequence for key, held in table.items() for each in held if key.incarnation == COMMON
    }
    assert newest == 6


def test_a_key_is_named_once_however_often_others_are_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever claims to be the node has its agent asked at each report, and costs it a look."""
    writer = Writer(tmp_path / "a", "a")
    writer.step()
    writer.step()
    writer.renew()
    writer.step()
    named: list[Key] = []

    def naming(key: Key) -> bytes:
        named.append(key)
        return key_digest(key)

    monkeypatch.setattr(delivery, "key_digest", naming)

    def ask(digest: bytes) -> None:
        doubts = (Doubt("node", digest, Held(77, 5)),)
        writer.loop.acknowledge(Answer((), POSITION, doubts=doubts))

    for number in range(3):
        ask(bytes([number] * 16))
    held = set(writer.loop.held())
    assert (sorted(named), len(held)) == (sorted(held), 4)
    writer.renew()
    writer.step()
    writer.step()
    ask(key_digest(named[0]))
    held = set(writer.loop.held())
    assert (len(named), len(held)) == (6, 6) and set(named) == held, "new ones are named"
    assert set(writer.loop._delivery._digests) == held, "and no others kept"
    assert writer.loop.counters.second_writers == 1, "what is named before is found"


def test_a_copied_disk_doubts_nothing(tmp_path: Path) -> None:
    """What stands above its vectors in another boot may be its own original's."""
    writer = Writer(tmp_path / "a", "a")
    table = RegisterTable()
    for number in range(6):
        writer.step()
        if number == 3:
            shutil.copytree(tmp_path / "a", tmp_path / "copy")
    exchange(table, writer.loop)
    copied = CountingNode(tmp_path / "copy", devices=2)
    copied.clock.boot_id = "another boot"
    copied.starts = 77
    loop = copied.start()
    assert exchange(table, loop) is not None
    assert exchange(table, loop) is None
    assert loop.counters.second_writers == 0
    assert table.forked_key_count() == 0


def test_a_ledger_that_went_back_is_no_second_writer(tmp_path: Path) -> None:
    """Older vectors of one's own are known, and named from then on."""
    writer = Writer(tmp_path / "a", "a")
    older, table = RegisterTable(), RegisterTable()
    for number in range(6):
        writer.step()
        exchange(table, writer.loop)
        if number == 2:
            for key, held in table.items():
                older.restore({key.record: table.record(key.record)}, held)
    asked = exchange(older, writer.loop), exchange(older, writer.loop)
    writer.step()
    exchange(older, writer.loop)
    exchange(older, writer.loop)
    assert asked == (None, None)
    assert writer.loop.counters.second_writers == 0
    sequences = {each.sequence for _, held in older.items() for each in held}
    assert sequences == {6}


SAMPLES = 600


def test_what_is_older_than_memory_is_believed(tmp_path: Path) -> None:
    """Of the newest states it is known what they held; of older ones nobody can say."""
    writer = Writer(tmp_path / "a", "a")
    for _ in range(SAMPLES):
        writer.node.step()
    (key, register), *_ = writer.loop.accumulator.registers.items()
    states = writer.loop._delivery.own
    at = register.sequence
    assert at == SAMPLES - 1
    first = at - own.REMEMBERED_STATES + 1
    assert [states.is_own(key, at, Held(sequence, 5)) for sequence in (first - 1, first, at)] == [
        True,
        False,
        False,
    ]
    assert not states.is_own(key, at, Held(at + 1, 5))
    other = Key(key.device, key.incarnation, "run:x", key.phase, key.evidence, key.record)
    assert states.is_own(other, 9, Held(9, 5))


def test_names_are_few(tmp_path: Path) -> None:
    """Without an answer a vector names the newest that were sent, and after one only that."""
    writer = Writer(tmp_path / "a", "a")
    table = RegisterTable()
    for _ in range(own.NAMED + 5):
        writer.node.step()
        exchange(table, writer.loop, answered=False)
    report = exchange(table, writer.loop)
    assert report is not None
    assert {len(keyed.follows) for keyed in report.vectors} == {own.NAMED}
    writer.node.step()
    after = writer.loop.report()
    assert after is not None
    assert {len(keyed.follows) for keyed in after.vectors} == {1}
