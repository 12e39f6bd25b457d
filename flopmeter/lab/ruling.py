"""Says what people rule of a model: whether other conditions hold, which exclusions are used.

Owns: the declarations and audit rows of `flopmeter model condition` and `flopmeter model decide`.
May touch: one ledger (through the collector's backends); a file of evidence, reading; the clock it
is given.
Called by `flopmeter model`. Explained in docs/rulings.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from flopmeter.lab.evidence_file import named
from flopmeter.lab.stating import Site, look, state
from flopmeter_collector.approvals import COMPLIANCE, PENDING, PEOPLE
from flopmeter_collector.ledger.base import Declaration
from flopmeter_collector.rulings import CONDITION_KIND, DECISION_KIND, MET, NOT_MET
from flopmeter_collector.standing_words import UNKNOWN, conditions_json
from flopmeter_collector.statements import STANDS, UNDONE
from flopmeter_core.catalogue import Threshold
from flopmeter_core.counting import Profile
from flopmeter_core.errors import UsageError
from flopmeter_core.exclusions import choose, spelled
from flopmeter_core.lawbook import LawBook
from flopmeter_proto.daemon.clock import Clock


def declare_condition(
    url: str,
    model: str,
    condition: str,
    *,
    met: bool | None,
    reason: str,
    evidence: Path | None,
    law: LawBook,
    author: str,
    clock: Clock,
) -> tuple[Declaration, str]:
    """Declare that what else a law asks for holds of a model, or does not.

    Args:
        url: the ledger.
        model: the model's name.
        condition: ``ROW/CONDITION``, or the condition alone where one row has it.
        met: whether it holds; None takes back what was said.
        reason: why.
        evidence: a file it rests on.
        law: rows with their conditions.
        author: who states it.
        clock: dates it.

    Returns:
        The declaration, and what it waits for; empty where it holds at once.

    Raises:
        UsageError: no such model, condition, file or ledger.
        DataError: no reason, or nothing to take back; nothing is written.
        StorageError: the ledger cannot be written.
    """
    site = _site(url, model, law)
    threshold, found = _condition_of(condition, law)
    body = {
        "threshold": threshold,
        "condition": found,
        "state": UNDONE if met is None else MET if met else NOT_MET,
        "reason": reason,
    }
    return _write(url, CONDITION_KIND, model, body, evidence, site=site, author=author, clock=clock)


def decide(
    url: str,
    model: str,
    profile: str,
    words: Iterable[str],
    *,
    date: str,
    reason: str,
    evidence: Path | None,
    law: LawBook,
    author: str,
    clock: Clock,
    withdraw: bool = False,
) -> tuple[Declaration, str]:
    """Declare which of the exclusions that a counting profile permits are used for a model.

    Args:
        url: the ledger.
        model: the model's name.
        profile: the counting profile's id.
        words: what is left out, as `exclusions.choose` reads it.
        date: the day of the decision.
        reason: why.
        evidence: a file it rests on.
        law: the profiles.
        author: the named person.
        clock: dates the declaration.
        withdraw: whether the decision is taken back, so that everything counts again.

    Returns:
        As `declare_condition`.

    Raises:
        UsageError: no such model, profile, file or ledger.
        DataError: what the profile does not permit, no date or reason, or nothing to take back;
            nothing is written.
        StorageError: the ledger cannot be written.
    """
    site = _site(url, model, law)
    rules = law.profiles.get(profile)
    if rules is None:
        raise UsageError(
            f"no counting profile has the id {profile[:80]!r}; there are "
            f"{', '.join(sorted(law.profiles))}"
        )
    said = tuple(words)
    if withdraw and said:
        raise UsageError("--withdraw takes the whole decision back; give it without --leave-out")
    if not withdraw and not said:
        raise UsageError("say what is left out with --leave-out, or --withdraw the decision")
    body = {"profile": profile, "date": date, "reason": reason, "state": UNDONE}
    if not withdraw:
        exactly = spelled(choose(said, rules))
        body |= {"state": STANDS, "leave_out": ", ".join(said), "exactly": exactly}
    return _write(url, DECISION_KIND, model, body, evidence, site=site, author=author, clock=clock)


def declared_of(
    url: str, row: Threshold, profiles: Mapping[str, Profile]
) -> list[dict[str, object]]:
    """What was declared of a row's conditions, by model.

    Args:
        url: the ledger.
        row: the row.
        profiles: counting profiles of the law in use, by id.

    Raises:
        UsageError, DataError, StorageError: the ledger does not exist or cannot be read.
    """
    site = look(url, profiles=profiles)
    return [
        {"model": model, **each}
        for model in sorted(site.models)
        for each in conditions_json(row, site.book.rulings.of(model, site.book.approvals))
        if each["state"] != UNKNOWN
    ]


def _site(url: str, model: str, law: LawBook) -> Site:
    site = look(url, profiles=law.profiles)
    if model not in site.models:
        raise UsageError(f"no model is named {model!r}; `flopmeter totals` lists the models")
    return site


def _condition_of(text: str, law: LawBook) -> tuple[str, str]:
    """The row and the condition that a person means."""
    known = [(row.id, each.id) for row in law.rows for each in row.required_conditions]
    row, slash, condition = text.rpartition("/")
    found = [each for each in known if each[1] == condition and (each[0] == row or not slash)]
    if len(found) == 1:
        return found[0]
    asked = [f"{each[0]}/{each[1]}" for each in found or known]
    many = "several rows have it" if found else "no row asks for it"
    raise UsageError(f"{text[:80]!r} is no single condition, {many}; use one of {', '.join(asked)}")


def _write(
    url: str,
    kind: str,
    model: str,
    body: dict[str, str],
    evidence: Path | None,
    *,
    site: Site,
    author: str,
    clock: Clock,
) -> tuple[Declaration, str]:
    if evidence is not None:
        body = {**body, "evidence": named(evidence)}
    written = state(
        url, kind, model, body, site=site, author=author, clock=clock, action=f"model {kind}"
    )
    lowering = site.book.approvals.lowerings.get(written.sequence)
    if lowering is None or lowering.state != PENDING:
        return written, ""
    return written, (
        f"it makes less apply or count under {', '.join(lowering.profiles)}, so it waits for "
        f"{PEOPLE - len(lowering.people)} more of {PEOPLE} people with the role {COMPLIANCE} and "
        "changes no state until then; see `flopmeter approve list`"
    )
