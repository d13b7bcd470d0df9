"""URLs, what connections are made of, and which servers are refused."""

from __future__ import annotations

import asyncio
import logging
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis.exceptions

from durable_async.errors import ConfigurationError, IncompatibleServer, StoreUnavailable
from durable_async.store.connect import ConnectionSpec, check_server, mask_url, parse_url
from durable_async.store.transport import MuxTransport

pytestmark = pytest.mark.anyio

HARD_PASSWORD = "S3CR3T@:/#%?&=[] é"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost", {"host": "localhost", "port": 6379, "db": 0, "password": None}),
        ("redis://", {"host": "localhost", "port": 6379}),
        ("REDIS://h:7000/3", {"scheme": "redis", "host": "h", "port": 7000, "db": 3}),
        ("redis://h?db=4", {"db": 4}),
        ("redis://h/4?db=4", {"db": 4}),
        ("rediss://u:p@h:7000/3", {"is_tls": True, "username": "u", "password": "p"}),
        ("redis://:p@h", {"username": None, "password": "p"}),
        ("redis://u:@h", {"username": "u", "password": None}),
        ("redis://[::1]:7000/1", {"host": "::1", "port": 7000, "db": 1, "location": "[::1]:7000"}),
        ("redis://[::1]", {"host": "::1", "port": 6379}),
        ("redis://[fe80::1%25eth0]", {"host": "fe80::1%eth0"}),
        (f"redis://u:{quote(HARD_PASSWORD, safe='')}@h", {"password": HARD_PASSWORD}),
        ("unix:///run/r.sock", {"path": "/run/r.sock", "db": 0, "location": "/run/r.sock"}),
        ("unix://u:p@/run/r%20r.sock?db=2", {"path": "/run/r r.sock", "db": 2, "password": "p"}),
        (
            "redis+sentinel://:p@a:1,b,[::1]:3/main/5",
            {"sentinels": (("a", 1), ("b", 26379), ("::1", 3)), "service": "main", "db": 5, "password": "p"},
        ),
        ("rediss+sentinel://a/main?sentinel_password=x", {"is_tls": True, "options": {"sentinel_password": "x"}}),
    ],
)
def test_urls(url: str, expected: dict[str, Any]) -> None:
    parsed = parse_url(url)
    assert {name: getattr(parsed, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "no scheme"),
        ("localhost:6379", "no scheme"),
        ("user:S3CR3T@localhost", "no scheme"),
        ("http://h", "unknown"),
        ("valkeys://u:S3CR3T@h", "unknown"),
        ("redis+cluster://u:S3CR3T@h", "cluster support is not available yet"),
        ("rediss+cluster://h", "cluster support is not available yet"),
        ("redis://h/x", "database"),
        ("redis://h/-1", "database"),
        ("redis://h/1/2", "database"),
        ("redis://h/\N{ARABIC-INDIC DIGIT ONE}", "database"),
        ("redis://h/1?db=2", "two databases"),
        ("redis://h:port", "port"),
        ("redis://h:0", "port"),
        ("redis://h:65536", "port"),
        ("redis://::1", "IPv6"),
        ("redis://[::1", "IPv6"),
        ("redis://h h", "malformed"),
        ("redis://a,b", "several hosts"),
        ("redis://user@h", "without a password"),
        ("redis://u:S3CR3T@x@h", "percent-encode"),
        ("redis://u:S3CR3T:x@h", "percent-encode"),
        ("redis://u:S3CR3T/x@h", "percent-encode"),
        ("redis://u:S3CR3T#x@h", "percent-encode"),
        ("redis://u:S3CR3T%x@h", "%25"),
        ("redis://u:S3CR3T%ff@h", "UTF-8"),
        ("redis://h?unknown=1", "unknown"),
        ("redis://h?db", "malformed"),
        ("redis://h?db=1&db=2", "twice"),
        ("rediss://u:S3CR3T@h?ssl_ca_certs=/missing.pem", "not a file"),
        ("rediss://h?ssl_cert_reqs=maybe", "ssl_cert_reqs"),
        ("rediss://h?ssl_check_hostname=1", "ssl_check_hostname"),
        ("unix://relative/path", "absolute path"),
        ("unix://", "absolute path"),
        ("redis+sentinel://h:1", "service"),
        ("redis+sentinel://u:S3CR3T@h:x/main", "port"),
        ("redis+sentinel://h/main?sentinel_password=S3CR3T&x=1", "unknown"),
    ],
)
def test_bad_urls_are_refused_without_their_password(url: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why) as caught:
        parse_url(url)
    assert "S3CR3T" not in str(caught.value)


@pytest.mark.parametrize("url", [None, 3, b"redis://h"])
def test_a_url_is_text(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="must be a str"):
        parse_url(url)


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("redis://h/0", "redis://h/0"),
        ("redis://u:S3CR3T@h", "redis://u:***@h"),
        ("redis://:S3CR3T@h", "redis://:***@h"),
        ("redis://S3CR3T@h", "redis://***@h"),
        ("redis://u:S3@CR/3T@h", "redis://u:***@h"),
        ("u:S3CR3T@h", "u:***@h"),
        ("redis://h?password=S3CR3T&db=1", "redis://h?password=***&db=1"),
        ("redis+sentinel://a,b/m?sentinel_password=S3CR3T", "redis+sentinel://a,b/m?sentinel_password=***"),
        ("nonsense", "nonsense"),
    ],
)
def test_masking(url: str, masked: str) -> None:
    assert mask_url(url) == masked
    assert mask_url(masked) == masked


def test_a_password_is_in_no_repr() -> None:
    spec = ConnectionSpec.from_url(f"redis+sentinel://u:S3CR3T@h/m?sentinel_password={quote('S3CR3T')}")
    assert "S3CR3T" not in repr(spec) + str(spec) + repr(spec.url) + str(spec.url) + f"{spec.url}" + spec.url.location


async def test_wrong_credentials_and_database(server: Any) -> None:
    server.admin("ACL", "SETUSER", "bob", "on", ">right", "~*", "+@all")
    base = f"unix://bob:S3CR3T@{server.path}"
    for url, why in ((base, "refused the user name or password"), (f"unix://{server.path}?db=99", "no database 99")):
        with pytest.raises(ConfigurationError, match=why) as caught:
            await MuxTransport(ConnectionSpec.from_url(url)).open(wait_s=60)
        assert "S3CR3T" not in str(caught.value)


async def test_hard_passwords_work(server: Any, kind: Any, opener: Any) -> None:
    server.admin("ACL", "SETUSER", "bob", "on", f">{HARD_PASSWORD}", "~*", "+@all")
    transport = await opener(kind, f"unix://bob:{quote(HARD_PASSWORD, safe='')}@{server.path}?db=3")
    assert await transport.call("ACL", "WHOAMI") == b"bob"
    assert b" db=3 " in await transport.call("CLIENT", "INFO")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00\x01\x02"])
async def test_a_server_that_is_not_redis(kind: Any, answer: bytes, fake_server: Any) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        await reader.read(100)

    port = await fake_server(serve)
    with pytest.raises(ConfigurationError, match="not a Redis or Valkey server"):
        await kind(ConnectionSpec.from_url(f"redis://127.0.0.1:{port}")).open(wait_s=60)


async def test_a_server_that_says_nothing(kind: Any, fake_server: Any) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    port = await fake_server(serve)
    spec = ConnectionSpec.from_url(f"redis://127.0.0.1:{port}", connect_timeout_s=0.1)
    with pytest.raises(StoreUnavailable, match="cannot connect"):
        await kind(spec, reply_timeout_s=0.1).open()


def test_the_blocking_client(server: Any) -> None:
    client = ConnectionSpec.from_url(server.url).sync_client("heartbeat", timeout_s=0.2)
    try:
        assert client.ping() is True
        assert b"name=durable:heartbeat " in server.admin("CLIENT", "LIST")
        client.set("n", 0)
        with pytest.raises(redis.exceptions.TimeoutError):
            client.eval("redis.call('INCR', 'n') while redis.call('INCR', 'm') < 2000000 do end", 0)
        # A slow machine is busy with it for so long that others are told so.
        while not isinstance(found := server.admin("GET", "n"), bytes):
            pass
        assert int(found) == 1, "nothing is sent twice"
    finally:
        client.close()


@pytest.fixture
async def check(server: Any, opener: Any) -> Any:
    async def run(**options: Any) -> Any:
        return await check_server(await opener(MuxTransport, server.url), **options)

    return run


async def test_versions(any_server: Any, opener: Any) -> None:
    info = await check_server(await opener(MuxTransport, any_server.url))
    text = any_server.admin("INFO", "server").decode()
    assert info.name == ("valkey" if "valkey_version" in text else "redis")
    assert ".".join(map(str, info.version)) in text
    assert info.version >= (7, 0)


class Claims:
    """A transport that claims to be another server."""

    def __init__(self, info: str, config: Any = None) -> None:
        self.info = info
        self.config = config

    async def call(self, *args: Any) -> Any:
        return self.info.encode() if args[0] == "INFO" else self.config


@pytest.mark.parametrize(
    ("info", "error", "why"),
    [
        ("redis_version:6.2.14", IncompatibleServer, "Redis 6.2.14.*is needed"),
        ("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:7.1.9", IncompatibleServer, "Valkey 7.1.9"),
        ("redis_version:odd", IncompatibleServer, "does not tell its version"),
        ("", IncompatibleServer, "does not tell its version"),
        ("redis_version:7.4.0\r\nredis_mode:sentinel", ConfigurationError, "a Sentinel"),
        ("redis_version:7.4.0\r\ncluster_enabled:1", IncompatibleServer, "cluster support is not available yet"),
        ("redis_version:7.4.0\r\nrole:slave", IncompatibleServer, "a replica"),
        ("redis_version:7.4.0\r\nmaxmemory_policy:allkeys-lru", IncompatibleServer, "allkeys-lru.*noeviction"),
    ],
)
async def test_servers_that_are_refused(info: str, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        await check_server(Claims(info))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("info", "config", "sentence", "warnings"),
    [
        ("maxmemory_policy:noeviction\r\naof_enabled:1", None, "unknown", 0),
        ("maxmemory_policy:noeviction\r\naof_enabled:0", None, "no append-only file", 1),
        ("maxmemory_policy:noeviction", None, "hides its configuration", 1),
        ("aof_enabled:1", None, "unknown", 1),
    ],
)
async def test_a_managed_server_that_hides_its_settings(info: str, config: Any, sentence: str, warnings: int) -> None:
    found = await check_server(Claims(f"redis_version:8.0.1-managed\r\n{info}", config))  # type: ignore[arg-type]
    assert found.version == (8, 0, 1)
    assert sentence in found.persistence
    assert len(found.warnings) == warnings


async def test_persistence_in_plain_words(server: Any, check: Any) -> None:
    cases = (
        ({"appendonly": "yes", "appendfsync": "always"}, "loses nothing", True),
        ({"appendfsync": "everysec"}, "up to about 1 s", True),
        ({"appendfsync": "no"}, "about 30 s", False),
        ({"appendonly": "no", "save": "60 1"}, "Only snapshots", False),
        ({"save": ""}, "Nothing is kept", False),
    )
    for settings, sentence, is_kept in cases:
        for name, value in settings.items():
            server.admin("CONFIG", "SET", name, value)
        info = await check()
        assert sentence in info.persistence
        assert len(info.warnings) == (0 if is_kept else 1)
        assert (await check(durability_check="off")).warnings == ()
        if is_kept:
            await check(durability_check="require")
        else:
            with pytest.raises(ConfigurationError, match="durability is required"):
                await check(durability_check="require")


async def test_what_could_not_be_written_in_plain_words(server: Any, check: Any) -> None:
    # No file can take the place of a directory.
    (Path(server.folder) / "dump.rdb").mkdir()
    server.admin("BGSAVE")
    async with asyncio.timeout(20):
        while b"rdb_last_bgsave_status:err" not in server.admin("INFO", "persistence"):
            await asyncio.sleep(0.01)
    found = await check()
    assert any(text.startswith("The last snapshot failed") for text in found.warnings), found
    assert (await check(durability_check="off")).warnings == ()
    states = {"aof_last_write_status": "append-only file failed", "aof_last_bgrewrite_status": "rewrite of the append"}
    for name, said in states.items():
        for state in ("ok", "err"):
            info = f"redis_version:7.2.0\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n{name}:{state}"
            told = (await check_server(Claims(info))).warnings  # type: ignore[arg-type]
            assert [said in text for text in told] == [True] * (state == "err")


@pytest.mark.parametrize(
    ("version", "settings", "is_told"),
    [
        ("redis_version:8.2.3", "yes", True),
        ("redis_version:8.2.3", "no", False),
        ("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.1", "yes", True),
        ("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2", "yes", False),
    ],
)
async def test_half_a_transaction_is_told_of(version: str, settings: str, is_told: bool) -> None:
    config = [b"appendonly", b"yes", b"appendfsync", b"always", b"aof-load-truncated", settings.encode()]
    found = await check_server(Claims(f"{version}\r\nmaxmemory_policy:noeviction", config))  # type: ignore[arg-type]
    assert ["aof-load-truncated no" in text for text in found.notes] == [True] * is_told
    assert found.warnings == (), "workers do not repeat it at each start"


async def test_eviction(server: Any, check: Any) -> None:
    server.admin("CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
    with pytest.raises(IncompatibleServer, match="volatile-ttl"):
        await check()
    info = await check(allow_eviction=True, durability_check="off")
    assert "volatile-ttl" in info.warnings[0]


async def test_a_replica_and_a_cluster_node(
    server: Any, check: Any, make_server: Any, opener: Any, unused_port: int
) -> None:
    server.admin("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(IncompatibleServer, match="a replica"):
        await check()
    node = make_server("--cluster-enabled", "yes", "--cluster-port", str(unused_port), tcp=True)
    with pytest.raises(IncompatibleServer, match="cluster support is not available yet"):
        await check_server(await opener(MuxTransport, node.url))


async def test_missing_rights(server: Any, opener: Any) -> None:
    server.admin("ACL", "SETUSER", "bob", "on", ">pw", "~*", "+@all", "-config")
    url = f"unix://bob:pw@{server.path}"
    assert (await check_server(await opener(MuxTransport, url))).name in {"redis", "valkey"}
    server.admin("ACL", "SETUSER", "bob", "-info")
    with pytest.raises(ConfigurationError, match=r"INFO.*NOPERM"):
        await check_server(await opener(MuxTransport, url))


async def test_a_loading_server_is_waited_for(server: Any, opener: Any) -> None:
    for part in range(10):
        server.admin("EVAL", "for i = 1, 1000 do redis.call('SET', KEYS[1] .. i, i) end", 1, f"k{part}:")
    server.admin("SAVE")
    server.kill()
    server.command += ["--key-load-delay", "50", "--loading-process-events-interval-bytes", "1024"]
    server.start()
    transport = await opener(MuxTransport, server.url)
    with pytest.raises(StoreUnavailable, match="loading"):
        await check_server(transport, wait_s=0)
    await check_server(transport)
    assert await transport.call("DBSIZE") == 10_000


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files]
    subprocess.run(command, check=True, capture_output=True)
    return tmp_path


async def test_tls(kind: Any, make_server: Any, certificates: Path, opener: Any, unused_port: int) -> None:
    redis_server = shutil.which("redis-server")
    if redis_server is None:
        pytest.skip("no server with TLS")
    cert, key = str(certificates / "cert.pem"), str(certificates / "key.pem")
    options = ("--tls-port", str(unused_port), "--tls-cert-file", cert, "--tls-key-file", key)
    make_server(*options, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no", binary=redis_server)
    where = f"127.0.0.1:{unused_port}"
    transport = await opener(kind, f"rediss://{where}?ssl_ca_certs={cert}")
    blob = b"x" * 3_000_000
    calls = [transport.call("ECHO", blob), *(transport.call("ECHO", f"{n}") for n in range(200))]
    assert await asyncio.gather(*calls) == [blob, *(f"{n}".encode() for n in range(200))]
    with pytest.raises(ConfigurationError, match=r"certificate.*not trusted.*ssl_ca_certs"):
        await kind(ConnectionSpec.from_url(f"rediss://{where}")).open(wait_s=60)
    with pytest.raises(StoreUnavailable):
        await kind(ConnectionSpec.from_url(f"redis://{where}")).open()


@pytest.mark.slow
async def test_sentinel_finds_the_primary_again(
    kind: Any, make_server: Any, opener: Any, eventual: Any, tmp_path: Path, unused_port: int, caplog: Any
) -> None:
    caplog.set_level(logging.ERROR)
    first, second = make_server(tcp=True), make_server(tcp=True)
    second.admin("REPLICAOF", "127.0.0.1", str(first.port))
    await eventual(lambda: b"master_link_status:up" in second.admin("INFO", "replication"), "replicating")
    settings = tmp_path / "sentinel.conf"
    settings.write_text(
        f"port {unused_port}\nbind 127.0.0.1\ndir {tmp_path}\nsentinel monitor main 127.0.0.1 {first.port} 1\n"
        "sentinel down-after-milliseconds main 200\nsentinel failover-timeout main 1000\n"
    )
    sentinel = await asyncio.create_subprocess_exec(
        first.command[0], str(settings), "--sentinel", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        url = f"redis+sentinel://127.0.0.1:{unused_port}/main"
        transport = await opener(kind, url)
        assert await transport.call("SET", "k", "x") == b"OK"
        assert f":{first.port}".encode() in await transport.call("CLIENT", "INFO")
        with pytest.raises(StoreUnavailable, match="primary of 'other'"):
            await kind(ConnectionSpec.from_url(url.replace("main", "other"))).open()
        client = ConnectionSpec.from_url(url).sync_client("heartbeat")
        assert client.get("k") == b"x"
        client.close()
        first.kill()
        await eventual(lambda: b"role:master" in second.ask("INFO", "replication"), "promoted")
        with pytest.raises(StoreUnavailable):
            await transport.call("PING")
        await eventual(lambda: transport.is_connected, "reconnected")
        assert await transport.call("SET", "k", "y") == b"OK"
        assert second.ask("GET", "k") == b"y"
    finally:
        sentinel.kill()
        await sentinel.wait()
