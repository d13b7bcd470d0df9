"""A server for all tests of the command line, and a project directory for each."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from semantics.restricted import allowed

from durable_async.server.ephemeral import EphemeralServer, ephemeral_server

from ._support import Project

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def cli_server() -> Iterator[EphemeralServer]:
    with ephemeral_server(tcp=True) as server:
        yield server


@pytest.fixture
def project(tmp_path: Path, cli_server: EphemeralServer) -> Iterator[Project]:
    namespace = f"cli{os.getpid()}-{next(_numbers)}"
    url = allowed(cli_server.url, namespace) or ""
    made = Project(tmp_path, url, namespace, admin_url=cli_server.url)
    yield made
    made.close()
