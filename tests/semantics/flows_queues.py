"""Parents of children whose code is not here."""

from __future__ import annotations

from durable_async import call_workflow, workflow

from .flows_elsewhere import known_elsewhere, known_later

# Modules are searched for workflows: these names must not make the child's code known here.
_elsewhere, _later = [known_elsewhere], [known_later]
del known_elsewhere, known_later


@workflow
async def calls_elsewhere(n: int) -> int:
    return await call_workflow(_elsewhere[0], n, ref="kid")


@workflow
async def calls_later(n: int) -> int:
    return await call_workflow(_later[0], n, ref="kid")
