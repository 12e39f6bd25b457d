"""Names of allocations: what an agent can see of who uses a device.

Owns: the spelling of allocations on the wire and in the ledger, how sure each way of seeing one
is, the boundary of two of them and the sharing of one device by several.
May touch: nothing; pure text.
Called by the agent's allocation sources and by the collector's totals; docs/glossary.md has the
words.

A name is ``<kind>:<user>``, and ``<kind>.<means>:<user>`` where the user was seen by weaker means
than the kind's own. Two names that differ in means only are one user (`user_of`): when the means
change, the work of one user goes on under another name, without a boundary.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable

from flopmeter_core.errors import DataError

NONE = "none"
"""Nobody the agent can see uses the device; its work is unattributed."""

OVERFLOW = "overflow"
"""Where an agent has no room for one more name: the work of all further users of a device together.
Its sum is exact, and it is unattributed."""

RUN_PREFIX = "run:"
"""An explicit handle: the agent's settings, the scenario or the recording named the run."""

CGROUP_PREFIX = "cgroup:"
"""A process that no scheduler started, as far as its cgroup shows."""

_EXEC_PREFIX = "run.exec:"
_SHARED_PREFIX = "shared:"
_MEANS_OF = {"run": "exec", "slurm": "pids", "pod": "pids"}
"""Kind -> the weaker means by which its users may be seen."""

MAXIMUM_LENGTH = 512
"""Characters of an allocation's name; a boundary holds two names."""

MAXIMUM_USER_LENGTH = (MAXIMUM_LENGTH - len("boundary(,)")) // 2
"""Characters of a name that may stand in a boundary."""

MAXIMUM_RUN_NAME_LENGTH = 200

_MAXIMUM_PART_LENGTH = 100
"""Characters of one part of a scheduler's name, such as a cluster or a container."""


class Confidence(enum.StrEnum):
    """How well it is known that a user had a device, best first."""

    STATED = "stated"
    """Whoever gives devices away said so: the scheduler, the kubelet, the node's operator."""
    SEEN = "seen"
    """The driver lists a process of the user on the device, and the kernel says whose it is."""
    SAID = "said"
    """The user named the run; that its processes hold the device was seen."""
    SHARED = "shared"
    """Several users at once: how much is whose lies between nothing and all."""
    UNKNOWN = "unknown"
    """Nobody was seen, or the period has different users at its two ends."""


_CONFIDENCE = {
    "run": Confidence.STATED,
    "run.exec": Confidence.SAID,
    "slurm": Confidence.STATED,
    "slurm.pids": Confidence.SEEN,
    "pod": Confidence.STATED,
    "pod.pids": Confidence.SEEN,
    "cgroup": Confidence.SEEN,
    "shared": Confidence.SHARED,
}


def for_run(run: str) -> str:
    """Spell the allocation of an explicitly named run.

    Raises:
        DataError: a name that is empty, too long, or holds characters a table cannot show.
    """
    check_name(run, what="run")
    return RUN_PREFIX + run


def for_exec(run: str) -> str:
    """Spell the allocation of a run that its own process named (``flopmeter exec``).

    Raises:
        DataError: as for `for_run`.
    """
    check_name(run, what="run")
    return _EXEC_PREFIX + run


def slurm(cluster: str, job: str, restart: str = "", *, pids: bool = False) -> str:
    """Spell a Slurm job: ``slurm:<cluster>/<job>[.<restart>]``.

    Args:
        cluster: the cluster's name; empty where it is not known.
        job: job id or SLUID.
        restart: how often it was requeued; empty where nobody said, and for the first start.
        pids: whether it was seen by its processes, not stated by the prolog.

    Raises:
        DataError: a part that no scheduler makes.
    """
    user = f"{_part(cluster)}/{_part(job, required=True)}" + (f".{_part(restart)}" * bool(restart))
    return ("slurm.pids:" if pids else "slurm:") + user


def pod(identity: str, container: str, *, pids: bool = False) -> str:
    """Spell a container of a pod: ``pod:<pod>/<container>``.

    Args:
        identity: a hash of namespace and name, or the pod's uid.
        container: its name, or the start of its id.
        pids: whether it was seen by its processes, not stated by the kubelet.

    Raises:
        DataError: a part that no kubelet makes.
    """
    user = f"{_part(identity, required=True)}/{_part(container)}"
    return ("pod.pids:" if pids else "pod:") + user


def cgroup(digest: str) -> str:
    """Spell the user of a process that no scheduler started, by a site-keyed hash of its cgroup.

    Raises:
        DataError: no hash.
    """
    return CGROUP_PREFIX + _part(digest, required=True)


def check_name(name: str, *, what: str) -> None:
    """Refuse names that would confuse a reader or a parser.

    Raises:
        DataError: empty, over 200 characters, unprintable, or with one of ``(`` ``)`` ``,``.
    """
    if not name or len(name) > MAXIMUM_RUN_NAME_LENGTH:
        raise DataError(
            f"the name of a {what} has 1 to {MAXIMUM_RUN_NAME_LENGTH} characters; "
            f"this one has {len(name)}"
        )
    if not name.isprintable() or any(c in "()," for c in name):
        raise DataError(
            f"the name of a {what} may hold printable characters except '(', ')' and ','; "
            f"rename {name!r}"
        )


def boundary(before: str, after: str) -> str:
    """Name the allocation of a period at whose two ends different users were seen.

    Such a period is unattributed in every bound and widens the upper of both neighbours.
    """
    return f"boundary({before},{after})"


def boundary_parties(allocation: str) -> tuple[str, str] | None:
    """The two users of a boundary period, or None when the allocation is not one."""
    if not (allocation.startswith("boundary(") and allocation.endswith(")")):
        return None
    before, separator, after = allocation[len("boundary(") : -1].partition(",")
    return (before, after) if separator else None


def shared(users: Iterable[str]) -> str:
    """Name the allocation of a device that several users hold at once.

    The names of all of them, as far as the length of a name allows; beyond it their number and
    a hash, so that the same users are the same name.

    Args:
        users: at least one allocation; the order and repetitions make no difference.
    """
    names = sorted(set(users))
    if len(names) == 1:
        return names[0]
    text = _SHARED_PREFIX + "+".join(name.replace("%", "%25").replace("+", "%2B") for name in names)
    if len(text) <= MAXIMUM_USER_LENGTH:
        return text
    digest = hashlib.sha256("\0".join(names).encode()).hexdigest()[:32]
    return f"{_SHARED_PREFIX}{len(names)}-{digest}"


def shared_users(allocation: str) -> tuple[str, ...]:
    """The users of a shared device; none where they are not spelled out, or it is not shared."""
    if not allocation.startswith(_SHARED_PREFIX):
        return ()
    names = allocation[len(_SHARED_PREFIX) :].split("+")
    if len(names) < 2:
        return ()
    return tuple(name.replace("%2B", "+").replace("%25", "%") for name in names)


def parties(allocation: str) -> tuple[str, ...]:
    """Everybody whose work a mixed period may hold: the ends of a boundary, the users of a share.

    Empty for an allocation with one user.
    """
    ends = boundary_parties(allocation) or (allocation,)
    found = [user for end in ends for user in shared_users(end) or (end,)]
    return () if found == [allocation] else tuple(dict.fromkeys(found))


def is_single(allocation: str) -> bool:
    """Whether an allocation is one user, whoever that is."""
    mixed = allocation.startswith((_SHARED_PREFIX, "boundary("))
    return allocation not in (NONE, OVERFLOW) and not mixed


def named_run(allocation: str) -> str | None:
    """The run an explicit handle names, or None."""
    for prefix in (RUN_PREFIX, _EXEC_PREFIX):
        if allocation.startswith(prefix):
            return allocation[len(prefix) :]
    return None


def run_allocations(run: str) -> tuple[str, ...]:
    """Every allocation that names a run."""
    return RUN_PREFIX + run, _EXEC_PREFIX + run


def user_of(allocation: str) -> str:
    """The allocation as its kind's best means would spell it: two names of one user are equal."""
    kind, separator, user = allocation.partition(":")
    if not separator:
        return allocation
    base, _, means = kind.partition(".")
    return f"{base}:{user}" if means and _MEANS_OF.get(base) == means else allocation


def confidence_of(allocation: str) -> Confidence:
    """How well it is known that the named user had the device."""
    return _CONFIDENCE.get(allocation.partition(":")[0], Confidence.UNKNOWN)


def weaker(one: str, other: str) -> str:
    """Of two names of one user, the one of weaker means: what is known of a period between them."""
    if one == other:
        return one
    order = list(Confidence)
    return max(one, other, key=lambda name: order.index(confidence_of(name)))


def _part(text: str, *, required: bool = False) -> str:
    """A part of a scheduler's name.

    Raises:
        DataError: empty where it may not be, too long, or with a character that parts parts.
    """
    good = len(text) <= _MAXIMUM_PART_LENGTH and all(
        c.isascii() and (c.isalnum() or c in "-_.") for c in text
    )
    if not good or (required and not text):
        raise DataError(
            f"a part of an allocation's name has at most {_MAXIMUM_PART_LENGTH} letters, digits, "
            f"'-', '_' and '.'; this one is {text[:120]!r}"
        )
    return text
