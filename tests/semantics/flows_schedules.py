"""Scheduled workflows. Ticks that tests plant are weeks apart; those that they wait for come each second."""

from __future__ import annotations

from datetime import datetime

from durable_async import Retry, cron, days, every, info, seconds, step, wait_for_event, workflow

WEEKLY = every(days(7))


@step
async def day_of(tick: datetime) -> str:
    return tick.isoformat()


@workflow(schedule=every(seconds(1)), catch_up="all")
async def each_second(tick: datetime) -> str:
    return await day_of(tick)


@workflow(schedule=every(seconds(1)), overlap="skip")
async def one_at_a_time() -> str:
    return str(await wait_for_event("go"))


@workflow(schedule=WEEKLY)
async def newest(tick: datetime | None = None) -> str:
    return "by hand" if tick is None else await day_of(tick)


@workflow(schedule=WEEKLY, catch_up="all")
async def all_of_them(text: str = "default") -> str:
    return text


@workflow(schedule=WEEKLY, catch_up="none")
async def none_of_them() -> None: ...


@workflow(schedule=WEEKLY)
async def fails() -> None:
    raise ValueError("every time")


@workflow(schedule=cron("0 9 * * MON-FRI", tz="America/New_York"))
async def office_hours() -> str:
    return "good morning"


@workflow
async def unscheduled() -> str:
    return "nothing of that"


@workflow(schedule=WEEKLY, timeout=0.2)
async def too_long() -> None:
    await wait_for_event("never")


@workflow(schedule=WEEKLY, retry=Retry(max_attempts=2, initial=0.05))
async def second_time() -> int:
    if info().attempt == 1:
        raise ConnectionError("the first time")
    return info().attempt
