"""The commands that need no code, at a store whose values are encrypted."""

from __future__ import annotations

import asyncio

from durable_async import Durable, Encrypted, Progress, progress, step, wait_for_event, wait_for_input, workflow

from ._support import Project, wait_until

SECRET = "S3CR3T-of-the-command-line"


@step
async def fails(text: str) -> None:
    raise ValueError(text)


@workflow
async def secretive(text: str) -> str:
    try:
        await fails(text)
    except ValueError:
        progress(1, 2, SECRET)
        asked = asyncio.ensure_future(wait_for_input("secret", prompt=SECRET, choices=[SECRET]))
        await wait_for_event("go")
        asked.cancel()
    raise RuntimeError(text)


def test_what_is_encrypted_is_named_and_nothing_else_is_missing(project: Project) -> None:
    async def go() -> None:
        codec, namespace = Encrypted([b"k" * 32]), project.env["DURABLE_NAMESPACE"]
        durable = Durable(project.url, workflows=[secretive], namespace=namespace, codec=codec)
        async with durable, durable.worker():
            handle = await durable.start(secretive, SECRET, id="x")
            while not (await handle.info()).waiting_for:
                await asyncio.sleep(0.01)
            refused = await asyncio.to_thread(project.run, "send", "x", "go")
            assert refused.code != 0 and "encrypted" in refused.err
            assert (await handle.info()).waiting_for == "event go, input secret"
            assert (await handle.info()).progress == Progress(1, 2, SECRET)
            (pending,) = (await asyncio.to_thread(project.run, "inputs", "--json")).json
            assert (pending["run_id"], pending["name"], pending["kind"]) == ("x", "secret", "(encrypted)")
            refused = await asyncio.to_thread(project.run, "answer", "x", "secret", '"x"')
            assert refused.code != 0 and "encrypted" in refused.err
            await handle.send_event("go")
            while not (await handle.status()).is_terminal:
                await asyncio.sleep(0.01)

    asyncio.run(go())
    wait_until(lambda: "failed" in project.run("list").out, "the run is listed")
    run = project.run("get", "x", "--json").json[0]
    assert (run["status"], run["input"]) == ("failed", "(encrypted)")
    assert run["error"]["message"] == "(encrypted)"
    for command in (["get", "x"], ["tree", "x"], ["history", "x"], ["list", "--json"]):
        done = project.run(*command)
        assert done.code == 0 and "encrypted" in done.out, done
        assert SECRET not in done.out + done.err
