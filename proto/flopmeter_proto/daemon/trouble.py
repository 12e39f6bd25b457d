"""Why a connection did not come about, as one sentence that says what to do.

Owns: what the words of gRPC, OpenSSL and the system mean for the person who set the address.
May touch: nothing; pure functions of texts and errors.
Called by link, the collector's receivers of alerts and the command line's HTTP client.
Explained in docs/security.md. The words are those of gRPC 1.85 (BoringSSL) and of Python's ssl,
each seen in tests against a live server; words nobody knows are passed on as they are.
"""

from __future__ import annotations

import enum


class Trouble(enum.Enum):
    """What is wrong with a connection."""

    EXPIRED = "expired"
    EARLY = "early"
    STRANGER = "stranger"
    NAME = "name"
    NO_TLS = "no tls"
    CLOSED = "closed"
    REFUSED = "refused"
    NO_HOST = "no host"


_WORDS = (
    ("certificate has expired", Trouble.EXPIRED),
    ("certificate is not yet valid", Trouble.EARLY),
    ("Hostname Verification Check failed", Trouble.NAME),
    ("Hostname mismatch", Trouble.NAME),
    ("IP address mismatch", Trouble.NAME),
    ("CERTIFICATE_VERIFY_FAILED", Trouble.STRANGER),
    ("WRONG_VERSION_NUMBER", Trouble.NO_TLS),
    ("Socket closed", Trouble.CLOSED),
    ("Connection reset", Trouble.CLOSED),
    ("without response", Trouble.CLOSED),
    ("EOF occurred in violation of protocol", Trouble.CLOSED),
    ("CERTIFICATE_REQUIRED", Trouble.CLOSED),
    ("Connection refused", Trouble.REFUSED),
    ("DNS resolution failed", Trouble.NO_HOST),
    ("Domain name not found", Trouble.NO_HOST),
    ("Name or service not known", Trouble.NO_HOST),
    ("No address associated with hostname", Trouble.NO_HOST),
)
"""The first that is found counts: a certificate that has expired fails its check as well."""


def trouble_of(text: object) -> Trouble | None:
    """What an error of a connection is about; None where its words are not known."""
    said = str(text)
    return next((trouble for words, trouble in _WORDS if words in said), None)


def stream_sentence(details: str, *, address: str, tls: bool, prefix: str = "") -> str:
    """Why a stream to a collector did not come about, and what to do.

    Args:
        details: what gRPC said.
        address: ``host:port`` of the collector.
        tls: whether TLS is spoken to it.
        prefix: what the names of the settings of TLS begin with.
    """
    match trouble_of(details):
        case None:
            return details
        case Trouble.CLOSED:
            if not tls:
                return (
                    "the connection was closed before a word was said; where the collector "
                    f"speaks TLS, give {prefix}tls_ca"
                )
            return (
                "the connection was closed before a word was said; where the collector has "
                f"tls_client_ca, {prefix}tls_cert has to be signed by it and still be valid"
            )
        case Trouble.NO_TLS:
            return (
                f"the collector does not speak TLS; give it tls_cert and tls_key, or leave "
                f"{prefix}tls_ca out here"
            )
        case Trouble.REFUSED:
            return "nothing listens there; start the collector, or correct the address"
        case trouble:
            return _certificate(
                trouble,
                address.rsplit(":", 1)[0],
                f"{prefix}tls_ca has to hold the authority that signed it",
            )


def web_sentence(error: object, *, url: str, host: str) -> str:
    """What is wrong with a connection to a web server; empty where its words are not known.

    Args:
        error: what Python said.
        url: the address without anything secret.
        host: its host.
    """
    match trouble_of(error):
        case None | Trouble.REFUSED:
            return ""
        case Trouble.CLOSED:
            if url.startswith("https:"):
                return (
                    "the connection was closed before an answer; where it wants a certificate of "
                    "whoever asks, let this host in without one"
                )
            return "the connection was closed before an answer; where it speaks TLS, write https:"
        case Trouble.NO_TLS:
            return "it does not speak TLS; write http:, or put TLS before it"
        case trouble:
            return _certificate(
                trouble,
                host,
                "add the authority that signed it to those of this system, or name its file in "
                "the variable SSL_CERT_FILE",
            )


def _certificate(trouble: Trouble, host: str, trust: str) -> str:
    match trouble:
        case Trouble.EXPIRED:
            return "its certificate has expired; renew it there, or set this host's clock right"
        case Trouble.EARLY:
            return "its certificate is not valid yet; set this host's clock right"
        case Trouble.NAME:
            return (
                f"its certificate is not made out to {host}; use a name it is made out to, or "
                "have it made out to this one too"
            )
        case Trouble.NO_HOST:
            return f"no host is known as {host}; correct the name"
        case _:
            return f"its certificate is signed by nobody who is trusted here; {trust}"
