"""One HTTP request to an exporter, bounded in time and size.

Owns: the address, the limits, and what can go wrong on the way, as one sentence each.
May touch: one TCP connection at a time to the address it was given, and the clock.
Called by sensor.

No redirect is followed and no proxy is asked: the address is the one the operator wrote.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
from urllib.parse import urlsplit

from flopmeter_core.errors import SensorError, UsageError
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.clock import Clock

LONGEST_FETCH_S = 2.0
"""An exporter answers from memory in milliseconds; Prometheus itself would wait for 10 s."""

GREATEST_BYTES = 8 << 20
"""A node of 8 GPUs with every field makes 0.3 MiB."""

_CHUNK_BYTES = 1 << 16
_SCHEMES = {"http": 80, "https": 443}
_OK = 200


class Endpoint:
    """An exporter's metrics page."""

    def __init__(self, url: str, clock: Clock, *, timeout_s: float = LONGEST_FETCH_S) -> None:
        """Remember the address; nothing is opened.

        Args:
            url: address of the page, with ``http`` or ``https``.
            clock: measures how long an answer takes.
            timeout_s: how long a request may take in all.

        Raises:
            UsageError: it is no such address.
        """
        self.url = url
        self._clock = clock
        self._timeout_s = timeout_s
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise UsageError(f"dcgm_url {url!r} is no address ({error})") from error
        if parts.scheme not in _SCHEMES or not host or not url.isprintable() or " " in url:
            raise UsageError(
                f"dcgm_url {url!r} is no address of an exporter; it looks like "
                "http://127.0.0.1:9400/metrics"
            )
        if parts.username is not None or parts.password is not None:
            raise UsageError("dcgm_url must hold no user name or password: it is logged")
        self._secure = parts.scheme == "https"
        self.host = host
        self._port = port or _SCHEMES[parts.scheme]
        self._path = (parts.path or "/metrics") + (f"?{parts.query}" if parts.query else "")

    @property
    def on_this_host(self) -> bool:
        """Whether the exporter can only be one of this host."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def fetch(self) -> str:
        """Read the page once.

        Raises:
            SensorError: it cannot be had whole, in time, as text.
        """
        deadline_ns = self._clock.monotonic_ns() + round(self._timeout_s * NS_PER_S)
        made = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = made(self.host, self._port, timeout=self._timeout_s)
        try:
            connection.request("GET", self._path, headers={"Accept": "text/plain;version=0.0.4"})
            line = connection.sock  # the connection forgets it when the answer is to be the last
            with connection.getresponse() as response:
                if response.status != _OK:
                    raise SensorError(
                        f"the exporter {self.url} answers with HTTP {response.status}"
                    )
                return self._read(response, line, deadline_ns).decode("utf-8")
        except TimeoutError as error:
            raise self._too_slow() from error
        except http.client.IncompleteRead as error:
            raise SensorError(f"the answer of the exporter {self.url} is cut off") from error
        except http.client.HTTPException as error:
            raise SensorError(
                f"the exporter {self.url} does not speak HTTP ({type(error).__name__})"
            ) from error
        except UnicodeDecodeError as error:
            raise SensorError(f"the answer of the exporter {self.url} is no text") from error
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise SensorError(
                f"the exporter {self.url} cannot be reached ({reason}); is it running there?"
            ) from error
        finally:
            connection.close()

    def _read(
        self, response: http.client.HTTPResponse, line: socket.socket, deadline_ns: int
    ) -> bytes:
        """The body, in pieces, so that neither a flood nor a trickle goes on."""
        body = bytearray()
        if (response.length or 0) > GREATEST_BYTES:
            raise self._too_large()
        while True:
            left_ns = deadline_ns - self._clock.monotonic_ns()
            if left_ns <= 0:
                raise self._too_slow()
            if line.fileno() >= 0:  # closed once all was read
                line.settimeout(left_ns / NS_PER_S)
            piece = response.read1(_CHUNK_BYTES)
            if not piece:
                break
            body += piece
            if len(body) > GREATEST_BYTES:
                raise self._too_large()
        if response.length:
            raise SensorError(f"the answer of the exporter {self.url} is cut off")
        return bytes(body)

    def _too_slow(self) -> SensorError:
        return SensorError(f"the exporter {self.url} did not answer within {self._timeout_s:g} s")

    def _too_large(self) -> SensorError:
        return SensorError(
            f"the answer of the exporter {self.url} is above {GREATEST_BYTES >> 20} MiB; "
            "name its own page, not one that gathers many nodes"
        )
