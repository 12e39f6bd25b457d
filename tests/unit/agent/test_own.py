"""What a process remembers of its registers is bounded, and what it forgot it believes."""

from __future__ import annotations

from flopmeter_agent.own import REMEMBERED_STATES, OwnStates
from flopmeter_core.registers import COMPONENT_COUNT, Register
from flopmeter_core.reports import Held, KeyedVector
from flopmeter_core.writers import fingerprint
from support.ingest import key, vector

KEY = key()


def register(sequence: int) -> Register:
    """A register after so many changes."""
    return Register(list(vector(sequence)), [0] * COMPONENT_COUNT, sequence)


def journaled(*sequences: int) -> OwnStates:
    """A process that journaled these states, some of them twice."""
    own = OwnStates()
    for sequence in sequences:
        own.journaled({KEY: register(sequence)})
    return own


def held(sequence: int, seconds: int) -> Held:
    """What a ledger holds."""
    return Held(sequence, fingerprint(sequence, vector(seconds)))


def test_states_are_remembered_once_and_so_many() -> None:
    """Of older ones nobody can tell any more: they are believed to be its own."""
    own = journaled(*(each for n in range(1, REMEMBERED_STATES + 3) for each in (n, n)))
    newest = REMEMBERED_STATES + 2
    assert own.is_own(KEY, newest, held(newest, newest))
    assert own.is_own(KEY, newest, held(3, 3))
    assert not own.is_own(KEY, newest, held(3, 4))
    assert own.is_own(KEY, newest, held(2, 4))


def test_a_vector_that_leaves_is_named_once() -> None:
    """Journaled or not, and none of a register that this process never wrote."""
    own = journaled(1)
    for sequence in (1, 1, 2):
        own.shown(KeyedVector(KEY, sequence, vector(sequence)))
    own.shown(KeyedVector(key(device="GPU-9"), 1, vector(1)))
    assert own.follows(KEY) == tuple(fingerprint(n, vector(n)) for n in (1, 2))
    assert own.follows(key(device="GPU-9")) == ()
