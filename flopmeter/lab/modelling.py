"""Says what a model is: where it came from, what no agent saw, what is planned, who took part.

Owns: the declarations of `flopmeter model`, and the check of each against what is known.
May touch: one ledger (through the collector's backends); the file of a source, reading; the clock
it is given.
Called by `flopmeter model`. Explained in docs/runs-and-models.md.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
from collections.abc import Mapping
from pathlib import Path

from flopmeter.lab.stating import look, state
from flopmeter_collector.law_days import LAST_DAY
from flopmeter_collector.ledger.base import Declaration
from flopmeter_collector.model_statements import (
    EXTERNAL_KIND,
    PARENT_KIND,
    PLAN_KIND,
    parse_external,
)
from flopmeter_collector.worth import Profiles
from flopmeter_core.allocations import check_name
from flopmeter_core.errors import DataError, UsageError, unreadable
from flopmeter_core.names import check_distinct
from flopmeter_proto.daemon.clock import Clock

_CHUNK_BYTES = 1 << 20

UNIX_BEGINS = datetime.date(1970, 1, 1)


def declare_model(
    url: str,
    kind: str,
    model: str,
    body: Mapping[str, str],
    *,
    author: str,
    clock: Clock,
    new: bool = False,
    profiles: Profiles | None = None,
) -> Declaration:
    """Declare something of a model.

    Args:
        url: the ledger.
        kind: of the statement, one of `model_statements.MODEL_KINDS`.
        model: the model's name.
        body: the statement's fields.
        author: who states it.
        clock: dates it.
        new: whether it may be the first that anybody says of this model.
        profiles: those that decide what waits for people; of the site's usual folder when None.

    Raises:
        UsageError: nobody knows the model.
        DataError: a field that cannot be read, a circle, or a new name that looks like one in use.
        StorageError: the ledger cannot be written.
    """
    check_name(model, what="model")
    for name in ("from", "until"):
        _check_year(body.get(name, ""), name)
    site = look(url, profiles=profiles)
    if model not in site.models:
        if not new:
            raise UsageError(
                f"no model is named {model!r}; `flopmeter model list` lists them, a run's model is "
                "declared with `flopmeter run declare --model`, and `flopmeter model plan` names "
                "one ahead"
            )
        check_distinct(model, site.models, what="model")
    parent = body.get("parent")
    if kind == PARENT_KIND and parent is not None and parent not in site.models:
        check_distinct(parent, site.models, what="model")
    return state(url, kind, model, body, site=site, author=author, clock=clock)


def add_external(
    url: str,
    model: str,
    body: Mapping[str, str],
    source: Path,
    *,
    author: str,
    clock: Clock,
    profiles: Profiles | None = None,
) -> Declaration:
    """Declare compute that no agent saw, with the hash of the file that says so.

    Args:
        url: the ledger.
        model: the model's name.
        body: the entry's fields but those of the source.
        source: the file.
        author: who enters it.
        clock: dates it.
        profiles: those that decide what waits for people; of the site's usual folder when None.

    Raises:
        UsageError, DataError, StorageError: as `declare_model`; or the file cannot be read.
    """
    full = {**body, "source": source.name, "sha256": sha256_of(source)}
    full.setdefault("entry", source.name)
    parse_external(model, full)
    return declare_model(
        url, EXTERNAL_KIND, model, full, author=author, clock=clock, profiles=profiles
    )


def _check_year(text: str, name: str) -> None:
    """Refuse a time at which nobody computes.

    Raises:
        DataError: before the first model, or too far ahead; what is no time is said elsewhere.
    """
    with contextlib.suppress(ValueError):
        day = datetime.datetime.fromisoformat(text).date()
        if not UNIX_BEGINS <= day <= LAST_DAY:
            raise DataError(
                f"{name} {day.isoformat()} lies outside {UNIX_BEGINS.isoformat()} to "
                f"{LAST_DAY.isoformat()}; correct it"
            )


def plan(
    url: str, model: str, body: Mapping[str, str], *, author: str, clock: Clock
) -> Declaration:
    """Declare what a model is meant to take, before its first run or later; errors as above."""
    return declare_model(url, PLAN_KIND, model, body, author=author, clock=clock, new=True)


def sha256_of(
    path: Path,
    *,
    what: str = "the source",
    hint: str = "name the file that says what was computed",
) -> str:
    """The SHA-256 of a file's content, in hexadecimal.

    Args:
        path: the file.
        what: what it is, for the sentence.
        hint: what to do where it cannot be read.

    Raises:
        UsageError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise unreadable(f"{what} {path}", error, hint) from error
    return digest.hexdigest()
