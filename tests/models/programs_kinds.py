"""The statements that random programs are made of."""

from __future__ import annotations

from .programs import ANY, LEAVES, Maker, Place, Stmt, fixed


def step(m: Maker, p: Place) -> Stmt:
    return Stmt([f"out.append(await {m.work(p)})"])


def nap(m: Maker, p: Place) -> Stmt:
    """Time in a body is durable time."""
    seconds = m.one_of(0, 0.005, 0.02)
    before = m.name("before")
    return Stmt(
        [
            f"{before} = now()",
            f"await {m.one_of('sleep', 'asyncio.sleep')}({seconds})",
            f"out.append((now() - {before}).total_seconds() >= {seconds})",
        ]
    )


def event(m: Maker, p: Place) -> Stmt:
    if p.path is None:
        return step(m, p)
    kind = m.some(0, 3)
    if kind == 0:
        return Stmt([f'out.append(await wait_for_any(["{m.event(p)}", "never"]))'])
    if kind == 1:
        return Stmt([f'out.append(await wait_for_all(["{m.event(p)}", "{m.event(p)}"], timeout=3600))'])
    return Stmt([f'out.append(await wait_for_event("{m.event(p)}"))'])


def no_event(m: Maker, p: Place) -> Stmt:
    return Stmt(['out.append(await wait_for_event("never", timeout=0.02, timeout_value="no event"))'])


def call(m: Maker, p: Place) -> Stmt:
    ref = m.name("r")
    child = m.workflow(m.block(m.child_place(p, ref), 1, 2))
    extra = m.one_of("", ", timeout=3600", ', queue="default"')
    salt = m.one_of("given", "given", '{**given, "salt": str(uuid())}')
    return Stmt([f'out.append(await call_workflow({child}, {salt}, ref="{ref}"{extra}))'])


def late_call(m: Maker, p: Place) -> Stmt:
    child = m.workflow(m.endless(m.child_place(m.inside(p, is_sure=False))))
    value = m.one_of(', timeout_value="late"', "", ", timeout_value=None")
    return Stmt([f"out.append(await call_workflow({child}, given, timeout={m.one_of(0, 0.02)}{value}) or 'late')"])


def retried_call(m: Maker, p: Place) -> Stmt:
    """A child that fails at first; nonces of its earlier lives are gone with their journals."""
    place = m.inside(p, is_sure=False)
    child = m.workflow(
        [
            fixed("given = {**given, 'chain': False}"),
            Stmt([f"out.append(await {m.work(place)})"]),
            fixed(f"if info().attempt < {m.some(2, 3)}:", [fixed('raise ValueError("not yet")')]),
            *m.block(m.child_place(place), 1, 1),
            fixed("out.append(info().attempt)"),
        ]
    )
    return Stmt([f"out.append(await call_workflow({child}, given, retry=Retry(max_attempts=4, initial=0.01)))"])


def renewed_call(m: Maker, p: Place) -> Stmt:
    """A child that goes on under its id."""
    place = m.inside(p, is_sure=False)
    lives = m.some(1, 2)
    child = m.workflow(
        [
            fixed("given = {**given, 'chain': False}"),
            *m.block(m.child_place(place), 1, 2),
            fixed(
                f"if given.get('life', 0) < {lives}:",
                [fixed("continue_as_new({**given, 'life': given.get('life', 0) + 1})")],
            ),
            fixed("out.append(given['life'])"),
        ]
    )
    return Stmt([f"out.append(await call_workflow({child}, given))"])


def started(m: Maker, p: Place) -> Stmt:
    ref, name = m.name("r"), m.name("child")
    child = m.workflow(m.block(m.child_place(p, ref), 1, 2))
    delay = m.one_of("", "", ", delay=0.02")
    return Stmt(
        [
            f'{name} = await start_workflow({child}, given, ref="{ref}"{delay})',
            *[f"out.append(await {m.work(p)})" for _ in range(m.some(0, 1))],
            f"out.append(await {name}.result())",
        ]
    )


def left_alone(m: Maker, p: Place) -> Stmt:
    """A child that nobody awaits; it may outlive its parent."""
    child = m.workflow(m.block(Place(None, False, p.depth + 1), 1, 2))
    return Stmt([f'await start_workflow({child}, given, ref="{m.name("r")}")'])


def cancelled_child(m: Maker, p: Place) -> Stmt:
    name = m.name("child")
    child = m.workflow(m.endless(m.child_place(m.inside(p, is_sure=False))))
    return Stmt(
        [
            f'{name} = await start_workflow({child}, given, on_parent_close="cancel")',
            *[f"out.append(await {m.work(p)})" for _ in range(m.some(0, 1))],
            f'await {name}.cancel("enough")',
            "try:",
            [fixed(f"await {name}.result()")],
            "except ChildCancelled as error:",
            [fixed("out.append(error.reason)")],
        ]
    )


def caught(m: Maker, p: Place) -> Stmt:
    return Stmt(
        [
            "try:",
            [fixed(f"out.append(await {m.failing(p)})")],
            "except Exception as error:",
            [fixed("out.append(type(error).__name__)"), *m.block(m.inside(p), 0, 1)],
        ]
    )


def finally_(m: Maker, p: Place) -> Stmt:
    return Stmt(["try:", m.block(m.inside(p)), "finally:", m.block(m.inside(p), 1, 1)])


def if_(m: Maker, p: Place) -> Stmt:
    # Which way depends on what came before, so nothing inside is sure.
    inner = m.inside(p, is_sure=False)
    return Stmt([f"if len(out) % 2 == {m.some(0, 1)}:", m.block(inner), "else:", m.block(inner, 0, 1)])


def loop(m: Maker, p: Place) -> Stmt:
    i = m.name("i")
    return Stmt(
        [
            f"for {i} in range({m.some(2, 3)}):",
            [Stmt([f'out.append(await work(given, f"{m.label(m.inside(p, is_sure=False))}.{{{i}}}"))'])],
        ]
    )


def gather(m: Maker, p: Place) -> Stmt:
    if m.some(0, 2):
        made = [m.branch(p, "soon") for _ in range(m.some(2, 3))]
        names = ", ".join(f"{name}()" for name, _ in made)
        return Stmt([*_parts(made), f"out.append(await asyncio.gather({names}))"])
    made = [m.branch(p, "soon"), m.branch(p, "fails")]
    m.random.shuffle(made)
    names = ", ".join(f"{name}()" for name, _ in made)
    found = m.name("found")
    return Stmt(
        [
            *_parts(made),
            f"{found} = await asyncio.gather({names}, return_exceptions=True)",
            f"out.append([type(one).__name__ if isinstance(one, Exception) else one for one in {found}])",
        ]
    )


def _parts(made: list[tuple[str, Stmt]]) -> list[str | list[Stmt]]:
    return [part for _, stmt in made for part in stmt.parts]


def failing_gather(m: Maker, p: Place) -> Stmt:
    """What is left goes on, and ends with the body."""
    inner = m.inside(p, is_sure=False)
    made = [m.branch(inner, "fails"), m.branch(inner, "never"), m.branch(inner, m.one_of("soon", "never"))]
    m.random.shuffle(made)
    names = ", ".join(f"{name}()" for name, _ in made)
    return Stmt(
        [
            *_parts(made),
            "try:",
            [fixed(f"await asyncio.gather({names})")],
            "except Exception as error:",
            [fixed("out.append(type(error).__name__)")],
        ]
    )


def task_group(m: Maker, p: Place) -> Stmt:
    group = m.name("group")
    # A group that fails while it is cancelled forgets the cancel before Python 3.13.
    if m.some(0, 1) or not p.is_sure:
        made = [m.branch(p, "soon") for _ in range(m.some(2, 3))]
        tasks = m.name("tasks")
        names = ", ".join(f"{group}.create_task({name}())" for name, _ in made)
        return Stmt(
            [
                *_parts(made),
                f"async with asyncio.TaskGroup() as {group}:",
                [fixed(f"{tasks} = [{names}]")],
                f"out.append([task.result() for task in {tasks}])",
            ]
        )
    inner = m.inside(p, is_sure=False)
    made = [m.branch(inner, "fails"), m.branch(inner, "never"), m.branch(inner, "soon")]
    m.random.shuffle(made)
    return Stmt(
        [
            *_parts(made),
            "try:",
            [
                fixed(
                    f"async with asyncio.TaskGroup() as {group}:",
                    [fixed(f"{group}.create_task({name}())") for name, _ in made],
                )
            ],
            "except* Exception as failed:",
            [fixed("out.append([type(error).__name__ for error in failed.exceptions])")],
        ]
    )


def parallel(m: Maker, p: Place) -> Stmt:
    kind = m.some(0, 3)
    bound = m.one_of("", "", ", max_concurrency=1", ", max_concurrency=2")
    if kind == 0:
        made = [m.branch(p, "soon") for _ in range(m.some(1, 3))]
        names = ", ".join(f'"{name}": {name}()' for name, _ in made)
        return Stmt([*_parts(made), f"out.append(await parallel({{{names}}}{bound}))"])
    if kind == 1:
        inner = m.inside(p, is_sure=False)
        made = [m.branch(inner, "fails"), m.branch(inner, m.one_of("soon", "never"))]
        names = ", ".join(f'"{name}": {name}()' for name, _ in made)
        return Stmt(
            [
                *_parts(made),
                "try:",
                [fixed(f"await parallel({{{names}}})")],
                "except Exception as error:",
                [fixed("out.append(type(error).__name__)")],
            ]
        )
    made = [m.branch(p, "soon"), m.branch(p, "fails")]
    m.random.shuffle(made)
    names = ", ".join(f'"{name}": {name}()' for name, _ in made)
    policy = m.one_of('"complete_all"', "Tolerate(failures=1)", "Tolerate(ratio=0.5)")
    return Stmt([*_parts(made), f"out.append(shown(await parallel({{{names}}}, on_error={policy}{bound})))"])


def mapped(m: Maker, p: Place) -> Stmt:
    child = m.workflow(m.block(Place(None, False, p.depth + 1), 1, 1))
    ref, bound = m.name("r"), m.one_of("", ", max_concurrency=1", ", max_concurrency=2")
    inputs = f"[{{**given, 'n': n}} for n in range({m.some(0, 3)})]"
    return Stmt([f'out.append(await map_workflow({child}, {inputs}, ref="{ref}"{bound}))'])


def race(m: Maker, p: Place) -> Stmt:
    """First completed; the loser is cancelled, or goes with the body."""
    tasks, done = m.name("tasks"), m.name("done")
    inner = m.inside(p, is_sure=False)
    pair = [m.soon(m.inside(p)), m.never(inner)]
    m.random.shuffle(pair)
    names = ", ".join(f"asyncio.ensure_future({one})" for one in pair)
    cancel: list[str | list[Stmt]] = [
        f"for task in {tasks}:",
        [fixed("task.cancel()")],
        f"await asyncio.wait({tasks})",
    ]
    return Stmt(
        [
            f"{tasks} = [{names}]",
            f"{done}, _ = await asyncio.wait({tasks}, return_when=asyncio.FIRST_COMPLETED)",
            f"out.append([task.result() for task in {done}])",
            *(cancel if m.some(0, 1) else []),
        ]
    )


def in_time(m: Maker, p: Place) -> Stmt:
    # `wait_for` that is cancelled in the moment of its result forgets the cancel before Python 3.12.
    if m.some(0, 1) and p.is_sure:
        return Stmt([f"out.append(await asyncio.wait_for({m.soon(p)}, 3600))"])
    return Stmt(["async with asyncio.timeout(3600):", m.block(m.inside(p))])


def out_of_time(m: Maker, p: Place) -> Stmt:
    name, stmt = m.branch(p, "never")
    return Stmt(
        [
            *stmt.parts,
            "try:",
            [fixed("async with asyncio.timeout(0.02):", [fixed(f"await {name}()")])],
            "except TimeoutError:",
            [fixed('out.append("time is over")')],
        ]
    )


def cancelled_task(m: Maker, p: Place) -> Stmt:
    name, stmt = m.branch(m.inside(p, is_sure=False), "never")
    task = m.name("task")
    return Stmt(
        [
            *stmt.parts,
            f"{task} = asyncio.create_task({name}())",
            *m.one_of([], [f"out.append(await {m.work(p)})"], ["await sleep(0)"]),
            f"{task}.cancel()",
            # Not `await`: who caught its CancelledError would also catch one of its own.
            f"await asyncio.wait([{task}])",
            f"out.append({task}.cancelled())",
        ]
    )


def semaphore(m: Maker, p: Place) -> Stmt:
    lock, name, i = m.name("lock"), m.name("guarded"), m.name("n")
    label = m.label(m.inside(p, is_sure=False))
    return Stmt(
        [
            f"{lock} = asyncio.{m.one_of('Semaphore(2)', 'Semaphore(1)', 'Lock()')}",
            f"async def {name}({i}: int) -> Any:",
            [fixed(f"async with {lock}:", [fixed(f'return await work(given, f"{label}.{{{i}}}")')])],
            f"out.append(await asyncio.gather(*({name}({i}) for {i} in range(3))))",
        ]
    )


def queue(m: Maker, p: Place) -> Stmt:
    """A producer and a consumer."""
    name, producer = m.name("queue"), m.name("producer")
    label = m.label(m.inside(p, is_sure=False))
    return Stmt(
        [
            f"{name}: asyncio.Queue[Any] = asyncio.Queue({m.some(0, 1)})",
            f"async def {producer}() -> None:",
            [fixed("for n in range(3):", [fixed(f'await {name}.put(await work(given, f"{label}.{{n}}"))')])],
            f"{producer}_task = asyncio.create_task({producer}())",
            f"out.append([await {name}.get() for _ in range(3)])",
            f"await {producer}_task",
        ]
    )


def in_any_order(m: Maker, p: Place) -> Stmt:
    made = [m.branch(p, "soon") for _ in range(m.some(2, 3))]
    names = ", ".join(f"{name}()" for name, _ in made)
    return Stmt([*_parts(made), f"out.append(sorted([repr(await one) for one in asyncio.as_completed([{names}])]))"])


def shielded(m: Maker, p: Place) -> Stmt:
    name, stmt = m.branch(p, "soon")
    return Stmt([*stmt.parts, f"out.append(await asyncio.shield({name}()))"])


def told(m: Maker, p: Place) -> Stmt:
    return Stmt([m.one_of('put_context("at", len(out))', "progress(len(out))", "random().random()")])


def outermost(m: Maker) -> list[Stmt]:
    """The root's body: it may undo what it did, and it may fail."""
    body = m.block(Place(), 3, 6)
    ending = m.some(0, 14)
    if ending == 0:
        name = f"{m.name('u')}of{m.program.seed}"
        m.program.sure.add(name)
        body.insert(m.some(0, len(body)), Stmt([f'compensate(undo, given, "{name}")']))
    if ending in (0, 1):
        body.append(fixed(f'raise ValueError("{m.name("x")}")'))
    elif ending == 2:
        body.append(fixed(f"await {m.failing(Place())}"))
    return body


LEAVES += [(step, 10), (nap, 2), (event, 3), (told, 1)]
ANY += [
    *LEAVES,
    (no_event, 2), (call, 6), (late_call, 3), (retried_call, 1), (renewed_call, 1), (started, 3), (left_alone, 1),
    (cancelled_child, 2), (caught, 5), (finally_, 3), (if_, 2), (loop, 2), (gather, 4), (failing_gather, 2),
    (task_group, 4), (parallel, 4), (mapped, 2), (race, 4), (in_time, 2), (out_of_time, 3), (cancelled_task, 3),
    (semaphore, 1), (queue, 1), (in_any_order, 2), (shielded, 1),
]  # fmt: skip
