"""TLS and passwords that do not fit: each client, against a live server, says what to do."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flopmeter.lab.collector_api import fetch_totals
from flopmeter_collector.alerts.receivers import post_json
from flopmeter_core.batches import RelayHello
from flopmeter_core.errors import UnreachableError, UsageError
from flopmeter_core.reports import Hello
from flopmeter_proto.daemon.credentials import channel_credentials
from flopmeter_proto.link import Link, StreamEndedError
from flopmeter_proto.relay_link import RelayLink
from support.certificates import Authority, Pair
from support.collector import running
from support.ingest import hello

TRUST = "its certificate is signed by nobody who is trusted here"
NAME = "its certificate is not made out to 127.0.0.1; use a name it is made out to"
OLD = "its certificate has expired; renew it there"
STREAMS = (
    ("wrong authority", f"{TRUST}; tls_ca has to hold the authority that signed it"),
    ("expired", OLD),
    ("another name", NAME),
    ("no tls here", "where the collector speaks TLS, give tls_ca"),
    ("no tls there", "the collector does not speak TLS; give it tls_cert and tls_key"),
    ("no certificate", "where the collector has tls_client_ca, tls_cert has to be signed by it"),
    ("expired of ours", "tls_cert has to be signed by it and still be valid"),
    ("nobody", "nothing listens there; start the collector, or correct the address"),
)


class NoReports:
    """An agent without anything to say."""

    async def next_report(self) -> None:
        """Nothing."""

    async def acknowledge(self, answer: object) -> None:
        """Nothing to do."""


@pytest.mark.parametrize(("case", "words"), STREAMS, ids=[case for case, _ in STREAMS])
def test_an_agent_says_what_to_do(tmp_path: Path, case: str, words: str) -> None:
    """Of a stream that never came about: what is wrong, and which setting mends it."""
    site, stranger = Authority(tmp_path, "site"), Authority(tmp_path, "stranger")
    server = {
        "expired": site.sign("old", expired=True),
        "another name": site.sign("other", "collector.example", loopback=False),
    }.get(case, site.sign("collector"))
    settings: dict[str, Any] = {"tls_cert": server.certificate, "tls_key": server.key}
    if case == "no tls there":
        settings = {}
    if case in ("no certificate", "expired of ours"):
        settings["tls_client_ca"] = site.certificate
    ours = site.sign("node", expired=True) if case == "expired of ours" else None
    trusted = stranger if case == "wrong authority" else site

    async def scenario() -> str:
        async with running(tmp_path, **settings) as app:
            address = "127.0.0.1:1" if case == "nobody" else app.grpc_address
            shown = channel_credentials(
                address,
                ca=None if case == "no tls here" else trusted.certificate,
                certificate=ours.certificate if ours else None,
                key=ours.key if ours else None,
                allow_plaintext=False,
            )
            link = Link(address, _hello, NoReports(), credentials=shown)
            with pytest.raises(StreamEndedError) as ended:
                async with link.connect():
                    pass
            assert not ended.value.final
            return ended.value.sentence

    sentence = asyncio.run(scenario())
    assert words in sentence
    assert "\n" not in sentence and "SSL" not in sentence and "error" not in sentence


def _hello() -> Hello:
    return hello()


def test_a_relay_names_its_own_settings(tmp_path: Path) -> None:
    """What an agent calls tls_ca is another setting of a relay."""

    async def scenario() -> None:
        pair = Authority(tmp_path, "site").sign("collector")
        async with running(tmp_path, tls_cert=pair.certificate, tls_key=pair.key) as app:
            link = RelayLink(app.grpc_address, _Batches())
            with pytest.raises(StreamEndedError, match="give upstream_tls_ca"):
                async with link.connect():
                    pass

    asyncio.run(scenario())


class _Batches:
    """A relay without anything to forward."""

    more = False

    def hello(self) -> RelayHello:
        """Whoever it is."""
        return RelayHello(relay="r", simulated=False)

    async def next_batch(self) -> None:
        """Nothing."""

    async def acknowledge(self, answer: object) -> None:
        """Nothing to do."""


class _Page(http.server.BaseHTTPRequestHandler):
    """Answers every request with one status."""

    status = 200

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(self.status)
        self.end_headers()

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(
    pair: Pair | None = None, *, status: int = 200, clients: Path | None = None
) -> Iterator[int]:
    """A web server on loopback, with TLS where a certificate is given; yields its port."""
    handler = type("Page", (_Page,), {"status": status})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    if pair is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        if clients is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(clients)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


WEB = (
    ("unknown authority", f"{TRUST}; add the authority that signed it to those of this system"),
    ("expired", OLD),
    ("another name", NAME),
    ("no tls there", "it does not speak TLS; write http:"),
    ("no tls here", "closed before an answer; where it speaks TLS, write https:"),
    ("no certificate", "where it wants a certificate of whoever asks"),
    ("no host", "no host is known as no.such.host.invalid; correct the name"),
)


@pytest.mark.parametrize(("case", "words"), WEB, ids=[case for case, _ in WEB])
def test_who_asks_over_http_says_what_to_do(
    tmp_path: Path, case: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both clients, that of the commands and that of alerts, by the same table."""
    site = Authority(tmp_path, "site")
    if case != "unknown authority":
        monkeypatch.setenv("SSL_CERT_FILE", str(site.certificate))
    pair = {
        "expired": site.sign("old", expired=True),
        "another name": site.sign("other", "collector.example", loopback=False),
        "no tls there": None,
    }.get(case, site.sign("collector"))
    scheme = "http" if case in ("no tls here", "no host") else "https"
    host = "no.such.host.invalid" if case == "no host" else "127.0.0.1"
    with serving(pair, clients=site.certificate if case == "no certificate" else None) as port:
        url = f"{scheme}://{host}:{port}"
        with pytest.raises(UnreachableError) as asked:
            fetch_totals(url)
        with pytest.raises(UnreachableError) as told:
            post_json(f"{url}/secret", "/secret", b"{}", {}, what="a webhook")
    assert str(asked.value).startswith(f"{url} cannot be asked: ") and words in str(asked.value)
    assert str(told.value).startswith(f"{url} cannot be told: ") and words in str(told.value)
    assert "secret" not in str(told.value) and "_ssl.c" not in str(asked.value)


@pytest.mark.parametrize("status", [401, 403, 407])
def test_a_proxy_that_wants_a_password(status: int) -> None:
    """The commands have none to give, and say so."""
    with serving(status=status) as port, pytest.raises(UnreachableError) as asked:
        fetch_totals(f"http://127.0.0.1:{port}")
    assert f"answers {status} " in str(asked.value)
    assert "flopmeter sends no password: let this host through" in str(asked.value)


def test_a_password_in_an_address_is_not_repeated() -> None:
    """It would stand in a terminal, a log, a ticket."""
    with pytest.raises(UsageError) as refused:
        fetch_totals("http://me:hunter2@127.0.0.1:8426")
    assert "hunter2" not in str(refused.value) and "is not used" in str(refused.value)
