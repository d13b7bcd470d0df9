"""`durable worker --health-port --metrics-port`: what is said, when, and what is not."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
from collections.abc import Iterator

import click
import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from durable_async.cli import probes
from durable_async.cli.exits import CliError
from durable_async.cli.options import Address
from durable_async.cli.probes import Probes
from durable_async.server.ephemeral import EphemeralServer, ephemeral_server

from ._support import PATIENCE, Process, Project, wait_until

PORTS = ("--health-port", "0", "--metrics-port", "localhost:0")


class Asked:
    """The ports of a worker, found in what it logs."""

    def __init__(self, process: Process) -> None:
        self._places = {
            what: process.wait_for(rf"{what} on http://\S+?:(\d+)/")[0][1] for what in ("health", "metrics")
        }

    def get(self, path: str, what: str = "health", method: str = "GET") -> tuple[int, str]:
        connection = http.client.HTTPConnection("localhost", int(self._places[what]), timeout=PATIENCE)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def until(self, status: int, words: str) -> None:
        wait_until(lambda: (said := self.get("/healthz"))[0] == status and words in said[1], f"{status} {words}")

    def samples(self) -> dict[tuple[str, str], float]:
        """Name and sorted label values; value."""
        status, text = self.get("/metrics", "metrics")
        assert status == 200, text
        return {
            (sample.name, " ".join(v for k, v in sorted(sample.labels.items()) if k != "le")): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@pytest.fixture
def server() -> Iterator[EphemeralServer]:
    """One that may be broken."""
    with ephemeral_server(tcp=True) as server:
        yield server


def test_healthy_while_it_fetches(project: Project) -> None:
    worker = project.spawn("worker", "shop:durable", *PORTS)
    asked = Asked(worker)
    worker.worker_pids()
    assert asked.get("/healthz") == asked.get("/readyz") == asked.get("/livez") == asked.get("/?x=1") == (200, "ok\n")
    assert asked.get("/healthz", method="HEAD") == (200, "")
    assert asked.get("/metrics")[0] == asked.get("/healthz", "metrics")[0] == asked.get("/../shop.py")[0] == 404
    assert asked.get("/healthz", method="POST")[0] == 501
    project.start("gated", '"slow"')
    project.has_begun("slow")
    assert asked.samples()["durable_worker_runs_active", ""] == 1
    worker.send(signal.SIGTERM)
    asked.until(503, "draining")
    assert asked.get("/livez") == (200, "ok\n"), "it leaves by itself"
    project.open("slow")
    assert worker.wait() == 0


def test_a_blocked_loop_is_no_dead_worker(project: Project) -> None:
    worker = project.spawn("worker", "shop:durable", *PORTS)
    asked = Asked(worker)
    worker.worker_pids()
    project.start("blocking", '"b"')
    project.has_begun("b")
    assert asked.get("/healthz") == (200, "ok\n")
    samples = asked.samples()
    assert samples["durable_worker_healthy", ""] == 1
    assert not [name for name, _ in samples if name == "durable_queue_lag"], "only the loop can ask the store"
    project.open("b")
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0


def test_the_store_is_away_or_refuses_writes(project: Project, server: EphemeralServer) -> None:
    """D30: the health endpoint is red while the server cannot write to its disk, though reads go on."""
    worker = project.spawn("worker", "shop:durable", *PORTS, "--lease", "2", "--url", server.url)
    asked = Asked(worker)
    worker.worker_pids()
    assert asked.get("/healthz") == (200, "ok\n")
    with redis.Redis.from_url(server.url) as raw:
        raw.config_set("save", "3600 1")
        in_the_way = server.directory / str(raw.config_get("dbfilename")["dbfilename"])  # type: ignore[index]
        in_the_way.mkdir()
        raw.bgsave()
        asked.until(503, "trouble with the store")
        assert asked.get("/livez")[0] == 200
        assert asked.samples()["durable_worker_healthy", ""] == 0
        in_the_way.rmdir()
        raw.config_set("save", "")
        asked.until(200, "ok")
    server.pause()
    asked.until(503, "")
    server.resume()
    asked.until(200, "ok")
    server.kill()
    asked.until(503, "trouble with the store")
    server.restart()
    asked.until(200, "ok")
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0


def test_numbers_and_no_payload(project: Project) -> None:
    """I18, C29: names that stand in the code, and numbers."""
    project.start("declined", '"secret-4711"', "--id", "id-4711")
    for n in range(3):
        project.start("double", str(n))
    worker = project.spawn("worker", "shop:durable", *PORTS, "-c", "7", "-q", "default", "-q", "side")
    asked = Asked(worker)
    worker.worker_pids()
    wait_until(lambda: asked.samples().get(("durable_runs_ended_total", "completed double")) == 3, "three have ended")
    wait_until(lambda: ("durable_runs_ended_total", "failed declined") in asked.samples(), "the fourth has")
    samples = asked.samples()
    assert samples["durable_step_duration_seconds_count", "failed decline"] == 1
    assert samples["durable_worker_concurrency", ""] == 7
    assert samples["durable_worker_healthy", ""] == 1
    assert samples["durable_worker_heartbeat_age_seconds", ""] < 15
    assert samples["durable_queue_lag", "default"] == samples["durable_queue_lag", "side"] == 0
    text = asked.get("/metrics", "metrics")[1]
    assert "4711" not in text and project.url not in text
    labels = set(re.findall(r'[{,](\w+)="', text))
    assert labels == {"workflow", "status", "step", "outcome", "queue", "le"}


@pytest.mark.slow
def test_several_processes_answer_as_one(project: Project) -> None:
    worker = project.spawn("worker", "shop:durable", *PORTS, "-w", "2")
    asked = Asked(worker)
    first, second = worker.worker_pids(2)
    asked.until(200, "ok")
    for n in range(4):
        project.start("double", str(n))

    def ended() -> float:
        return sum(v for (name, _), v in asked.samples().items() if name == "durable_runs_ended_total")

    wait_until(lambda: ended() == 4, "all have ended")
    assert {labels for name, labels in asked.samples() if name == "durable_worker_healthy"} == {"1", "2"}
    os.kill(second, signal.SIGSTOP)
    asked.until(503, "process 2: no answer")
    assert {labels for name, labels in asked.samples() if name == "durable_worker_healthy"} == {"1"}
    os.kill(second, signal.SIGCONT)
    asked.until(200, "ok")
    os.kill(first, signal.SIGKILL)
    worker.worker_pids(3)
    asked.until(200, "ok")
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0


def test_one_port_for_both(project: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for options in (["--health-port", str(port)], ["-w", "2", "--metrics-port", f"127.0.0.1:{port}"]):
            refused = project.run("worker", "shop:durable", *options)
            assert refused.code == 2
            assert refused.err.startswith(f"durable worker: cannot listen on 127.0.0.1:{port}: "), refused.err
    worker = project.spawn(
        "worker", "shop:durable",
        env={"DURABLE_HEALTH_PORT": str(port), "DURABLE_METRICS_PORT": f"127.0.0.1:{port}"},
    )  # fmt: skip
    asked = Asked(worker)
    worker.worker_pids()
    assert asked.get("/healthz")[0] == asked.get("/metrics")[0] == 200


@pytest.mark.parametrize("value", ["", "x", "65536", "-1", "1:2:x", ":80", "127.0.0.1:", "8_0", "\u0668"])
def test_no_port(value: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a port from 0 to 65535, or HOST:PORT"):
        Address().convert(value, None, None)


def test_ports() -> None:
    convert = Address().convert
    assert convert("80", None, None) == ("127.0.0.1", 80), "of this machine only"
    assert convert("[::1]:80", None, None) == convert("::1:80", None, None) == ("::1", 80)


def test_who_asks_slowly_or_too_often_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "PATIENCE_S", 0.3)
    with Probes(("127.0.0.1", 0), {"/": lambda: (200, "ok\n")}) as probe:
        host, port = probe.place.split(":")
        idle = [socket.create_connection((host, int(port))) for _ in range(probes.MOST_AT_ONCE + 5)]
        for each in idle:
            each.settimeout(PATIENCE)
        for each in idle:
            each.sendall(b"G") if each is idle[0] else None
        ends = [each.recv(100) for each in idle]
        assert ends == [b""] * len(idle)
        for each in idle:
            each.close()
        asked = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
        asked.request("GET", "/")
        assert asked.getresponse().read() == b"ok\n"
        asked.close()


def test_an_address_of_nobody() -> None:
    with pytest.raises(CliError, match=r"cannot listen on 192\.0\.2\.1:0"):
        Probes(("192.0.2.1", 0), {})
