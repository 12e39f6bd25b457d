"""Filed versions of a report: what was told to whom, when, and what a later one changes.

Owns: the declaration that keeps a filed version for good, its number, and the difference of two.
May touch: nothing; pure functions of ledger rows.
Called by lab.filing_acts; docs/filings.md.

A filed version is a declaration, so nobody can change it afterwards; a correction is a further
version. It keeps the document as the recipient got it, and the exact figures behind it.
"""

from __future__ import annotations

import calendar
import datetime
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flopmeter_collector.alerts.acts import MAXIMUM_PERSON_LENGTH
from flopmeter_collector.documents import Json
from flopmeter_collector.ledger.base import Declaration
from flopmeter_collector.rounding import round_flop
from flopmeter_core.errors import DataError
from flopmeter_core.filings import FieldId

FILING_KIND = "filing"

_FIELDS = {"form", "recipient", "signed_by", "placed_on_market", "document", "exact", "sha256"}

_COMPARED = ("reported", "everything", "with_permitted_exclusions")
_BOUNDS = ("lower", "best", "upper")
_BASIS = ("measured_to", "law_as_of", "known_at")


@dataclass(frozen=True, slots=True)
class Filed:
    """One filed version.

    Attributes:
        sequence: of its declaration.
        version: its number among those of the same model, form and recipient, from 1.
        filed_at_ns: Unix time in ns.
        author: who filed it.
        signed_by: the named person who takes responsibility.
        placed_on_market: the day from which it has to be kept; None while the model is not.
        document: as the recipient got it.
        exact: the same report for the organisation itself.
    """

    sequence: int
    model: str
    form: str
    recipient: str
    version: int
    filed_at_ns: int
    author: str
    signed_by: str
    placed_on_market: datetime.date | None
    document: Json
    exact: Json
    sha256: str

    def kept_until(self, years: int) -> datetime.date | None:
        """The last day it has to be kept; None while the model is not on the market.

        Args:
            years: as the form says; a 29 February counts as the 28th where there is none.
        """
        start = self.placed_on_market
        if start is None:
            return None
        year = start.year + years
        leap_day = (start.month, start.day) == (2, 29)
        return start.replace(
            year=year, day=28 if leap_day and not calendar.isleap(year) else start.day
        )


def statement(
    document: Json, exact: Json, *, signed_by: str, placed_on_market: datetime.date | None
) -> Mapping[str, str]:
    """The body of the declaration that files a document.

    Args:
        document: as the recipient gets it.
        exact: the same report for the organisation itself.
        signed_by: the named person.
        placed_on_market: the day the model was placed on the market, where it was.

    Raises:
        DataError: nobody is named.
    """
    check_signer(signed_by)
    text = canonical(document)
    return {
        "form": str(document["form"]),
        "recipient": str(document["recipient"]),
        "signed_by": signed_by,
        "placed_on_market": placed_on_market.isoformat() if placed_on_market else "",
        "document": text,
        "exact": canonical(exact),
        "sha256": digest(text),
    }


def check_signer(name: str) -> None:
    """Refuse a name that no page could show.

    Raises:
        DataError: empty, too long, or with letters that cannot be printed.
    """
    if not name.strip() or len(name) > MAXIMUM_PERSON_LENGTH or not name.isprintable():
        raise DataError(
            "a report is filed in a person's name, of 1 to "
            f"{MAXIMUM_PERSON_LENGTH} printable characters in one line; give it with --signed-by"
        )


def canonical(document: Json) -> str:
    """The one spelling of a document: keys in order, no space, UTF-8."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(text: str) -> str:
    """SHA-256 of a document's canonical text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def filed_versions(
    declarations: Iterable[Declaration], *, model: str | None = None, form: str | None = None
) -> list[Filed]:
    """Every filed version, oldest first.

    Args:
        declarations: of a ledger, in its order.
        model: only this model's.
        form: only this form's.

    Raises:
        DataError: a filed version that is not what was filed.
    """
    numbers: dict[tuple[str, str, str], int] = {}
    found = []
    for row in declarations:
        if row.kind != FILING_KIND:
            continue
        body = row.body
        if body.keys() != _FIELDS or digest(body["document"]) != body["sha256"]:
            raise DataError(
                f"declaration {row.sequence} is no intact filed version; check the ledger with "
                "`flopmeter ledger verify`"
            )
        of = (row.subject, body["form"], body["recipient"])
        numbers[of] = numbers.get(of, 0) + 1
        if model in (None, row.subject) and form in (None, body["form"]):
            found.append(_filed(row, numbers[of]))
    return found


def _filed(row: Declaration, version: int) -> Filed:
    placed = row.body["placed_on_market"]
    return Filed(
        sequence=row.sequence,
        model=row.subject,
        form=row.body["form"],
        recipient=row.body["recipient"],
        version=version,
        filed_at_ns=row.declared_at_ns,
        author=row.author,
        signed_by=row.body["signed_by"],
        placed_on_market=datetime.date.fromisoformat(placed) if placed else None,
        document=json.loads(row.body["document"]),
        exact=json.loads(row.body["exact"]),
        sha256=row.body["sha256"],
    )


def difference(filed: Filed, exact: Json) -> Json:
    """What the figures say now against a filed version, exactly.

    Args:
        filed: the version.
        exact: the report of the same model and form for the organisation itself.
    """
    before, after = _figures(filed.exact), _figures(exact)
    return {
        "version": filed.version,
        "sequence": filed.sequence,
        "sha256": filed.sha256,
        "figures": [
            {
                "profile": profile,
                "which": which,
                "bound": bound,
                "filed_flop_str": before.get((profile, which, bound)),
                "filed": _told(before.get((profile, which, bound))),
                "now_flop_str": now,
                "now": _told(now),
                "difference_flop_str": _difference(before.get((profile, which, bound)), now),
            }
            for (profile, which, bound), now in after.items()
        ],
        "basis": {
            name: {"filed": filed.exact[name], "now": exact[name]}
            for name in _BASIS
            if filed.exact[name] != exact[name]
        },
    }


def _figures(exact: Json) -> dict[tuple[str, str, str], str]:
    sections: Any = exact["sections"]
    (compute,) = (each["content"] for each in sections if each["field"] == FieldId.COMPUTE)
    return {
        (row["profile"], which, bound): row[which][f"{bound}_flop_str"]
        for row in compute["profiles"]
        for which in _COMPARED
        # Versions filed before there were decisions reported everything.
        if which in row and (which != "reported" or row["decision"])
        for bound in _BOUNDS
    }


def _difference(filed: str | None, now: str) -> str | None:
    return None if filed is None else str(int(now) - int(filed))


def _told(flop: str | None) -> str | None:
    return None if flop is None else str(round_flop(int(flop)))
