"""The calls that write about questions, for the tests that hold every script to writing all or nothing."""

from __future__ import annotations

from .world import T0, World, outside


def asked(letter: str, name: str, number: int = 1) -> tuple[str, str, str, bytes]:
    return letter, name, f"{number} {T0} {T0 + 5}\n", b"rest"


async def commit_asks(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    copy.commit("go", [b"R1"], questions=[asked("a", "left"), asked("a", "late"), asked("a", "again")])
    world.caller.is_dry = True
    changes = [asked("c", "left"), asked("x", "late"), asked("c", "again"), asked("a", "again", 2), asked("a", "new")]
    copy.commit("park", [b"R2"], questions=changes)


async def commit_ends_asking(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    copy.commit("go", [b"R1"], questions=[asked("a", "left"), asked("a", "late")])
    world.caller.is_dry = True
    copy.commit("failed", [b"R2"], questions=[asked("c", "left"), asked("x", "late")])


async def settle_asking(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    copy.commit("park", [b"R1"], questions=[asked("a", "one"), asked("a", "two")])
    await outside(world, "settle_run", "r", "terminate", "cancelled", b"why")


async def answer_wakes(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    copy.commit("park", [b"R1"], questions=[asked("a", "one"), asked("a", "two")])
    await outside(world, "provide_input", "r", "one", f"1 {T0} {T0 + 5}\n", T0 + 5, "t", b"x", 10)


async def answer_nudges(world: World) -> None:
    copy = await world.bring("running")
    assert copy
    copy.commit("go", [b"R1"], questions=[asked("a", "one")])
    await outside(world, "provide_input", "r", "one", f"1 {T0} {T0 + 5}\n", T0 + 5, "t", b"x", 10)


QUESTION_CASES = (commit_asks, commit_ends_asking, settle_asking, answer_wakes, answer_nudges)
