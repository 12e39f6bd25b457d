"""Judges the keys that two processes of one incarnation wrote: the clones that live on together.

Owns: what the ledger must hold of such a key, and whether its fork was seen.
May touch: nothing.
Called by the world at the end, beside the oracle's comparison of all other keys.

Where neither's vector follows the other's, the ledger keeps both: lower takes one of them, upper
their sum, and an alert stands. Where one of them did more in every component under a higher
sequence, whoever of them lives is told of it or asked about it, and marks its vectors, so that they
stand beside each other all the same. What nobody who lives can tell apart is counted as hidden, and
`excuse` says what else may be; anything other that is hidden is a violation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from flopmeter.lab.simulation.history import History
from flopmeter_agent.own import REMEMBERED_STATES
from flopmeter_collector.ledger.base import StoredVector
from flopmeter_core.registers import ZERO_VECTOR, Key, Vector
from flopmeter_core.writers import unmarked


@dataclass(frozen=True, slots=True)
class Forks:
    """How many keys of clones the ledger holds with both writers, and how many with one.

    Attributes:
        raised: with both, as a fork.
        hidden: with one, where nobody could tell that there were two.
        reasons: why not, with the number of keys.
    """

    raised: int = 0
    hidden: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)


def judge(
    history: History,
    kept: Callable[[str, Key], int],
    ledger: Mapping[Key, tuple[StoredVector, ...]],
    violation: Callable[[str], None],
    *,
    excuse: Callable[[Sequence[str]], str],
) -> Forks:
    """Hold every key with several writers to its bounds.

    Args:
        history: who wrote what.
        kept: the newest sequence that a node still has of a key; 0 for none.
        ledger: the root's branches of each key.
        violation: is told what is broken.
        excuse: why the work of these nodes may be taken for one's; empty where it may not.
    """
    raised = 0
    hidden: Counter[str] = Counter()
    for key, writers in history.shared.items():
        branches = ledger.get(key, ())
        truths = []
        for node in writers:
            sequence = kept(node, key)
            if not sequence:
                continue
            vector = history.vector(key, sequence, node)
            truths.append(vector)
            if not any(
                unmarked(branch.sequence) >= sequence and _within(vector, branch.vector)
                for branch in branches
            ):
                violation(f"work on {key.device} of {node}, which has a clone, is not there")
        upper = _sum([branch.vector for branch in branches])
        everything = _sum([vector for _, _, vector in history.newest(key)])
        if not all(_within(branch.vector, everything) for branch in branches):
            violation(f"lower of a forked key of {key.device} is above what its writers did")
        if len(branches) > 1:
            raised += 1
            if not _within(_sum(truths), upper):
                violation(f"upper of a forked key of {key.device} is below what its writers did")
        elif len(truths) > 1 and not _within(_sum(truths), upper):
            reason = excuse(writers) or _excuse(history, key)
            hidden[reason] += 1
            if not reason:
                violation(f"work on {key.device} of one of two live clones is hidden")
    return Forks(raised, hidden.total(), dict(hidden))


def _excuse(history: History, key: Key) -> str:
    """Why nobody who lives can tell that a key had two writers; empty where somebody can."""
    newest = {node: sequence for node, sequence, _ in history.newest(key)}
    writers = {(node, key.incarnation) for node in newest}
    lives = [node for node, _ in writers - history.ended - history.cut]
    if not lives:
        return "a later boot" if writers & history.cut else "both ended"
    known = (
        newest[other] > newest[node] - REMEMBERED_STATES
        for node in lives
        for other in newest
        if other != node
    )
    return "" if any(known) else "long ago"


def _within(vector: Vector, other: Vector) -> bool:
    return all(one <= two for one, two in zip(vector, other, strict=True))


def _sum(vectors: list[Vector]) -> Vector:
    return tuple(map(sum, zip(ZERO_VECTOR, *vectors, strict=True)))
