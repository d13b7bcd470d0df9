"""`DURABLE_TEST_ACL=1`: what is tested connects as the user of docs/security.md, with that rule and no more."""

from __future__ import annotations

import os
import re
from pathlib import Path

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
    finally:
        admin.close()
    scheme, rest = url.split("://", 1)
    return f"{scheme}://{namespace}:{password.translate(ENCODED)}@{rest}"


ENCODED = str.maketrans({":": "%3A", "/": "%2F", "@": "%40", "#": "%23", "%": "%25"})


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
