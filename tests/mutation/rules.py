"""Rules left out, one at a time, or together where two back each other up.

F are the variants that every such engine must not be; M those that the model of the protocol found to be fatal; P paths
of the Python code.
"""

# ruff: noqa: E501, ISC004  # a patch is shown as it stands in its file

from __future__ import annotations

from collections.abc import Sequence

from .gate import Mutant, Patch

COMMIT = "store/lua/commit_run.lua"
CLAIM = "store/lua/claim_runs.lua"
RUNNER = "worker/runner.py"
INTAKE = "worker/intake.py"

CALLS = "faults/test_each_call.py::test_d02_d23_every_call"
IN_FLIGHT = "semantics/test_in_flight.py"
LOST = "semantics/test_lost_entries.py"
CLOCKS = "worker/test_lease_and_clock.py"

PROGRAMS = "models/test_programs.py"

FENCE = "f[2] ~= epoch or f[3] ~= nonce"
EPOCH_ONLY: Patch = (COMMIT, FENCE, "f[2] ~= epoch")
MARKS_CHILDREN: Patch = (
    "store/lua/cancel_run.lua",
    "if run.kids > 0 then redis.call('HSET', walks_key, 'x' .. id, 0) end\nif is_last",
    "if is_last",
)


def rule(id: str, what: str, patches: Patch | Sequence[Patch], *tests: str) -> Mutant:
    found = (patches,) if isinstance(patches[0], str) else patches
    return Mutant(id, what, found, tests)  # type: ignore[arg-type]  # one patch is a tuple of strings


CALLER_CASCADES = (
    "client/durable.py",
    """        did, clients = await session.store.cancel_run(id, reason, secrets.token_hex(8), grace_ms)
        self._tell(clients, id, reason)
        return did
""",
)

RULES: list[Mutant] = [
    rule(
        "F1",
        "the look into the inbox and the park are not one: a commit parks with a message waiting",
        (
            COMMIT,
            "if (leaves and (mail > taken or n_tells > 0)) or (ending and stays) then",
            "if ending and stays then",
        ),
        "lua/test_commit_run.py",
    ),
    rule(
        "F2",
        "an end is told to a parent only if that is parked already",
        (
            "store/lua/lib/finish.lua",
            "if told and run.notify == '1'",
            "if told and told.status == 'parked' and run.notify == '1'",
        ),
        "lua/test_commit_ends_child.py",
    ),
    rule(
        "F3",
        "a claim leaves the epoch as it is, and the fence has no nonce",
        [
            (CLAIM, "read_pages(STATUS.OK, epoch + 1, f,", "read_pages(STATUS.OK, epoch, f,"),
            (CLAIM, "f[3] and tostring(epoch + 1) or '1'", "f[3] or '1'"),
            EPOCH_ONLY,
        ],
        "lua/test_claim_runs.py\nlua/test_commit_run.py\nlua/test_scenarios.py",
    ),
    rule(
        "F4",
        "an entry is acked when it is read, before anything is recorded",
        (
            INTAKE,
            "                self._backlog.append(held)\n                if letter",
            "                self._backlog.append(held)\n                self.outbox.ack(held)\n                if letter",
        ),
        f"{CALLS}[crash-after-two_levels]",
    ),
    rule("F5", "a cancel leaves no walk over the children", MARKS_CHILDREN, "lua/test_cancel_run.py"),
    rule(
        "F6",
        "an event is delivered before it is looked whether its id has been",
        [
            ("store/lua/send_event.lua", "if f[6] then return { STATUS.OK, now } end\n", ""),
            (
                "store/lua/send_event.lua",
                "{ seen, '1' })\n",
                "{ seen, '1' })\nif f[6] then return { STATUS.OK, now } end\n",
            ),
        ],
        "lua/test_send_event.py",
    ),
    rule(
        "F7",
        "timeouts are computed by the worker's clock instead of the server's",
        (
            "worker/clock.py",
            "self._offset_ms = now_ms - monotonic() * 1000",
            "import time\n        self._offset_ms = (time.time() - monotonic()) * 1000",
        ),
        CLOCKS,
    ),
    rule(
        "F8",
        "a consumer group that was lost is made anew from the end of the stream",
        ("worker/consumer.py", 'GROUP, "0", "MKSTREAM"', 'GROUP, "$", "MKSTREAM"'),
        LOST,
    ),
    rule(
        "F9",
        "claims are not counted when they are made, so a run that kills its workers is never given up",
        (CLAIM, "'claims', tostring(claims), 'started'", "'started'"),
        "lua/test_claim_runs.py",
    ),
    rule(
        "F10",
        "a dead worker's consumer is deleted while entries are pending for it",
        ("store/lua/drop_consumer.lua", "if #pending > 0 then return { STATUS.RETRY } end", ""),
        "lua/test_small_transitions.py",
    ),
    rule(
        "F11",
        "a child gets a time to live when it ends, before its parent has read it",
        ("store/lua/lib/finish.lua", "plan.expires = not told or (", "plan.expires = true or ("),
        "lua/test_commit_ends_child.py",
    ),
    rule(
        "F12",
        "a run becomes ready without an entry",
        ("store/lua/lib/deliver.lua", "'entry', add_entry(id, run.wake_letter, run.wake_key)", "'entry', ''"),
        "lua/test_send_event.py",
    ),
    # ------------------------------------------------------------------ what the model has found
    rule(
        "M1",
        "a wake-up makes the stream of a worker that is gone",
        (
            "store/lua/lib/entry.lua",
            "if worker_key and redis.call('TYPE', worker_key).ok == 'stream' then",
            "if worker_key then",
        ),
        "lua/test_send_event.py",
        "lua",
    ),
    rule(
        "M2",
        "a dead worker is looked for once only",
        [
            (
                "worker/reaper.py",
                "        self.reaped = 0\n",
                "        self.reaped = 0\n        self._done: set[str] = set()\n",
            ),
            ("worker/reaper.py", "self._strangers} - {self._me}:", "self._strangers} - {self._me} - self._done:"),
            (
                "worker/reaper.py",
                "        self.reaped += count\n",
                "        self.reaped += count\n        self._done.add(worker)\n",
            ),
        ],
        LOST,
    ),
    rule(
        "M3",
        "a claim does not ask whether its entry is the one that counts",
        (CLAIM, "elseif f[2] ~= entry or (", "elseif ("),
        "lua/test_claim_runs.py",
    ),
    rule(
        "M4",
        "a claim whose reply was lost cannot be repeated",
        (CLAIM, "status == 'running' and f[4] == nonce and f[5] == owner", "false"),
        "lua/test_claim_runs.py",
    ),
    rule(
        "M5",
        "a wake-up that comes while a call is outstanding is judged by what the worker remembers",
        (INTAKE, "                resident.deferred.append(held)\n", "                self.outbox.ack(held)\n"),
        LOST,
        IN_FLIGHT,
        f"{CALLS}[lose-reply-two_levels]",
    ),
    rule(
        "M6",
        "an end does not see that a cancel waits",
        (COMMIT, "or (ending and stays) then", "then"),
        "lua/test_commit_run.py",
    ),
    rule(
        "M7",
        "a message that came too late is journaled",
        (
            "engine/run.py",
            'self._list.append(Entry("D", message.head))\n            return',
            'self._list.append(Entry("T", message.head))\n            return',
        ),
        "engine/test_late_messages.py",
    ),
    rule(
        "M8",
        "nobody tells the owner of a running run that a message waits",
        ("store/lua/lib/deliver.lua", "elseif run.nudge_key then", "elseif false then"),
        "lua/test_send_event.py",
    ),
    rule(
        "M9",
        "children are listed before their parent is marked, and a child of a cancelled run is born alive",
        [
            (
                "worker/walks.py",
                "last = min(cursor + CHUNK, standing.cancel_kids)",
                "last = min(cursor + CHUNK, max(0, standing.cancel_kids - 1))",
            ),
            ("store/lua/lib/family.lua", "local is_unborn = family.is_cancelled and", "local is_unborn = false and"),
        ],
        "lua/test_commit_children.py",
        "semantics/test_cancel_races.py",
    ),
    rule(
        "M10",
        "the subtree is cancelled by whoever called cancel, and not by durable work",
        [
            MARKS_CHILDREN,
            (
                CALLER_CASCADES[0],
                CALLER_CASCADES[1],
                CALLER_CASCADES[1].replace(
                    "        return did\n",
                    "        for child in await self.list_children(id):\n            await self.cancel(child.id, reason)\n        return did\n",
                ),
            ),
        ],
        LOST,
    ),
    rule(
        "M11",
        "a commit's number is only looked at for repeats",
        (COMMIT, "if not is_next or f[1]", "if f[1]"),
        "lua/test_commit_run.py",
    ),
    rule("M12", "the fence is the epoch alone", EPOCH_ONLY, "lua/test_commit_run.py"),
    rule(
        "M13",
        "a commit is accepted of a run that is parked",
        (COMMIT, "if not is_next or f[1] ~= 'running' or f[5] ~= entry then", "if not is_next then"),
        "lua/test_commit_run.py",
    ),
    rule(
        "M14",
        "takes do not name their message",
        (COMMIT, "if not message or string.sub(message, 1, #value) ~= value then", "if not message then"),
        "lua/test_commit_run.py",
    ),
    rule(
        "M15",
        "what is pending and forgotten is compared by its run, not by its entry",
        (
            "worker/reaper.py",
            "                if (key, entry_id) in self._intake.held:\n",
            '                said = await self._store.caller.call(("XRANGE", key, entry_id, entry_id))\n'
            "                mine = {held.run_id for held in self._intake.held.values()} | {one.id for one in self._intake._residents}\n"
            "                if said and parse_entry(said[0])[2] in mine:\n",
        ),
        LOST,
    ),
    # ------------------------------------------------------------------ paths of the Python code
    rule(
        "P1",
        "a step is launched before the commit that is to come first",
        (
            RUNNER,
            "        if run.has_news() or resident.has_mail or not run.steps.is_busy():\n",
            "        for early in run.steps.take_launches():\n            self.steps.launch(resident, early)\n"
            "        if run.has_news() or resident.has_mail or not run.steps.is_busy():\n",
        ),
        LOST,
        PROGRAMS,
    ),
    rule(
        "P2",
        "a worker that is told it is fenced goes on as if it had not been",
        (
            RUNNER,
            "        if answer == Answer.FENCED:\n",
            "        if answer == Answer.FENCED and (resident.run.steps.launches or resident.run.steps.is_busy()):\n            self.advance(resident)\n            return\n        if answer == Answer.FENCED:\n",
        ),
        LOST,
        "faults/test_processes.py::test_d03_a_zombie_is_fenced",
    ),
    rule(
        "P3",
        "entries that waited for a reply are forgotten when it has come",
        (RUNNER, "        self.intake.again(deferred)\n", ""),
        LOST,
        f"{CALLS}[lose-reply-two_levels]",
    ),
    rule(
        "P4",
        "a worker does not look for what is pending for itself and was forgotten",
        ("worker/worker.py", "if monotonic() - last_reconcile > lease / 2:", "if False:"),
        LOST,
        f"{CALLS}[lose-reply-two_levels]",
    ),
    rule(
        "P5",
        "a worker counts its lease from when the answer to a beat came, not from when the beat was sent",
        ("worker/heartbeat.py", "self._last_sent = sent", "self._last_sent = monotonic()"),
        CLOCKS,
    ),
    rule(
        "P6",
        "messages are fed out of order",
        ("engine/run.py", "        for raw in raws:\n", "        for raw in reversed(list(raws)):\n"),
        "engine/test_late_messages.py",
    ),
    rule(
        "P7",
        "a message is fed before the timers that were due when it came",
        ("engine/run.py", "        self._pass_timers(message.time_ms)\n", ""),
        "engine/test_late_messages.py",
    ),
    rule(
        "P8",
        "an outcome is fed to a step that a timer has just given up",
        (
            "engine/run.py",
            "if self.steps.is_current(call) and (not self._pass_timers(now_ms) or self.steps.is_current(call)):\n            self.steps.returned",
            "if self.steps.is_current(call) and (not self._pass_timers(now_ms) or True):\n            self.steps.returned",
        ),
        "engine/test_step_outcomes.py",
    ),
    rule(
        "P9",
        "a worker whose lease is over neither lets its runs go nor stops to launch steps",
        [
            ("worker/heartbeat.py", "return self.age_s < self._lease_s * 2 / 3", "return True"),
            ("worker/heartbeat.py", "return self.age_s >= self._lease_s", "return False"),
        ],
        "faults/test_lease.py",
    ),
    rule(
        "P10",
        "a replay does not compare what the body asks for with what is recorded",
        (
            "engine/replaying.py",
            "elif not is_same_record(found, values, run.codec, 2 * run.limits.payload):",
            "elif False:",
        ),
        "engine/test_replay_compares.py",
    ),
    rule(
        "P11",
        "the entry of a run that has parked is not acked",
        (
            RUNNER,
            "        self._settled_entry(resident)\n        if turn.want == Want.BLOCK:",
            "        if turn.want == Want.BLOCK:",
        ),
        "semantics/test_steps.py",
        "semantics/test_sleeps.py",
    ),
    rule(
        "P12",
        "a nudge that comes while a call is outstanding is forgotten",
        (
            RUNNER,
            "            resident.has_mail = True\n            self.advance(resident)",
            "            if not resident.is_out:\n                resident.has_mail = True\n            self.advance(resident)",
        ),
        LOST,
        IN_FLIGHT,
    ),
]
