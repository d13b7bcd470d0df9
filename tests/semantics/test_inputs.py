"""W10, W11: questions to people."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from typing import Any

import pytest

from durable_async import Handle, InvalidInput, Limits, PendingInput, RunNotFound, RunNotWaiting, Status

from . import flows_inputs as flows
from .harness import IS_CROWD, World

FLOWS = [flows]


class Size(enum.StrEnum):
    S = "S"


async def until_asked(world: World, name: str, run: str | None = None, ready: Callable[..., bool] = bool) -> Any:
    async def asked() -> list[PendingInput]:
        found = await world.durable.pending_inputs(run, name)
        return found if ready(found) else []

    return (await world.until(asked, f"{name!r} is asked"))[0]


async def reply(world: World, name: str, value: Any, run: str = "r") -> None:
    """Answers once it is asked."""
    await until_asked(world, name, run)
    await world.durable.provide_input(run, name, value)


async def nothing_open(world: World) -> None:
    assert await world.durable.pending_inputs() == []
    assert not world.raw.exists(world.keys.inputs, world.keys.questions)


QUESTION = {
    "name": "size?",
    "kind": "choice",
    "prompt": "Which\nsize?",
    "choices": ["S", "M", 3, True],
    "metadata": {"sku": "x-1", "asked": [1, None]},
}


async def test_w10_an_open_question_is_listed_as_it_was_asked(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.asks, [{**QUESTION, "timeout": 3600}], id="r")
        asked = await until_asked(world, "size?")
        assert (asked.run_id, asked.workflow, asked.name, asked.kind) == ("r", "asks", "size?", "choice")
        assert (asked.prompt, asked.choices, asked.fields) == ("Which\nsize?", ("S", "M", 3, True), ())
        assert asked.metadata == {"sku": "x-1", "asked": [1, None]}
        info = await world.until_status("r", Status.WAITING)
        assert info.waiting_for == "input size?"
        assert info.created_at <= asked.since
        assert (asked.expires_at - asked.since).total_seconds() == 3600
        assert await world.durable.pending_inputs("r") == [asked]
        await handle.cancel()
        await world.outcome(handle)
        await nothing_open(world)


async def test_w10_without_a_timeout_it_never_expires(world: World) -> None:
    async with world.workers():
        await world.durable.start(flows.asks, [{}], id="r")
        asked = await until_asked(world, "q")
        assert (asked.kind, asked.prompt, asked.metadata, asked.expires_at) == ("text", "", {}, None)
        await reply(world, "q", "")
        assert await world.result(world.durable.run("r")) == [""]


KINDS: list[tuple[dict[str, Any], list[Any], list[Any]]] = [
    ({"kind": "text"}, ["", "ä\n", Size.S], [None, 1, True, b"x", ["x"]]),
    ({"kind": "text", "choices": Size}, ["S", Size.S], ["M", "", "s"]),
    ({"kind": "number"}, [0, -1.5, 2**60], ["1", True, None, float("nan"), float("inf")]),
    ({"kind": "number", "choices": [1, 2.5]}, [1, 2.5], [1.0, 2, True]),
    ({"kind": "boolean"}, [True, False], [None, 1, 0, "true", ""]),
    ({"kind": "approval"}, [True, False], [None, 1, "yes"]),
    ({"kind": "choice", "choices": ["a", 1]}, ["a", 1], ["b", True, 1.0, None, ["a"]]),
    ({"kind": "choices", "choices": ["a", 1, "c"]}, [[], ["c", "a"], (1,)], ["a", ["b"], ["a", "a"], [True], None]),
]


@pytest.mark.parametrize(("asked", "good", "bad"), KINDS, ids=[str(n) for n in range(len(KINDS))])
async def test_w10_bad_answers_leave_it_open_and_good_ones_resume(
    world: World, asked: dict[str, Any], good: list[Any], bad: list[Any]
) -> None:
    asked = {**asked, **({"choices": list(asked["choices"])} if "choices" in asked else {})}
    async with world.workers():
        handle = await world.durable.start(flows.asks, [{**asked, "name": f"q{n}"} for n in range(len(good))], id="r")
        open_one = await until_asked(world, "q0")
        for answer in bad:
            with pytest.raises(InvalidInput, match="'q0' of run r"):
                await world.durable.provide_input("r", "q0", answer)
        assert await world.durable.pending_inputs() == [open_one]
        for n, answer in enumerate(good):
            await reply(world, f"q{n}", answer)
        given = [list(g) if isinstance(g, tuple) else g.value if isinstance(g, Size) else g for g in good]
        result = await world.result(handle)
        assert result == given
        assert [type(v) for v in result] == [type(v) for v in given]
    await nothing_open(world)


async def test_w10_a_form(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.asks_a_form, id="r")
        asked = await until_asked(world, "address")
        assert [(f.name, f.kind, f.required) for f in asked.fields] == [
            ("street", "text", True),
            ("zip", "number", True),
            ("lift", "boolean", False),
        ]
        for answer in (None, [], {}, {"street": "a"}, {"street": "a", "zip": "1"}, {"street": "a", "zip": None},
                       {"street": "a", "zip": 1, "lift": 0}, {"street": "a", "zip": 1, "more": 1}):  # fmt: skip
            with pytest.raises(InvalidInput, match="'address' of run r"):
                await world.durable.provide_input("r", "address", answer)
        await world.durable.provide_input("r", "address", {"zip": 1, "street": "a"})
        assert await world.result(handle) == {"street": "a", "zip": 1, "lift": None}


async def test_w11_what_follows_in_the_arm_runs_and_the_other_does_not(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.approves, {"ledger": world.ledger.path}, id="r")
        # The same name twice, one after the other: two questions.
        await until_asked(world, "manager", ready=lambda found: any(f.prompt == "Number 0?" for f in found))
        await world.durable.provide_input("r", "manager", True)
        await until_asked(world, "manager", ready=lambda found: any(f.prompt == "Number 1?" for f in found))
        await world.durable.provide_input("r", "manager", False)
        await reply(world, "size", "M")
        assert await world.result(handle) == ["yes 0", "no 1", "medium", "too late"]
    world.assert_ran("yes 0", "no 1", "medium", "too late")
    assert set(world.ledger.lines()) == {"yes 0", "no 1", "medium", "too late"}
    kinds = [e.kind for e in await world.durable.history("r")]
    assert (kinds.count("input_asked"), kinds.count("input_answered"), kinds.count("input_timeout")) == (4, 3, 1)


async def test_w10_answers_in_any_order_reach_their_own_questions(world: World) -> None:
    names = [f"q{n}" for n in range(12)]
    async with world.workers():
        handle = await world.durable.start(flows.asks_together, names, id="r")
        await world.until_status("r", Status.WAITING)
        assert [p.name for p in await world.durable.pending_inputs("r")] == names
        order = list(enumerate(names))
        world.random.shuffle(order)
        for n, name in order:
            await world.durable.provide_input("r", name, n)
        assert await world.result(handle) == list(range(12))


async def test_w10_of_racing_answers_one_is_accepted(world: World) -> None:
    runs = 25
    async with world.workers():
        handles = [await world.durable.start(flows.asks, [{}], id=f"r{n}") for n in range(runs)]
        for handle in handles:
            await until_asked(world, "q", handle.id)
            calls = [world.durable.provide_input(handle.id, "q", str(n)) for n in range(4)]
            said = await asyncio.gather(*calls, return_exceptions=True)
            accepted = [str(n) for n, error in enumerate(said) if error is None]
            assert [type(error) for error in said if error is not None] == [RunNotWaiting] * 3
            assert await world.result(handle) == accepted


async def test_w10_an_answer_at_the_deadline_has_one_outcome_and_accepted_is_seen(world: World) -> None:
    runs = 120
    async with world.workers():
        handles = [await world.durable.start(flows.just_in_time, 0.1 + 0.004 * n, id=f"r{n}") for n in range(runs)]

        async def answer(handle: Handle[Any]) -> str:
            for _ in range(10_000):
                try:
                    await world.durable.provide_input(handle.id, "q", "answered")
                except RunNotWaiting:
                    if (await handle.status()).is_terminal:
                        return "late"
                    # Not yet asked, or its time is over and its run has not been told.
                    await asyncio.sleep(0.01)
                else:
                    return "answered"
            raise AssertionError

        for n, handle in enumerate(handles):
            if n % 4:
                await asyncio.sleep(0.001)
            said = await answer(handle)
            assert await world.result(handle) == said
    await nothing_open(world)


@pytest.mark.parametrize("value", [None, False, "late", {"a": [1]}], ids=repr)
async def test_w06_a_timeout_returns_a_value_and_closes_the_question(world: World, value: Any) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.asks_in_vain, {"value": value}, id="r")
        await handle.send_event("end", "over")
        assert await world.result(handle) == [value, "over"]
        await nothing_open(world)
        with pytest.raises(RunNotWaiting, match="'q'"):
            await world.durable.provide_input("r", "q", "late")


@pytest.mark.parametrize("timeout", [0, 0.1])
async def test_w06_a_timeout_raises(world: World, timeout: float) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.asks_in_vain, {"timeout": timeout}, id="r")

        async def closed() -> bool:
            kinds = [e.kind for e in await world.durable.history("r")]
            return "input_timeout" in kinds and (await handle.status()) is Status.WAITING

        await world.until(closed, "its time is over")
        await nothing_open(world)
        with pytest.raises(RunNotWaiting, match="does not ask for the input 'q'"):
            await world.durable.provide_input("r", "q", "late")
        await handle.send_event("end", "over")
        assert await world.result(handle) == [["raised", True], "over"]


async def test_w10_what_expired_while_nobody_worked_is_neither_listed_nor_answered(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.asks_in_vain, {"timeout": 1.5, "value": "late"}, id="r")
        await until_asked(world, "q")
        await world.until_status("r", Status.WAITING)

    async def unlisted() -> bool:
        return not await world.durable.pending_inputs()

    await world.until(unlisted, "it is not listed any more")
    assert IS_CROWD or world.raw.exists(world.keys.questions)
    with pytest.raises(RunNotWaiting, match="'q'"):
        await world.durable.provide_input("r", "q", "x")
    await handle.send_event("end", "over")
    async with world.workers():
        assert await world.result(handle) == ["late", "over"]


async def test_w10_a_wait_that_is_given_up_closes_its_question(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.gives_up, id="r")
        asked = await until_asked(world, "q", ready=lambda found: any(f.kind == "number" for f in found))
        assert asked.kind == "number"
        with pytest.raises(InvalidInput):
            await world.durable.provide_input("r", "q", "of the first question")
        await world.durable.provide_input("r", "q", 7)
        assert await world.result(handle) == ["cut", 7]


async def test_w10_the_loser_of_a_race_is_answered_or_closed_with_the_run(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.races, id="r")
        await reply(world, "b", "first")
        await until_asked(world, "c")
        assert {p.name for p in await world.durable.pending_inputs("r")} == {"a", "c"}
        await world.durable.provide_input("r", "c", "second")
        assert await world.result(handle) == ["first", "second"]
    await nothing_open(world)


async def test_w10_what_is_open_when_the_body_returns_is_closed(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.leaves_one_open, id="r")
        await reply(world, "q", "done")
        assert await world.result(handle) == "done"
    await nothing_open(world)
    with pytest.raises(RunNotWaiting, match="'never'"):
        await world.durable.provide_input("r", "never", "x")


@pytest.mark.parametrize("how", ["cancel", "terminate"])
async def test_w10_after_a_cancel_it_is_closed_and_answering_says_so(world: World, how: str) -> None:
    async with world.workers():
        await world.durable.start(flows.asks, [{}], id="r")
        await until_asked(world, "q")
        await world.until_status("r", Status.WAITING)
    # Nobody works: the promise is the store's.
    assert await getattr(world.durable, how)("r", "no more")
    assert await world.durable.pending_inputs() == []
    with pytest.raises(RunNotWaiting, match=r"'q' of run r is closed|does not ask"):
        await world.durable.provide_input("r", "q", "x")
    await world.drive()
    assert (await world.durable.get("r")).status is Status.CANCELLED
    await nothing_open(world)


async def test_w10_cleanup_may_ask(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.asks_on_the_way_out, id="r")
        await until_asked(world, "q")
        await world.until_status("r", Status.WAITING)
        await handle.cancel("no more")
        await reply(world, "where to note it", world.ledger.path)
        assert (await world.outcome(handle)).status is Status.CANCELLED
    world.assert_ran("cleaned up")


@pytest.mark.parametrize("saga", [True, False])
async def test_w10_a_body_that_is_cut_after_its_grace_leaves_no_question(world: World, saga: bool) -> None:
    world.limits["cancel_grace"] = 0.5
    world.durable.limits = Limits(cancel_grace=0.5)
    async with world.workers():
        given = {"ledger": world.ledger.path, "saga": saga}
        handle = await world.durable.start(flows.will_not_stop, given, id="r")
        await until_asked(world, "q")
        await world.until_status("r", Status.WAITING)
        await handle.cancel("enough")
        info = await world.outcome(handle)
        assert info.status is Status.CANCELLED
        await nothing_open(world)
        with pytest.raises(RunNotWaiting, match="'q'"):
            await world.durable.provide_input("r", "q", "x")
    assert ("undone" in world.ledger.lines()) is saga


async def test_a_name_is_asked_once_at_a_time(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.asks_twice_at_once, id="r")
        await reply(world, "q", "x")
        result = await world.result(handle)
    assert result == "run r asks for the input 'q' already; questions open at once need names that differ x"


async def test_w10_a_childs_question_carries_the_childs_id(world: World) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.parent, id="r")
        assert (await until_asked(world, "q")).run_id == "r/kid"
        assert await world.durable.pending_inputs("r") == []
        await reply(world, "q", "x", "r/kid")
        assert await world.result(handle) == ["x"]


async def test_w10_the_list_is_oldest_first_and_can_be_narrowed(world: World) -> None:
    async with world.workers():
        for n in range(6):
            await world.durable.start(flows.asks, [{"name": f"n{n % 2}"}], id=f"r{n}")
            await until_asked(world, f"n{n % 2}", f"r{n}")
        pending = world.durable.pending_inputs
        assert [p.run_id for p in await pending()] == [f"r{n}" for n in range(6)]
        assert [p.run_id for p in await pending(limit=2)] == ["r0", "r1"]
        assert [p.run_id for p in await pending(name="n1", limit=2)] == ["r1", "r3"]
        assert [p.run_id for p in await pending(run="r4")] == ["r4"]
        assert await pending(run="r4", name="n1") == await pending(run="nobody") == []
        for n in range(6):
            await world.durable.cancel(f"r{n}")
        await world.settled()


async def test_w10_an_unknown_run_and_an_unknown_name(world: World) -> None:
    with pytest.raises(RunNotFound, match="nobody"):
        await world.durable.provide_input("nobody", "q", "x")
    await world.durable.start(flows.asks, [{}], id="r")
    with pytest.raises(RunNotWaiting, match="run r does not ask"):
        await world.durable.provide_input("r", "q", "before it has started")
    async with world.workers():
        await until_asked(world, "q")
        with pytest.raises(RunNotWaiting, match="run r does not ask"):
            await world.durable.provide_input("r", "Q", "x")
        await world.durable.cancel("r")


@pytest.mark.parametrize("name", ["ä ö ü", "名前", "a\nb", "\n", "'quoted' \x00", "x" * 128, "{curly}*?[a]"])
async def test_w09_names_of_any_text(world: World, name: str) -> None:
    async with world.workers():
        handle = await world.durable.start(flows.asks, [{"name": name}], id="r")
        assert (await until_asked(world, name)).name == name
        assert [p.name for p in await world.durable.pending_inputs("r")] == [name]
        await world.durable.provide_input("r", name, "x")
        assert await world.result(handle) == ["x"]
    names = [e.name for e in await world.durable.history("r") if e.kind.startswith("input")]
    assert names == [name, name]
