"""Asks a serving collector for its totals.

Owns: the request, its limits, and a sentence for each way it can fail.
May touch: one HTTP request to the address it is given.
Called by `flopmeter totals` and the demo; docs/api.md describes the answer.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from http.client import BadStatusLine, HTTPException, LineTooLong, RemoteDisconnected
from typing import Any
from urllib.parse import urlsplit

from flopmeter_core.errors import DataError, UnreachableError, UsageError
from flopmeter_proto.daemon.trouble import web_sentence

TOTALS_PATH = "/api/v1/totals"

ASKS_WHO = frozenset({401, 403, 407})
"""Statuses of a proxy that wants a password (RFC 9110); a collector itself answers none of them."""

MAXIMUM_ANSWER_BYTES = 256 << 20
"""100,000 runs at about 2 kB each fit; more is no totals document."""


def fetch_totals(collector_url: str, *, timeout_s: float = 10) -> dict[str, Any]:
    """Get the totals document of a collector.

    Args:
        collector_url: such as ``http://127.0.0.1:8426``.
        timeout_s: how long to wait for each part of the answer, in seconds.

    Raises:
        UsageError: `collector_url` is no http or https URL, or has a password in it.
        UnreachableError: nobody answers, or the answer is an error or no HTTP.
        DataError: the answer is no totals document.
    """
    _check(collector_url)
    url = collector_url.rstrip("/") + TOTALS_PATH
    try:
        # A proxy of the environment is for the world outside, and would see the figures.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=timeout_s) as answer:
            content = answer.read(MAXIMUM_ANSWER_BYTES + 1)
    except urllib.error.HTTPError as error:
        error.close()
        hint = (
            "it asks who you are, and flopmeter sends no password: let this host through without "
            "one, or read the ledger with --ledger"
            if error.code in ASKS_WHO
            else "is this a collector's HTTP address?"
        )
        raise UnreachableError(
            f"{url} answers {error.code} {_words(error.reason)}; {hint}"
        ) from error
    except RemoteDisconnected as error:
        raise _silence(collector_url, error) from error
    except (BadStatusLine, LineTooLong) as error:
        raise UnreachableError(
            f"something answers at {collector_url}, but it does not speak HTTP; "
            "8425 is the agents' port, 8426 the page's"
        ) from error
    except (OSError, HTTPException) as error:
        raise _silence(collector_url, error) from error
    if len(content) > MAXIMUM_ANSWER_BYTES:
        raise DataError(f"{url} answers with more than {MAXIMUM_ANSWER_BYTES} bytes; not read")
    try:
        document = json.loads(content)
    except ValueError as error:
        raise DataError(f"{url} does not answer with JSON; is this a collector?") from error
    if not isinstance(document, dict) or document.get("schema") != 1:
        raise DataError(f"{url} answers with no totals document of schema 1; update flopmeter")
    return document


def _check(collector_url: str) -> None:
    """Refuse an address that cannot be asked.

    Raises:
        UsageError: no http or https URL, or one with a password, which no sentence may repeat.
    """
    try:
        parts = urlsplit(collector_url)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise UsageError(f"{collector_url!r} is no URL; write it as http://127.0.0.1:8426")
    if "@" in parts.netloc:
        raise UsageError(
            "a user name or password in --collector is not used; write it as "
            "http://127.0.0.1:8426, and let this host through a proxy that wants one"
        )


def _silence(collector_url: str, error: Exception) -> UnreachableError:
    reason = getattr(error, "reason", None) or error
    host = urlsplit(collector_url).hostname or ""
    if known := web_sentence(reason, url=collector_url, host=host):
        return UnreachableError(f"{collector_url} cannot be asked: {known}")
    return UnreachableError(
        f"no collector answers at {collector_url} ({_words(reason)}); "
        "start one with `flopmeter collector`, or name another with --collector"
    )


def _words(reason: object) -> str:
    """An operating system's reason in its own words, without its number; safe on a terminal."""
    text = str(getattr(reason, "strerror", None) or reason)
    return "".join(letter if letter.isprintable() else "?" for letter in text)
