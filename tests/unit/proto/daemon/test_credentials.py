"""Credentials: who may speak plaintext, and a sentence for each wrong file."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from flopmeter_core.errors import UsageError
from flopmeter_proto.daemon.credentials import (
    channel_credentials,
    is_loopback,
    server_credentials,
)

FAR = "collector.example:8425"


class Pair(NamedTuple):
    """A certificate and its key."""

    certificate: Path
    key: Path


def make_pair(folder: Path, name: str, *, password: bytes | None = None) -> Pair:
    """Write a self-signed certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin = datetime.datetime(2026, 1, 1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    lock: serialization.KeySerializationEncryption = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pair.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
    )
    return pair


def refusal(**files: Path | None) -> str:
    """The sentence of a refused channel."""
    given: dict[str, Any] = {"ca": None, "certificate": None, "key": None}
    given.update(files)
    with pytest.raises(UsageError) as caught:
        channel_credentials(FAR, allow_plaintext=True, **given)
    return str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:8425",
        "127.8.9.1:1",
        "localhost:8425",
        "LOCALHOST:1",
        "[::1]:8425",
        "::1",
        "[::ffff:127.0.0.1]:1",
        "unix:/run/flopmeter.sock",
        "ipv4:127.0.0.1:8425",
        "dns:///localhost:8425",
    ],
)
def test_loopback(address: str) -> None:
    """Addresses only this host can reach."""
    assert is_loopback(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0:8425",
        "[::]:8425",
        "10.0.0.1:8425",
        "127.0.0.1.example:8425",
        "localhost.example:8425",
        FAR,
        "[::ffff:10.0.0.1]:1",
        "dns:///127.example:1",
        "",
        ":8425",
        "unixy:8425",
    ],
)
def test_not_loopback(address: str) -> None:
    """Addresses another host may reach, or a name may come to mean."""
    assert not is_loopback(address)


def test_plaintext_stays_here() -> None:
    """Plaintext to another host is refused on both sides unless allowed."""
    none: dict[str, Any] = {"ca": None, "certificate": None, "key": None}
    server: dict[str, Any] = {"certificate": None, "key": None, "client_ca": None}
    with pytest.raises(UsageError, match=r"collector.example:8425 .* --allow-plaintext"):
        channel_credentials(FAR, allow_plaintext=False, **none)
    with pytest.raises(UsageError, match=r"0\.0\.0\.0:8425 .*tls_cert and tls_key"):
        server_credentials("0.0.0.0:8425", allow_plaintext=False, **server)
    assert channel_credentials(FAR, allow_plaintext=True, **none) is None
    assert channel_credentials("127.0.0.1:1", allow_plaintext=False, **none) is None
    assert server_credentials("[::1]:0", allow_plaintext=False, **server) is None


def test_good_files(tmp_path: Path) -> None:
    """An authority alone, with an own pair, and a server's pair make credentials."""
    pair = make_pair(tmp_path, "node")
    for certificate, key in ((None, None), pair):
        assert channel_credentials(
            FAR, ca=pair.certificate, certificate=certificate, key=key, allow_plaintext=False
        )
    for authority in (None, pair.certificate):
        assert server_credentials(
            "0.0.0.0:1",
            certificate=pair.certificate,
            key=pair.key,
            client_ca=authority,
            allow_plaintext=False,
        )


def test_missing_file(tmp_path: Path) -> None:
    """A path with nothing behind it."""
    path = tmp_path / "ca.pem"
    assert refusal(ca=path) == (
        f"tls_ca {path} cannot be read: No such file or directory; "
        "check the path and who may read it"
    )


def test_unreadable_file(tmp_path: Path) -> None:
    """A folder instead of a file."""
    assert "cannot be read: Is a directory" in refusal(ca=tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"hello\n", b"\xff\xfe", b"-----BEGIN CERTIFICATE-----\n"]
)
def test_no_pem(tmp_path: Path, content: bytes) -> None:
    """A file that holds no certificate."""
    path = tmp_path / "ca.pem"
    path.write_bytes(content)
    assert "holds no valid PEM certificate" in refusal(ca=path)


def test_mismatched_pair(tmp_path: Path) -> None:
    """A key that belongs to another certificate."""
    one, other = make_pair(tmp_path, "one"), make_pair(tmp_path, "other")
    sentence = refusal(ca=one.certificate, certificate=one.certificate, key=other.key)
    assert sentence == (
        f"tls_key {other.key} is not the key of tls_cert {one.certificate}; give the pair"
    )


def test_encrypted_key(tmp_path: Path) -> None:
    """A key with a password is refused without asking for it."""
    pair = make_pair(tmp_path, "locked", password=b"secret")
    sentence = refusal(ca=pair.certificate, certificate=pair.certificate, key=pair.key)
    assert "no valid unencrypted PEM pair" in sentence


def test_garbled_key(tmp_path: Path) -> None:
    """A key file that holds something else."""
    pair = make_pair(tmp_path, "node")
    pair.key.write_text("hello\n")
    sentence = refusal(ca=pair.certificate, certificate=pair.certificate, key=pair.key)
    assert "no valid unencrypted PEM pair" in sentence


def test_half_a_pair(tmp_path: Path) -> None:
    """A certificate without its key, either without the authority, an authority without a pair."""
    pair = make_pair(tmp_path, "node")
    authority = pair.certificate
    assert "tls_cert is given without tls_key" in refusal(ca=authority, certificate=authority)
    assert "tls_key is given without tls_cert" in refusal(ca=authority, key=pair.key)
    assert "without tls_ca" in refusal(certificate=pair.certificate, key=pair.key)
    with pytest.raises(UsageError, match="tls_client_ca is given without tls_cert and tls_key"):
        server_credentials(
            "127.0.0.1:1", certificate=None, key=None, client_ca=authority, allow_plaintext=True
        )
