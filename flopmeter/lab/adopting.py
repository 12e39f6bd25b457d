"""Makes a claim of training processes a declaration, in a person's name.

Owns: which claims of a run can be adopted, and the declaration that adopts them.
May touch: one ledger (through the collector's backends); the clock it is given.
Called by `flopmeter run claims` and `flopmeter run adopt`. Explained in docs/sdk.md.

A claim says nothing until somebody adopts it: whoever trains may not decide by themselves what a
law counts. An adopted claim is a declaration like any other: it waits where it lowers a total.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

from flopmeter.lab.declaring import declare_run
from flopmeter.lab.stating import Site, look
from flopmeter_collector import backends
from flopmeter_collector.declarations import RunDeclaration
from flopmeter_collector.documents import Json
from flopmeter_collector.ledger.base import Declaration
from flopmeter_collector.worth import Profiles
from flopmeter_core.claims import Claim
from flopmeter_core.errors import DataError, UsageError
from flopmeter_proto.daemon.clock import Clock

ADOPTED = "claim"
"""Source of a declaration that adopts what processes claim."""

FIELDS = ("model", "activity", "format")
"""What processes may claim of a run; of what became of the result they say nothing."""


def claimed(url: str, run: str | None) -> list[Json]:
    """What processes claim of runs, by run and field, with what stands of it.

    Args:
        url: the ledger.
        run: one run, by either of its names; all of which anything is claimed when None.

    Raises:
        UsageError: nobody knows the run.
        DataError, StorageError: the ledger cannot be read.
    """
    site, claims = look(url), _claims(url)
    wanted = None if run is None else _run(site, claims, run)
    names = sorted({claim.key.run for claim in claims} if wanted is None else {wanted})
    return [row for name in names for row in _rows(site, name, claims)]


def adopt(
    url: str,
    run: str,
    fields: Sequence[str],
    *,
    reason: str,
    author: str,
    clock: Clock,
    profiles: Profiles | None = None,
) -> Declaration:
    """Declare of a run what its processes claim.

    Args:
        url: the ledger.
        run: the run, by either of its names.
        fields: which of `FIELDS` are adopted.
        reason: why they are believed.
        author: who adopts them.
        clock: dates it.
        profiles: those that decide what waits for people; of the site's usual folder when None.

    Raises:
        UsageError: nobody knows the run, or no field is named.
        DataError: nothing, or more than one thing, is claimed of a field; or it cannot be declared.
        NotPermittedError: the run was ended.
        StorageError: the ledger cannot be written.
    """
    if not fields:
        raise UsageError(f"name what is adopted: {', '.join('--' + each for each in FIELDS)}")
    if not reason.strip():
        raise DataError("an adopted claim needs a reason; give one with --reason")
    site, claims = look(url, profiles=profiles), _claims(url)
    run = _run(site, claims, run)
    body = {"reason": reason}
    for field in fields:
        told = sorted({_said(claim, field) for claim in claims if claim.key.run == run} - {""})
        if len(told) != 1:
            raise DataError(
                f"no process claims a {field} of run {run!r}; see `flopmeter run claims`"
                if not told
                else f"processes of run {run!r} claim several of {field} ({'; '.join(told)}), so "
                "none is adopted; declare the right one with `flopmeter run declare`"
            )
        body[field] = told[0]
    return declare_run(
        url, run, body, author=author, source=ADOPTED, clock=clock, profiles=profiles
    )


def _claims(url: str) -> list[Claim]:
    with contextlib.closing(backends.read(url)) as ledger:
        return list(ledger.claims())


def _run(site: Site, claims: Iterable[Claim], text: str) -> str:
    """The run that a person means, also where nothing but a claim names it."""
    if any(claim.key.run == text for claim in claims):
        return text
    return site.run(text)


def _rows(site: Site, run: str, claims: Iterable[Claim]) -> list[Json]:
    of_run = [claim for claim in claims if claim.key.run == run]
    declared = site.book.own_declaration(run)
    rows: list[Json] = []
    for field in FIELDS:
        for text in sorted({_said(claim, field) for claim in of_run} - {""}):
            saying = [claim.key for claim in of_run if _said(claim, field) == text]
            stands = _stands(declared, field)
            rows.append(
                {
                    "run": run,
                    "field": field,
                    "claimed": text,
                    "processes": len({key.writer for key in saying}),
                    "attempts": len({key.attempt for key in saying}),
                    "declared": stands,
                    "adopted": stands == text,
                }
            )
    return rows


def _said(claim: Claim, field: str) -> str:
    key = claim.key
    return {"model": key.model, "activity": key.activity, "format": key.format_mix}[field]


def _stands(declared: RunDeclaration, field: str) -> str | None:
    """What is declared of the whole run."""
    texts = {
        "model": declared.model,
        "activity": declared.activity.value if declared.activity else None,
        "format": declared.formats.text if declared.formats else None,
    }
    return texts[field]
