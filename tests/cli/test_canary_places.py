"""I18: what shows how a store and its workers are shows no secret: metrics, health, `top`, `doctor`, the dashboard.

Four kinds of secrets: values (inputs, outputs, contexts, events, questions, texts of exceptions), the password of the
store, the keys of payloads, the token of the dashboard. Values are shown on purpose in one place: the pages of a
dashboard with `--payloads`, to whoever has the token. The other three are shown to nobody, there neither.
"""

from __future__ import annotations

import base64
import os
import pty
import signal
import subprocess
import uuid
from dataclasses import dataclass, field

import httpx
import pytest
from semantics.restricted import restricted

from durable_async import Encrypted

from ._support import PATIENCE, Process, Project, wait_until
from .test_probes import PORTS, Asked

APP = """
import logging, os
from durable_async import Durable, Encrypted, put_context, step, wait_for_event, wait_for_input, workflow

logging.getLogger("durable_async").setLevel(logging.DEBUG)

@step
async def fails(secret: str) -> None:
    raise RuntimeError(secret, {secret: secret})

@workflow
async def unlucky(secret: str) -> None:
    await fails(secret)

@workflow
async def asks(secret: str) -> str:
    put_context("secret", {secret: secret})
    await wait_for_input("size", kind="choice", choices=["S", "M"], prompt=secret, metadata={"note": secret})
    return secret

@workflow
async def waits(secret: str) -> str:
    return secret + str(await wait_for_event("go"))

codec = Encrypted({"main": os.environ["CANARY_KEY"]})
durable = Durable(workflows=[unlucky, asks, waits], codec=codec)
stranger = Durable(workflows=[waits], codec=Encrypted({"main": Encrypted.new_key()}))
"""
PAGES = ("/", "/runs", "/runs?show=all", "/runs/bad", "/runs/asked", "/runs/blocked", "/inputs", "/login")


@dataclass
class Said:
    """What was said where, and what must not be in it."""

    value: str
    hidden: list[str]
    """Shown to nobody."""
    texts: list[tuple[str, str]] = field(default_factory=list)

    def add(self, where: str, text: str, *, has_values: bool = False) -> None:
        assert text, f"{where} says nothing: that proves nothing"
        self.texts.append((where, text.replace(self.value, "") if has_values else text))

    def page(self, where: str, answer: httpx.Response, *, has_values: bool = False) -> httpx.Response:
        heads = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
        self.add(f"{where} {answer.status_code}", f"{heads}\n\n{answer.text}", has_values=has_values)
        return answer

    def check(self) -> None:
        for where, text in self.texts:
            for secret in (self.value, *self.hidden):
                assert secret not in text, f"{where} holds a secret: {text}"


def until_blocked(project: Project) -> None:
    """A run that a worker with another key could not read."""
    stranger = project.spawn("worker", "app:stranger")
    stranger.worker_pids()
    wait_until(lambda: "data:" in project.run("get", "blocked").out, "a worker with another key has blocked it")
    stranger.send(signal.SIGTERM)
    assert stranger.wait() == 0


def screen_of(project: Project) -> str:
    """What `durable top` draws on a terminal until it is told to leave."""
    ours, theirs = pty.openpty()
    env = {**project.env, "TERM": "xterm", "COLUMNS": "200", "LINES": "60"}
    command = project.command("top", "--interval", "0.05", "--count", "3")
    top = subprocess.Popen(command, cwd=project.directory, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    drawn = b""
    try:
        while more := os.read(ours, 65_536):
            drawn += more
    except OSError:
        pass  # the terminal is gone with it
    finally:
        os.close(ours)
        assert top.wait(PATIENCE) == 0
    return drawn.decode(errors="replace")


def dashboard(project: Project, said: Said, token: str, *options: str) -> Process:
    """Every page, action and refusal of a dashboard."""
    shows = "--payloads" in options
    process = project.spawn("dashboard", "app:durable", "--port", "0", *options, env={"DURABLE_TOKEN": token})
    base = str(process.wait_for(r"the dashboard is on (http://\S+)")[0][1])
    html = {"accept": "text/html"}
    with httpx.Client(base_url=base, headers=html, timeout=PATIENCE) as stranger:
        for path in PAGES:
            said.page(f"{path} to strangers", stranger.get(path))
        origin = {"origin": base}
        for given in (token[:-1], token + "x"):
            refused = stranger.post("/login", json={"token": given}, headers=origin)
            assert said.page("a login that fails", refused).status_code == 401
            bearer = stranger.get("/runs", headers={"authorization": f"Bearer {given}", "accept": "*/*"})
            assert said.page("a bearer that is wrong", bearer).status_code == 401
        logged_in = said.page("a login", stranger.post("/login", json={"token": token}, headers=origin))
        assert logged_in.status_code == 200
        for path in PAGES:
            page = said.page(path, stranger.get(path), has_values=shows)
            assert page.status_code == 200, path
        assert (said.value in stranger.get("/runs/asked").text) is shows
        for path in ("/runs/nobody", "/runs?limit=x", "/runs?cursor=x", "/nowhere", "/static/x"):
            assert said.page(path, stranger.get(path)).status_code >= 400
        for action, body in (
            ("answer", {"id": "asked", "name": "size", "value": said.value}),
            ("retry", {"id": "waiting"}),
            ("bogus", {}),
            ("cancel", {"id": 7, "reason": said.value}),
        ):
            done = stranger.post(f"/actions/{action}", json=body, headers=origin)
            assert said.page(action, done).status_code >= 400, done.text
        said.page("a logout", stranger.post("/logout", json={}, headers=origin))
    return process


@pytest.mark.slow
def test_no_secret_is_shown(project: Project) -> None:
    value, key = f"S3CR3T-{uuid.uuid4()}", Encrypted.new_key()
    password, token = f"P4SSW0RD-{uuid.uuid4()}", f"T0K3N-{uuid.uuid4()}"
    project.env["DURABLE_URL"] = restricted(project.admin_url, project.env["DURABLE_NAMESPACE"], password)
    project.env["CANARY_KEY"] = key
    (project.directory / "app.py").write_text(APP)
    raw_key = base64.b64decode(key.replace("-", "+").replace("_", "/")).hex()
    said = Said(value, [password, token, key, raw_key])

    def start(workflow: str, id: str) -> None:
        done = project.run("start", "app:durable", workflow, f'"{value}"', "--id", id)
        assert done.code == 0, done.err

    start("waits", "blocked")
    until_blocked(project)
    worker = project.spawn("worker", "app:durable", "-q", "default", *PORTS)
    asked = Asked(worker)
    worker.worker_pids()
    for workflow, id in (("unlucky", "bad"), ("asks", "asked"), ("waits", "waiting")):
        start(workflow, id)
    wait_until(lambda: project.status("bad") == "failed", "a run fails")
    for id in ("asked", "waiting"):
        wait_until(lambda id=id: project.status(id) == "waiting", f"{id} waits")  # type: ignore[misc]
    wait_until(lambda: ("durable_runs_ended_total", "failed unlucky") in asked.samples(), "it was counted")
    said.add("/metrics", asked.get("/metrics", "metrics")[1])
    for path in ("/healthz", "/readyz", "/livez", f"/{value}"):
        said.add(path, asked.get(path)[1])

    said.add("top on a terminal", screen_of(project))
    for command in (("top",), ("top", "--json"), ("doctor",), ("doctor", "--json")):
        done = project.run(*command)
        assert done.code == 0, done.err
        said.add(" ".join(command), done.out + done.err)
    # Where it cannot be asked: the URL is shown, and a traceback would quote it.
    wrong = project.env["DURABLE_URL"].replace("P4SSW0RD", "xP4SSW0RD")
    for url in (wrong, f"redis://u:{password}@127.0.0.1:1/0"):
        for command in (("top", "--json"), ("doctor", "--json"), ("dashboard", "--port", "0")):
            done = project.run(*command, "--url", url, env={"PYTHONASYNCIODEBUG": "1", "DURABLE_TOKEN": token})
            assert done.code and "Traceback" not in done.err
            said.add(f"{command[0]} of {url}", done.out + done.err)
    boards = [dashboard(project, said, token, "--write"), dashboard(project, said, token, "--write", "--payloads")]
    for process in (*boards, worker):
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        said.add("a log", "\n".join(process.lines))
    said.check()
