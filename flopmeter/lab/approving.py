"""Roles, and what people say of labels that lower a legal total.

Owns: the declarations and audit rows of `flopmeter role` and `flopmeter approve`, and their lists.
May touch: one ledger (through the collector's backends); the clock it is given.
Called by the command line. Explained in docs/runs-and-models.md and docs/security.md.
"""

from __future__ import annotations

from flopmeter.lab.stating import look, state
from flopmeter_collector.approvals import APPROVAL_KIND, GIVEN, GRANTED, REFUSED, REVOKED, ROLE_KIND
from flopmeter_collector.documents import Json
from flopmeter_collector.label_presentation import lowering_json
from flopmeter_collector.ledger.base import Declaration
from flopmeter_collector.lowerings import rules_of
from flopmeter_collector.worth import Profiles
from flopmeter_core.names import check_distinct
from flopmeter_proto.daemon.clock import Clock


def set_role(
    url: str,
    person: str,
    role: str,
    *,
    granted: bool,
    reason: str,
    author: str,
    clock: Clock,
    profiles: Profiles | None = None,
) -> Declaration:
    """Declare that a person has a role from now on, or has it no longer.

    Raises:
        DataError: no such role, no reason, a name that looks like another person's, or an author
            who does not own the ledger's roles; nothing is written.
        UsageError, StorageError: the ledger does not exist or cannot be written.
    """
    site = look(url, profiles=profiles)
    check_distinct(person, site.book.approvals.people, what="person")
    body = {"role": role, "state": GRANTED if granted else REVOKED, "reason": reason}
    action = "role grant" if granted else "role revoke"
    return state(url, ROLE_KIND, person, body, site=site, author=author, clock=clock, action=action)


def decide(
    url: str,
    number: str,
    *,
    given: bool,
    reason: str,
    author: str,
    clock: Clock,
    profiles: Profiles | None = None,
) -> tuple[Declaration, Json]:
    """Declare that a person stands behind a waiting label, or refuses it.

    Returns:
        The declaration, and the label as it stands after it.

    Raises:
        DataError: no such label waits, or the person may not speak for it; nothing is written.
        UsageError, StorageError: the ledger does not exist or cannot be written.
    """
    site = look(url, profiles=profiles)
    body = {"state": GIVEN if given else REFUSED, "reason": reason}
    action = "approval" if given else "refusal"
    written = state(
        url, APPROVAL_KIND, number, body, site=site, author=author, clock=clock, action=action
    )
    return written, lowering_json(site.book.approvals.lowerings[int(number)])


def lowerings(url: str, *, profiles: Profiles | None = None) -> list[Json]:
    """Every statement that lowers or would lower a legal total, in the order of the ledger.

    Raises:
        UsageError, DataError, StorageError: the ledger does not exist or cannot be read.
    """
    book = look(url, profiles=profiles).book
    standing = book.attribution
    found = []
    for each in book.approvals.lowerings.values():
        sources = {run: standing.sources(run) for run in each.runs}
        found.append(lowering_json(each, rules_of(each, standing.rules, sources)))
    return found


def people(url: str) -> list[Json]:
    """Who has which roles, by name.

    Raises:
        UsageError, DataError, StorageError: the ledger does not exist or cannot be read.
    """
    return [
        {"person": person, "roles": sorted(roles)}
        for person, roles in look(url).book.approvals.people.items()
    ]
