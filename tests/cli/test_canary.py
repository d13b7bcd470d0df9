"""I18: secrets of four kinds (values, exceptions, the store's password, the keys of payloads) are in no line of output.

A worker process at DEBUG level, in each log format, with failing steps, failing runs, values that cannot be stored, a
run that is blocked, and a store that goes away.
"""

from __future__ import annotations

import base64
import signal
import uuid

import pytest
from semantics.restricted import restricted

from durable_async import Encrypted

from ._support import Project, wait_until

APP = """
import logging, os
from durable_async import Durable, Encrypted, Retry, call_workflow, put_context, step, wait_for_event, workflow

logging.getLogger("durable_async").setLevel(logging.DEBUG)
logging.getLogger("redis").setLevel(logging.DEBUG)

@step(retry=Retry(max_attempts=2, initial=0.01))
async def fails(secret: str) -> None:
    raise RuntimeError(secret, {secret: secret})

@step
async def returns_rubbish(secret: str) -> object:
    return {secret: object()}

@workflow
async def unlucky(secret: str) -> None:
    put_context("secret", {secret: secret})
    try:
        await returns_rubbish(secret)
    except Exception:
        pass
    await fails(secret)

@workflow
async def parent(secret: str) -> str:
    try:
        await call_workflow(unlucky, secret)
    except Exception:
        pass
    return str(await wait_for_event("go")) + secret

@workflow
async def wrong_type(n: int) -> int:
    return n

codec = Encrypted({"main": os.environ["CANARY_KEY"]})
durable = Durable(workflows=[unlucky, parent, wrong_type], codec=codec)
stranger = Durable(workflows=[parent], codec=Encrypted({"main": Encrypted.new_key()}))
"""


SLOW = pytest.mark.slow


@pytest.mark.parametrize("log_format", ["json", pytest.param("plain", marks=SLOW), pytest.param("rich", marks=SLOW)])
def test_no_secret_is_said(project: Project, log_format: str) -> None:
    secret, key = f"S3CR3T-{uuid.uuid4()}", Encrypted.new_key()
    namespace = project.env["DURABLE_NAMESPACE"]
    password = f"P4SSW0RD-{uuid.uuid4()}"
    project.env["DURABLE_URL"] = restricted(project.admin_url, namespace, password)
    project.env["CANARY_KEY"] = key
    (project.directory / "app.py").write_text(APP)
    said: list[str] = []

    def run(*arguments: str) -> str:
        done = project.run(*arguments)
        said.extend((done.out, done.err))
        return done.out

    stranger = project.spawn("worker", "app:stranger", "--log-format", log_format)
    stranger.wait_for("ready")
    run("start", "app:durable", "parent", f'"{secret}"', "--id", "r")
    wait_until(lambda: "data:" in run("get", "r"), "a worker with another key has blocked the run")
    stranger.send(signal.SIGTERM)
    stranger.wait()
    worker = project.spawn("worker", "app:durable", "--log-format", log_format)
    worker.wait_for("ready")
    run("start", "app:durable", "wrong_type", f'"{secret}"')
    wait_until(lambda: "event go" in run("get", "r"), "the parent waits for its event")
    for command in ("get", "tree", "history"):
        run(command, "r")
        run(command, "r/unlucky", "--json")
    run("list", "--json")
    run("send", "r", "go", f'"{secret}"')
    # A password that is wrong, a server that is not there, a scheme that does not exist.
    for url in (f"redis://u:{password}x@127.0.0.1:1/0", f"bogus://u:{password}@h", project.env["DURABLE_URL"] + "x"):
        run("list", "--url", url)
    run("start", "app:durable", "unlucky", f'"{secret}"', "--id", "u", "--wait", "--json")
    run("cancel", "r", "--reason", "enough")
    worker.send(signal.SIGTERM)
    worker.wait()
    logged = "\n".join([*stranger.lines, *worker.lines])
    assert "blocked" in logged
    # `start --wait` shows the caller's own error: it has the keys.
    own = [text for text in said if "ended failed" in text or '"id":"u"' in text]
    assert own
    for text in [logged, *(text for text in said if text not in own)]:
        assert secret not in text, text
    for text in [logged, *said]:
        for hidden in (password, key, base64.b64decode(key.replace("-", "+").replace("_", "/")).hex()):
            assert hidden not in text, text
