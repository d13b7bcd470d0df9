"""Where the server is: store URLs, parsed strictly and never shown with their password.

    redis://[[user]:password@]host[:port][/db]            rediss:// the same with TLS
    unix://[[user]:password@]/path/to/socket[?db=0]
    redis+sentinel://[[user]:password@]host[:port],host[:port]/service[/db]    rediss+sentinel:// with TLS

User names and passwords are percent-decoded; a password with ``@ : / # %`` must be encoded (``urllib.parse.quote``).
Parsing is our own because redis-py ignores what it does not understand, and several hosts are not a URL to urllib.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NoReturn
from urllib.parse import parse_qsl, unquote_to_bytes

from durable_async.errors import ConfigurationError

Address = tuple[str, int]

SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
_CLUSTER: Final = ("redis+cluster", "rediss+cluster")
_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_OPTIONS: Final = ("db", *_FILES, "ssl_cert_reqs", "ssl_check_hostname", "sentinel_username", "sentinel_password")
_CERT_REQS: Final = ("required", "optional", "none")
_HIDDEN: Final = "***"
_SHAPE: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*)://(?P<rest>.*)\Z", re.DOTALL)
_PASSWORD_OPTION: Final = re.compile(r"(?i)((?:sentinel_)?password=)[^&#]*")


def mask_url(url: str) -> str:
    """`url` with every password replaced by ``***``, for messages; works on malformed URLs as well.

    Everything between ``://`` and the last ``@`` counts as credentials, so an unencoded ``@`` or ``/`` in a password
    does not leak its tail.
    """
    url = _PASSWORD_OPTION.sub(r"\1" + _HIDDEN, url)
    scheme, separator, rest = url.partition("://")
    if not separator:
        # No scheme, yet there may be a password: "user:secret@host".
        scheme, rest = "", url
    credentials, at, tail = rest.rpartition("@")
    if not at:
        return url
    user, colon, _ = credentials.partition(":")
    shown = f"{user}:{_HIDDEN}" if colon else _HIDDEN
    return f"{scheme}{separator}{shown}@{tail}"


@dataclass(frozen=True, slots=True, repr=False)
class StoreUrl:
    """A parsed URL. Its ``repr`` and ``str`` are the masked URL."""

    scheme: str
    host: str = ""
    port: int = _PORT
    path: str = ""
    """The unix socket."""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinels: tuple[Address, ...] = ()
    service: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    """The other query parameters: TLS files and Sentinel's own credentials."""
    masked: str = ""

    @property
    def is_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme.startswith("rediss")

    @property
    def location(self) -> str:
        """Where it is, in words, without credentials."""
        if self.path:
            return self.path
        if self.sentinels:
            return f"the primary of {self.service!r} known to {', '.join(_joined(each) for each in self.sentinels)}"
        return _joined((self.host, self.port))

    def __repr__(self) -> str:
        return f"StoreUrl({self.masked!r})"

    __str__ = __repr__


def _joined(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_url(url: str) -> StoreUrl:
    """Parse and check a store URL.

    Raises:
        ConfigurationError: if it is not a URL we know, a part is malformed, an option is unknown, or a certificate file
            is missing. The message holds the masked URL.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"the store URL must be a str, not {type(url).__name__}")
    masked = mask_url(url)
    match = _SHAPE.match(url)
    if match is None:
        _bad(masked, f"it has no scheme; use one of {_schemes()}")
    scheme = match["scheme"].lower()
    if scheme in _CLUSTER:
        _bad(masked, "cluster support is not available yet in this version: use a single server or Sentinel")
    if scheme not in SCHEMES:
        _bad(masked, f"the scheme {scheme!r} is unknown; use one of {_schemes()}")
    rest, _, query = match["rest"].partition("?")
    if "#" in rest or "#" in query:
        _bad(masked, "it holds '#': percent-encode it as %23")
    options = _options(query, masked)
    credentials, _, place = rest.rpartition("@")
    if "/" in credentials and scheme != "unix":
        _bad(masked, "the password holds '/': percent-encode it as %2F")
    username, password = _credentials(credentials, masked)
    common = {"scheme": scheme, "username": username, "password": password, "masked": masked}
    db_option = options.pop("db", None)
    if scheme == "unix":
        if not place.startswith("/") or "\0" in place:
            _bad(masked, "unix:// needs an absolute path: unix:///run/redis.sock")
        path = _decoded(place, masked)
        return StoreUrl(path=path, db=_db(db_option, masked), options=options, **common)  # type: ignore[arg-type]
    hosts, _, tail = place.partition("/")
    if scheme.endswith("+sentinel"):
        service, _, db_text = tail.partition("/")
        if not service:
            _bad(masked, "redis+sentinel:// needs the service name: redis+sentinel://host:26379/mymaster/0")
        sentinels = tuple(_address(each, _SENTINEL_PORT, masked) for each in hosts.split(","))
        db = _db(_one_of(db_text, db_option, masked), masked)
        service = _decoded(service, masked)
        return StoreUrl(sentinels=sentinels, service=service, db=db, options=options, **common)  # type: ignore[arg-type]
    if "," in hosts:
        _bad(masked, "it names several hosts: use redis+sentinel:// for those")
    host, port = _address(hosts, _PORT, masked)
    db = _db(_one_of(tail, db_option, masked), masked)
    return StoreUrl(host=host, port=port, db=db, options=options, **common)  # type: ignore[arg-type]


def _bad(masked: str, why: str) -> NoReturn:
    raise ConfigurationError(f"the store URL {masked!r} cannot be used: {why}")


def _schemes() -> str:
    return " ".join(f"{scheme}://" for scheme in SCHEMES)


def _decoded(text: str, masked: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        _bad(masked, "a '%' is not followed by two hex digits: encode it as %25")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeError:
        _bad(masked, "it is not UTF-8 once decoded")


def _credentials(text: str, masked: str) -> tuple[str | None, str | None]:
    if not text:
        return None, None
    user, colon, password = text.partition(":")
    if not colon:
        _bad(masked, "there is a user name without a password; use user:password@ or :password@")
    if ":" in password or "@" in password:
        _bad(masked, "the password holds '@' or ':': percent-encode them as %40 and %3A")
    return _decoded(user, masked) or None, _decoded(password, masked) or None


def _address(text: str, default_port: int, masked: str) -> Address:
    match = re.fullmatch(
        r"(?:\[(?P<v6>[0-9A-Fa-f:.]+(?:%25[^\]]+)?)\]|(?P<name>[^\[\]:/\s]*))(?::(?P<port>[^:]*))?", text
    )
    if match is None:
        _bad(masked, "the host is malformed; an IPv6 address is written [::1]:6379")
    host = _decoded(match["v6"] or match["name"], masked) or "localhost"
    port_text = match["port"]
    if not port_text:
        return host, default_port
    if not (port_text.isascii() and port_text.isdigit() and 1 <= int(port_text) <= 65535):
        _bad(masked, f"the port must be a number from 1 to 65535, not {port_text!r}")
    return host, int(port_text)


def _one_of(in_path: str, in_query: str | None, masked: str) -> str | None:
    if in_path and in_query is not None and in_path != in_query:
        _bad(masked, "it names two databases")
    return in_path or in_query


def _db(text: str | None, masked: str) -> int:
    if text is None or text == "":
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        _bad(masked, f"the database must be a number, not {text!r}")
    return int(text)


def _options(query: str, masked: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), errors="strict")
    except ValueError:
        _bad(masked, "the part after '?' is malformed; write option=value&option=value")
    options: dict[str, str] = {}
    for name, value in pairs:
        if name not in _OPTIONS:
            _bad(masked, f"the option {name!r} is unknown; known are {', '.join(_OPTIONS)}")
        if name in options:
            _bad(masked, f"the option {name!r} is given twice")
        if name in _FILES and not os.path.isfile(value):
            _bad(masked, f"{name} names {value!r}, which is not a file")
        if name == "ssl_cert_reqs" and value not in _CERT_REQS:
            _bad(masked, f"ssl_cert_reqs must be one of {', '.join(_CERT_REQS)}")
        if name == "ssl_check_hostname" and value not in ("true", "false"):
            _bad(masked, "ssl_check_hostname must be true or false")
        options[name] = value
    return options
