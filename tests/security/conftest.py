"""Servers of each kind that is there, with a password, and certificates made for the test."""

from __future__ import annotations

import datetime as dt
import ipaddress
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from durable_async.server.ephemeral import EphemeralServer, ephemeral_server

BINARIES = {"default": None, "redis": shutil.which("redis-server")}


@pytest.fixture(params=[name for name, binary in BINARIES.items() if name == "default" or binary])
def any_server(request: pytest.FixtureRequest) -> Iterator[EphemeralServer]:
    """A server of each program there is, of this test alone: users and settings are changed on it."""
    with ephemeral_server(BINARIES[request.param], extra_config={"acllog-max-len": 1000}) as server:
        yield server


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A folder with `cert.pem` and `key.pem` for localhost, and `other.pem`, which nobody uses."""
    for cert, key in (("cert.pem", "key.pem"), ("other.pem", "other_key.pem")):
        private = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        now = dt.datetime.now(dt.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
                ),
                critical=False,
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(private, hashes.SHA256())
        )
        (tmp_path / cert).write_bytes(made.public_bytes(serialization.Encoding.PEM))
        (tmp_path / key).write_bytes(
            private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    return tmp_path
