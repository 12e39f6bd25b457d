"""gRPC credentials from PEM files, and the rule that plaintext stays on this host.

Owns: reading certificates and keys, the sentence for each way they can be wrong, `is_loopback`.
May touch: the PEM files it is named (reading).
Called by the agent's link and by the collector's server; docs/security.md.
"""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from flopmeter_core.errors import UsageError, unreadable

if TYPE_CHECKING:
    # Imported where credentials are made: settings ask for `is_loopback` and have to stay light.
    import grpc


def channel_credentials(
    address: str,
    *,
    ca: Path | None,
    certificate: Path | None,
    key: Path | None,
    allow_plaintext: bool,
    prefix: str = "",
) -> grpc.ChannelCredentials | None:
    """Make the credentials an agent or a relay connects with.

    Args:
        address: where it connects to.
        ca: PEM file of the authorities that may have signed the collector's certificate; TLS is
            spoken when this is given.
        certificate: the agent's own certificate, for a collector that asks for one.
        key: the certificate's private key.
        allow_plaintext: whether plaintext may leave this host.
        prefix: what the names of these settings begin with, for the sentences.

    Returns:
        The credentials, or None for plaintext.

    Raises:
        UsageError: a file that is missing, unreadable, no PEM, or belongs to another; or
            plaintext to another host that was not allowed.
    """
    if ca is None:
        if certificate is not None or key is not None:
            raise UsageError(
                f"{prefix}tls_cert and {prefix}tls_key are given without {prefix}tls_ca; "
                "give the authority's certificate as well"
            )
        check_plaintext(address, allow_plaintext=allow_plaintext, remedy=f"give {prefix}tls_ca")
        return None
    authorities = _authorities(ca, f"{prefix}tls_ca")
    chain = _pair(certificate, key, prefix)
    import grpc

    if chain is None:
        return grpc.ssl_channel_credentials(root_certificates=authorities)
    return grpc.ssl_channel_credentials(
        root_certificates=authorities, private_key=chain[1], certificate_chain=chain[0]
    )


def server_credentials(
    address: str,
    *,
    certificate: Path | None,
    key: Path | None,
    client_ca: Path | None,
    allow_plaintext: bool,
) -> grpc.ServerCredentials | None:
    """Make the credentials a collector listens with.

    Args:
        address: where it listens.
        certificate: the collector's certificate chain; TLS is spoken when this is given.
        key: the certificate's private key.
        client_ca: PEM file of the authorities of the agents' certificates; when given, an agent
            without a certificate of theirs is refused.
        allow_plaintext: whether plaintext may be spoken with other hosts.

    Returns:
        The credentials, or None for plaintext.

    Raises:
        UsageError: as `channel_credentials`.
    """
    chain = _pair(certificate, key)
    if chain is None:
        if client_ca is not None:
            raise UsageError(
                "tls_client_ca is given without tls_cert and tls_key; "
                "give the collector's own as well"
            )
        check_plaintext(
            address, allow_plaintext=allow_plaintext, remedy="give tls_cert and tls_key"
        )
        return None
    authorities = _authorities(client_ca, "tls_client_ca") if client_ca is not None else None
    import grpc

    return grpc.ssl_server_credentials(
        [(chain[1], chain[0])],
        root_certificates=authorities,
        require_client_auth=authorities is not None,
    )


def check_plaintext(address: str, *, allow_plaintext: bool, remedy: str) -> None:
    """Refuse plaintext that would leave this host.

    Args:
        address: where a side connects to or listens.
        allow_plaintext: whether the operator allowed it.
        remedy: the setting that would turn TLS on, for the sentence.

    Raises:
        UsageError: `address` is not loopback and plaintext was not allowed.
    """
    if not allow_plaintext and not is_loopback(address):
        raise UsageError(
            f"plaintext to {address} would leave this host; {remedy}, "
            "or allow it with --allow-plaintext"
        )


def is_loopback(address: str) -> bool:
    """Tell whether an address can only be reached from this host.

    Args:
        address: ``host:port`` or a gRPC target such as ``unix:/run/x.sock`` or
            ``ipv4:127.0.0.1:8425``. Names other than ``localhost`` are never looked up: what a
            name means can change.
    """
    scheme, separator, rest = address.partition(":")
    if separator and scheme in ("unix", "unix-abstract"):
        return True
    if separator and scheme in ("ipv4", "ipv6", "dns"):
        address = rest.removeprefix("///")
    host = _host(address)
    if host == "localhost":
        return True
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(literal, "ipv4_mapped", None)
    return bool((mapped or literal).is_loopback)


def _host(address: str) -> str:
    """The host of ``host``, ``host:port``, ``[host]:port`` or a bare IPv6 address."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    # More than one colon without brackets is an IPv6 address without port.
    if address.count(":") == 1:
        return address.partition(":")[0].lower()
    return address.lower()


def _authorities(path: Path, setting: str) -> bytes:
    """Read and check a file of certificates of authorities."""
    pem = _read(path, setting)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise UsageError(
            f"{setting} {path} holds no valid PEM certificate; check the file"
        ) from error
    return pem


def _pair(
    certificate: Path | None, key: Path | None, prefix: str = ""
) -> tuple[bytes, bytes] | None:
    """Read a certificate and its key, and check that they belong together."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        given, lacking = ("tls_cert", "tls_key") if certificate else ("tls_key", "tls_cert")
        raise UsageError(f"{prefix}{given} is given without {prefix}{lacking}; give both")
    chain = _read(certificate, f"{prefix}tls_cert"), _read(key, f"{prefix}tls_key")
    try:
        # An encrypted key would otherwise ask for its password on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None)
        if reason == "KEY_VALUES_MISMATCH":
            raise UsageError(
                f"{prefix}tls_key {key} is not the key of {prefix}tls_cert {certificate}; "
                "give the pair"
            ) from error
        raise UsageError(
            f"{prefix}tls_cert {certificate} and {prefix}tls_key {key} are no valid unencrypted "
            "PEM pair"
            + (f" ({reason.lower().replace('_', ' ')})" if reason else "")
            + "; check the files"
        ) from error
    return chain


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(f"{what} {path}", error) from error
