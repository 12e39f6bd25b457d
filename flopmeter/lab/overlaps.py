"""Statements that meet: which one counts where two speak of the same work, in one sentence.

Owns: these sentences.
May touch: one ledger, reading (through lab.stating).
Called by `flopmeter run attach` and `flopmeter model add-external` after they wrote. What two
statements may not both say is refused before (collector's attribution and model_book).
Explained in docs/runs-and-models.md.
"""

from __future__ import annotations

from flopmeter.lab.stating import look
from flopmeter_collector.ledger.base import Declaration
from flopmeter_collector.model_statements import External
from flopmeter_collector.statements import parse_attachment
from flopmeter_collector.worth import Profiles
from flopmeter_core.allocations import user_of
from flopmeter_core.patterns import fits

NAMED = 3
"""Allocations that a sentence names; the others are counted."""


def beside_attachment(url: str, row: Declaration, *, profiles: Profiles | None = None) -> str:
    """What a hand and a rule both say of the same work; empty where only one speaks.

    Args:
        url: the ledger that the row was written to.
        row: an attachment that stands.
        profiles: those that decide what waits for people; of the site's usual folder when None.
    """
    whose = look(url, profiles=profiles).book.attribution
    said = parse_attachment(row.subject, row.body)
    if said.allocation is not None:
        user = user_of(said.allocation)
        rules = [rule for rule in whose.rules if rule.run != said.run and fits(user, rule.pattern)]
        if not rules:
            return ""
        return (
            f"the rule {rules[0].pattern!r} of run {rules[0].run!r} fits it as well, and a hand "
            "goes before a rule"
        )
    held = {
        name: sorted({each.run or "nobody" for each in spans})
        for name, spans in sorted(whose.by_hand.items())
        if fits(name, said.pattern or "") and any(each.run != said.run for each in spans)
    }
    if not held:
        return ""
    named = ", ".join(f"{name} ({', '.join(runs)})" for name, runs in list(held.items())[:NAMED])
    more = f" and {len(held) - NAMED} more" if len(held) > NAMED else ""
    return f"a hand goes before a rule, so what was attached by hand stays: {named}{more}"


def same_source(url: str, model: str, entry: str, *, profiles: Profiles | None = None) -> str:
    """Whether another entry rests on the same file for a period that meets; empty where none does.

    Both count: one file may well tell of two pieces of work. Whoever entered one twice is told.

    Args:
        url: the ledger.
        model: whose entry was written.
        entry: its name.
        profiles: those that decide what waits for people; of the site's usual folder when None.
    """
    externals = look(url, profiles=profiles).book.models.externals
    mine = externals.get(model, {}).get(entry)
    if mine is None:  # it waits for people
        return ""
    for other, entries in sorted(externals.items()):
        for each in entries.values():
            if each is not mine and _alike(each, mine):
                return (
                    f"entry {each.entry!r} of model {other} rests on the same file for the same "
                    "time, and both count; if they are one piece of work, take one back with "
                    f"`flopmeter model remove-external {model} --entry {entry}`"
                )
    return ""


def _alike(one: External, other: External) -> bool:
    meet = one.from_ns < other.until_ns and other.from_ns < one.until_ns
    return one.sha256 == other.sha256 and meet
