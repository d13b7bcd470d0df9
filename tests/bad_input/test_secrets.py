"""What users store or type is in no log line and no repr, at DEBUG level either."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Iterator
from typing import Any

from durable_async import Durable
from durable_async.codec.lines import pack_line
from durable_async.engine.records import record

from . import flows
from .bench import Bench

SECRET = f"S3CR3T-{uuid.uuid4()}"


class SecretError(Exception):
    pass


def said(bench: Bench) -> Iterator[str]:
    formatter = logging.Formatter("%(name)s %(message)s %(exc_text)s")
    for entry in bench.caplog.records:
        yield formatter.format(entry)
        yield repr(entry.args)


async def test_no_payload_is_logged(bench: Bench) -> None:
    def fail() -> Exception:
        return SecretError(SECRET, {SECRET: SECRET})

    flows.MADE.update(secret=lambda: SECRET, fail=fail, unstorable=lambda: {SECRET: object()})
    forged = [
        b"S" + SECRET.encode(), b"R" + SECRET.encode(), b"M1 1 " + SECRET.encode(), SECRET.encode(),
        record("context", 1_700_000_000_000, "context:k#1", "k", SECRET.encode()),
        record("step", 1_700_000_000_000, "step:x#1", 1, 1, 1, SECRET.encode()),
        b"R" + pack_line(["tick", SECRET, ""]), b"Z1 completed\n" + SECRET.encode(),
        b"M1 1700000000000 E" + pack_line(["go", b"\xc1" + SECRET.encode()]),
    ]  # fmt: skip
    for n, line in enumerate(forged):
        bench.forge(f"f{n}", [line])
    bench.forge("published", [forged[4]], workflow="publishes")
    bench.server.lset(bench.keys.journal("published"), 0, b"S\x05")
    bench.forge("field", attempt=SECRET)
    bench.server.hset(bench.keys.walks, SECRET, SECRET)
    bench.server.hset(bench.keys.walks, "x" + "r", SECRET)
    bench.server.xadd(bench.keys.queue("default"), {SECRET: SECRET})
    shown: list[Any] = []
    async with bench.worker(max_resident=0) as worker:
        handles = [
            await bench.durable.start(flows.echo, {"key": SECRET}),
            await bench.durable.start(flows.raises, "fail"),
            await bench.durable.start(flows.runs_step, ["fails", "fail"]),
            await bench.durable.start(flows.runs_step, ["makes", "unstorable"]),
            await bench.durable.start(flows.runs_step, ["thread", "secret"]),
            await bench.durable.start(flows.takes_any, SECRET),
        ]
        waiting = await bench.durable.start(flows.waits)
        await waiting.send_event("go", SECRET)
        handles.append(waiting)
        for handle in handles:
            await bench.outcome(handle.id)
        await bench.until_status("published", "blocked")
        for n in range(len(forged)):
            await bench.until_status(f"f{n}", "blocked")
            assert SECRET not in bench.field(f"f{n}", "waiting")
        await bench.until_status("field", "delayed")
        await bench.alive()
        shown += [*handles, worker, *worker.runner.residents, bench.durable, *bench.durable.workflows.values()]
    assert SECRET not in bench.field("published", "waiting")
    assert SECRET not in " ".join(repr(each) for each in shown)
    assert [line for line in said(bench) if SECRET in line] == []
    assert len(bench.caplog.records) > 10


async def test_no_password_is_logged(bench: Bench) -> None:
    """A wrong one, and one of a server that is not there."""
    with_password = bench.url.replace("unix://", f"unix://:{SECRET}@").replace("redis://", f"redis://:{SECRET}@")
    urls = [with_password, f"redis://user:{SECRET}@127.0.0.1:1/0"]
    for url in urls:
        durable = Durable(url, workflows=[flows])
        assert SECRET not in repr(durable) + repr(durable.url) + repr(vars(durable).get("_session"))
        try:
            async with asyncio.timeout(8), durable:
                handle = await durable.start(flows.nothing)
                assert SECRET not in repr(handle)
        except Exception as error:  # whatever it is, it must not tell
            link: BaseException | None = error
            while link is not None:
                assert SECRET not in str(link) + repr(link)
                link = link.__cause__ or link.__context__
    assert [line for line in said(bench) if SECRET in line] == []
