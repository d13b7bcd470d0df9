"""`DURABLE_TEST_ACL=1`: what is tested connects as the user of docs/security.md, with that rule and no more."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Any

import redis

PAGE = Path(__file__).resolve().parents[2] / "docs" / "security.md"
IS_RESTRICTED = os.environ.get("DURABLE_TEST_ACL") == "1"
PASSWORD = "p:w/d@#%"


def acl_rules(namespace: str, password: str = PASSWORD) -> list[str]:
    """The words of the rule that the page shows, for this namespace."""
    found = re.search(r"```redis\nuser durable (?P<rules>.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None, "the page shows no rule"
    text = found["rules"].replace("NAMESPACE", namespace).replace("PASSWORD", password)
    return text.split()


def restricted(url: str, namespace: str, password: str = PASSWORD) -> str:
    """The URL of a user that is made for this namespace, of the same name."""
    admin = redis.Redis.from_url(url)
    try:
        admin.execute_command("ACL", "SETUSER", namespace, "reset", *acl_rules(namespace, password))
        # A server without a file of users forgets this one with its next restart.
        with contextlib.suppress(redis.ResponseError):
            admin.execute_command("ACL", "SAVE")
    finally:
        admin.close()
    scheme, rest = url.split("://", 1)
    return f"{scheme}://{namespace}:{password.translate(ENCODED)}@{rest}"


ENCODED = str.maketrans({":": "%3A", "/": "%2F", "@": "%40", "#": "%23", "%": "%25"})


def allowed(url: str | None, namespace: str) -> str | None:
    """A server's plain URL as that of the user of this namespace; another one, or that of no server, as it is."""
    if not IS_RESTRICTED or not isinstance(url, str) or "@" in url or not url.startswith(("redis://", "unix://")):
        return url
    try:
        return restricted(url, namespace)
    except (redis.RedisError, ValueError):
        return url


def everywhere() -> None:
    """From here on every client and worker that this process makes is such a user, whatever test makes it.

    The servers that it starts keep their users over a restart.
    """
    from durable_async.client.session import Session
    from durable_async.server.ephemeral import EphemeralServer

    connect, prepare = Session.__init__, EphemeralServer.__init__

    def as_user(self: Session, url: str | None, namespace: str) -> None:
        connect(self, allowed(url, namespace), namespace)

    def with_users(self: EphemeralServer, *args: Any, **options: Any) -> None:
        prepare(self, *args, **options)
        if not {"aclfile", "requirepass", "user"} & self._settings.keys():
            users = self.directory / "users.acl"
            users.touch()
            self._settings["aclfile"] = str(users)

    Session.__init__ = as_user  # type: ignore[method-assign]  # that is the point
    EphemeralServer.__init__ = with_users  # type: ignore[method-assign]  # too


def all_refusals(url: str) -> list[str]:
    """What the server refused any user since it was asked last."""
    admin = redis.Redis.from_url(url, decode_responses=True)
    try:
        names = {entry["username"] for entry in admin.execute_command("ACL", "LOG", "100")}
        found = [f"{what} of {name}" for name in sorted(names - {"default"}) for what in refusals(url, name)]
        admin.execute_command("ACL", "LOG", "RESET")
        return found
    finally:
        admin.close()


def refusals(url: str, namespace: str) -> list[str]:
    """What the server refused this user, and forgets with this call; the command and the key."""
    admin = redis.Redis.from_url(url, decode_responses=True)
    try:
        log = admin.execute_command("ACL", "LOG", "100")
        found = [f"{entry['object']} ({entry['reason']})" for entry in log if entry["username"] == namespace]
        # These are asked for, and done without: redis-py names itself, and INFO says enough.
        return [what for what in found if not what.startswith(("config|get", "client|setinfo"))]
    finally:
        admin.close()
