"""The collector's HTTP side: page, metrics, health and the JSON interface.

Owns: the paths, their content types and their headers.
May touch: nothing but the functions it is given; reads only immutable, published snapshots.
Called by the collector's app, which serves it; docs/api.md lists the paths.
Everything is read-only: what changes a figure comes in over gRPC or as a declaration.
"""

from __future__ import annotations

import asyncio
import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from flopmeter_collector.catalogue_view import thresholds_document
from flopmeter_collector.documents import Json
from flopmeter_collector.held import local_date
from flopmeter_collector.http.metrics import Kept, exposition
from flopmeter_collector.http.page import render_page
from flopmeter_collector.http.status import ServiceStatus
from flopmeter_collector.intake import NodeStatus
from flopmeter_collector.legal_view import LegalView
from flopmeter_collector.presentation import nodes_document, totals_document
from flopmeter_collector.snapshot import TotalsSnapshot
from flopmeter_collector.turns import Pause, go_on
from flopmeter_core.catalogue import Threshold
from flopmeter_core.kernels.render import CONTENT_TYPE

_HEADERS = {
    # The page loads nothing from anywhere; a browser then refuses whatever would be smuggled in.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Sources:
    """Where the HTTP side reads; each is quick and safe to call at any time.

    Attributes:
        snapshot: the newest published totals; None before the first.
        status: the collector itself.
        not_ready: why nothing can be relied on, in one sentence; empty when ready.
        legal: forecasts, alerts and reviews of the same round.
        site: what the totals are of, where they are not the fleet's, in one sentence.
        following: why this collector shows no fleet totals though it is ready; else empty.
        thresholds: the catalogue as it is used now.
        law_failure: why newer files of the law are not used, in one sentence; empty where they are.
        nodes: what each node's agent said of itself.
        names_in_metrics: whether anybody who may scrape is told the names of runs and models.
        pauses: gives what lets answers go first that is called in a thread.
    """

    snapshot: Callable[[], TotalsSnapshot | None]
    status: Callable[[], ServiceStatus]
    not_ready: Callable[[], str]
    thresholds: Callable[[], Sequence[Threshold]]
    nodes: Callable[[], Mapping[str, NodeStatus]]
    following: Callable[[], str] = str
    legal: Callable[[], LegalView] = LegalView
    names_in_metrics: bool = False
    pauses: Callable[[], Pause] = lambda: go_on
    law_failure: Callable[[], str] = str
    site: str = ""


def build_app(sources: Sources) -> Starlette:
    """Build the ASGI application; serving it is the caller's."""
    handlers = _Handlers(sources)
    return Starlette(
        routes=[
            Route("/", handlers.page),
            Route("/metrics", handlers.metrics),
            Route("/healthz", handlers.healthz),
            Route("/readyz", handlers.readyz),
            Route("/api/v1/totals", handlers.totals),
            Route("/api/v1/thresholds", handlers.thresholds),
            Route("/api/v1/nodes", handlers.nodes),
        ]
    )


class _Handlers:
    """One method a path."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._kept = Kept()

    async def page(self, _request: Request) -> Response:
        """The page for people."""
        snapshot = self._sources.snapshot()
        if snapshot is None and self._sources.following():
            said = escape(self._sources.following())
            html = f"<!doctype html><title>flopmeter</title><p>{said}.</p>"
            return HTMLResponse(html, headers=_HEADERS)
        if snapshot is None:
            return _not_ready(self._sources.not_ready())
        # In a thread: a large page must not hold up the reports on the event loop.
        html = await asyncio.to_thread(
            render_page,
            snapshot,
            self._sources.thresholds(),
            " ".join(filter(None, (self._sources.site, self._sources.law_failure()))),
            self._sources.legal(),
        )
        return HTMLResponse(html, headers=_HEADERS)

    async def metrics(self, _request: Request) -> Response:
        """Prometheus text; before the first totals only the collector itself."""
        sources = self._sources
        now = sources.snapshot(), sources.thresholds(), sources.status(), sources.legal()
        pause = sources.pauses()

        def rendered() -> bytes:
            """Bytes, because to make them of a large text would hold up the event loop."""
            named = sources.names_in_metrics
            return exposition(*now, self._kept, named=named, pause=pause).encode()

        text = await asyncio.to_thread(rendered)
        return Response(text, headers=_HEADERS, media_type=CONTENT_TYPE)

    async def healthz(self, _request: Request) -> Response:
        """The process answers."""
        return PlainTextResponse("ok\n", headers=_HEADERS)

    async def readyz(self, _request: Request) -> Response:
        """The totals are rebuilt and the ledger commits."""
        reason = self._sources.not_ready()
        following = self._sources.following()
        if following:
            return PlainTextResponse(f"ready; {following}\n", headers=_HEADERS)
        if reason or self._sources.snapshot() is None:
            return _not_ready(reason)
        return PlainTextResponse("ready\n", headers=_HEADERS)

    async def totals(self, _request: Request) -> Response:
        """All totals as JSON."""
        snapshot = self._sources.snapshot()
        if snapshot is None:
            reason = self._sources.following() or _waiting(self._sources.not_ready())
            return _json({"error": reason}, status_code=503)
        document = await asyncio.to_thread(
            totals_document, snapshot, self._sources.thresholds(), self._sources.legal()
        )
        if self._sources.site:
            document["site_view"] = self._sources.site
        return _json(document)

    async def thresholds(self, _request: Request) -> Response:
        """The catalogue as JSON."""
        snapshot = self._sources.snapshot()

        def day_of(row: Threshold) -> datetime.date:
            """The day of the totals; before the first ones the day the row was checked."""
            if snapshot is None:
                return row.checked_on
            return local_date(snapshot.as_of_ns, row.time_zone)

        return _json(thresholds_document(self._sources.thresholds(), day_of))

    async def nodes(self, _request: Request) -> Response:
        """The nodes as JSON."""
        return _json(nodes_document(self._sources.nodes()))


def _waiting(reason: str) -> str:
    return reason or "the totals are being rebuilt from the ledger; try again in a moment"


def _not_ready(reason: str) -> Response:
    return PlainTextResponse(_waiting(reason) + "\n", status_code=503, headers=_HEADERS)


def _json(document: Json, *, status_code: int = 200) -> Response:
    text = json.dumps(document, allow_nan=False, ensure_ascii=False)
    # A ledger of an earlier version may hold words that are no UTF-8.
    content = text.encode(errors="replace")
    return Response(
        content, status_code=status_code, headers=_HEADERS, media_type="application/json"
    )
