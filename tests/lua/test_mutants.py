"""Known-bad variants of the transitions, each one check or one write off: this suite must notice every one.

It takes about a quarter of an hour and says whether the other tests here mean anything.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MUTANTS = [
    ("commit_run", "f[2] ~= epoch or f[3] ~= nonce", "f[2] ~= epoch"),
    ("commit_run", "f[2] ~= epoch or f[3] ~= nonce", "f[3] ~= nonce"),
    ("commit_run", " or f[5] ~= entry then", " then"),
    ("commit_run", "or f[1] ~= 'running' or", "or"),
    ("commit_run", "(tonumber(f[4]) or 0) + 1 ~= tonumber(seq) or", "false or"),
    ("commit_run", "if f[4] == seq then", "if false then"),
    ("commit_run", "(leaves and (mail > taken or n_tells > 0))", "(want == 'park' and n_tells > 0)"),
    ("commit_run", "(leaves and (mail > taken or n_tells > 0))", "(want == 'park' and mail > taken)"),
    ("commit_run", "(ending and stays)", "false"),
    ("commit_run", "cancel_at > taken or (", "("),
    ("commit_run", "or (family and family.has_to_wait)", ""),
    ("commit_run", "if not message or string.sub(message, 1, #value) ~= value then", "if not message then"),
    ("commit_run", "0, n_messages - 1", "0, tonumber(string.match(page, '%d+')) - 1"),
    ("commit_run", "math.max(at_least, tonumber(seen) - told)", "at_least"),
    ("commit_run", "math.max(at_least, tonumber(seen) - told)", "math.max(0, tonumber(seen) - told)"),
    ("commit_run", "read_unseen(taken, 0) end", "read_unseen(taken, 1) end"),
    ("commit_run", "if not is_cut then left", "if true then left"),
    ("commit_run", "and #inbox == 0 and redis.call('LLEN', inbox_key) == 0", "and #inbox == 0"),
    ("commit_run", "  if left.err then return left end\n", ""),
    ("lib/page", "if size > 524288 and #lines > 0 then", "if #lines > 0 and false then"),
    ("lib/page", "if size > 524288 and #lines > 0 then", "if size > 524288 then"),
    ("lib/page", "return lines, true end", "return lines, false end"),
    ("lib/page", "  return lines, true\nend", "  return lines, false\nend"),
    ("lib/page", "    if piece.err then return piece, false end\n", ""),
    ("commit_run", "is_cancelled = cancel_at > 0", "is_cancelled = false"),
    ("commit_run", "if f[16] == '1' then put('nudged', '') end", ""),
    ("commit_run", "if #lines > 0 or consumed > 0 or answer == STATUS.PARKED then", "if true then"),
    ("commit_run", "taken = taken - consumed, timer", "taken = taken, timer"),
    ("commit_run", "      redis.call('ZCARD', timers_key)\n", ""),
    ("commit_run", "if n_walks > 0 then redis.call('HLEN', walks_key) end", ""),
    ("commit_run", "elseif answer == STATUS.PARKED and timer ~= '' then", "elseif false then"),
    ("claim_runs", "f[2] ~= entry or (", "("),
    ("claim_runs", "status == 'running' and f[4] == nonce and f[5] == owner", "false"),
    ("claim_runs", "if f[5] ~= owner then claims = claims + 1 end", "claims = claims + 1"),
    ("commit_run", "or consumed > 0 or answer == STATUS.PARKED then", "then"),
    ("claim_runs", "claims > limit then", "false then"),
    ("claim_runs", "tostring(epoch + 1), nonce", "tostring(epoch), nonce"),
    ("claim_runs", "redis.pcall('HMGET'", "redis.call('HMGET'"),
    ("claim_runs", "is_paused and status == 'ready' and", "is_paused and"),
    ("claim_runs", "is_paused and status == 'ready' and is_paused(f[11])", "false"),
    ("resume_runs", "elseif queue and is_paused(queue) then", "elseif false then"),
    ("resume_runs", "is_paused and f[1] == 'ready' and", "is_paused and"),
    ("lib/gates", "redis.pcall('HGET'", "redis.call('HGET'"),
    ("pause_queue", "'HSETNX'", "'HSET'"),
    ("resume_runs", "or f[5] ~= seq then", "then"),
    ("resume_runs", "or f[4] ~= nonce", ""),
    ("resume_runs", "f[2] ~= entry or", "false or"),
    ("release_entry", "put('epoch', (tonumber(f[3]) or 0) + 1)", ""),
    ("release_entry", "if f[2] ~= entry", "if false and f[2] ~= entry"),
    ("release_entry", "(epoch ~= '' and f[3] ~= epoch)", "false"),
    ("release_entry", "  redis.call('XLEN', queue_key)\n", ""),
    ("release_entry", "  redis.call('ZCARD', timers_key)\n", ""),
    ("fire_timer", "if due > now_ms(given_now) then", "if false then"),
    ("fire_timer", "if f[1] ~= expected or not due then", "if not due then"),
    ("fire_timer", "if (f[3] or '') ~= owner then return { STATUS.RETRY } end", ""),
    ("cancel_run", "if run.cancel_token == token then return { STATUS.OK, now, run.client } end", ""),
    ("cancel_run", "or run.cancel_at > 0 then", "then"),
    ("cancel_run", "if run.kids > 0 then redis.call('HSET', walks_key, 'x' .. id, 0) end", ""),
    ("cancel_run", "if run.kids > 0 then redis.call('HLEN', walks_key) end", ""),
    ("cancel_run", "if run.owner ~= owner then return { STATUS.RETRY } end", ""),
    ("cancel_run", "  run.status = 'parked'\n", ""),
    ("cancel_run", "if is_blocked then redis.call('HDEL', blocked_key, id) end", ""),
    ("cancel_run", "  redis.call('HLEN', blocked_key)\n", ""),
    ("settle_run", "if is_blocked then redis.call('HDEL', blocked_key, id) end", ""),
    ("settle_run", "if is_blocked then redis.call('HLEN', blocked_key) end", ""),
    ("commit_run", "if workflow then redis.call('HSET', KEYS[next_key], id, workflow) end", ""),
    ("commit_run", "      redis.call('HLEN', KEYS[next_key])\n", ""),
    ("unblock_runs", "elseif f[1] ~= 'blocked' then", "elseif not f[1] then"),
    ("unblock_runs", "elseif f[2] ~= queue then", "elseif false then"),
    ("unblock_runs", "if token ~= '' and f[3] == token then answers[i] = STATUS.OK end", ""),
    ("unblock_runs", " or (kind ~= 'stream' and kind ~= 'none') then", " then"),
    ("unblock_runs", "worker ~= '' and redis.call('TYPE', worker_key).ok == 'stream'", "worker ~= ''"),
    ("unblock_runs", "if #gone > 0 then redis.call('HDEL', blocked_key, unpack(gone)) end", ""),
    ("send_event", "if f[6] then return { STATUS.OK, now } end", ""),
    ("send_event", "if TERMINAL[f[1]] then return { STATUS.DONE } end", ""),
    ("watch_run", "if (f[3] or '1') == gen then", "if true then"),
    ("watch_run", "math.min(tonumber(position), redis.call('LLEN', journal_key))", "tonumber(position)"),
    ("watch_run", "if not TERMINAL[f[1]] and not string.find(", "if not string.find("),
    ("watch_run", "if marks < MOST_MARKS then", "if true then"),
    ("unwatch_run", "if clients ~= (f[2] or '') then", "if true then"),
    ("provide_input", "if f[8] then return { STATUS.OK, now } end", ""),
    ("provide_input", "or (tonumber(f[6]) or 0) > taken then", "then"),
    ("provide_input", "or string.sub(question, 1, #head) ~= head then", "then"),
    ("provide_input", "if expires_ms ~= '' and now >= tonumber(expires_ms) then return { STATUS.DONE } end", ""),
    ("provide_input", "if (f[3] or '') ~= owner then return { STATUS.RETRY } end", ""),
    ("provide_input", "redis.call('ZCARD', inputs_key)\n", ""),
    ("settle_run", "close_questions(inputs_key, questions_key, id, names)\n", ""),
    ("settle_run", "  redis.call('ZCARD', inputs_key)\n", ""),
    ("lib/questions", "elseif question and string.sub(question, 1, #head) == head then", "elseif question then"),
    ("lib/questions", "  redis.call('ZCARD', asked.inputs_key)\n", ""),
    ("lib/questions", "    redis.call('ZREM', inputs_key, id .. '\\n' .. name)\n", ""),
    ("settle_run", "due > now then", "false then"),
    ("settle_run", "if cause == 'poison' and", "if false and"),
    ("settle_run", "if status ~= 'cancelled' then reason", "if false then reason"),
    ("settle_run", "  redis.call('HLEN', walks_key)\n", ""),
    ("start_run", "if old[1] then", "if false then"),
    ("start_run", "redis.call('ZCARD', index_key)", ""),
    ("poll_due", "now + tonumber(lease_ms)", "now"),
    ("close_worker", "redis.call('XLEN', stream_key) > 0 or", ""),
    ("close_worker", "(beat ~= '' and moved ~= beat)", "false"),
    ("drop_consumer", "if #pending > 0 then return { STATUS.RETRY } end", ""),
    ("advance_walk", "if redis.call('HGET', walks_key, item) ~= cursor then return { STATUS.STALE } end", ""),
    ("expire_children", "if redis.call('HGET', walks_key, item) ~= cursor then return { STATUS.STALE } end", ""),
    ("expire_children", "if parent_status and not TERMINAL[parent_status] then", "if false then"),
    ("expire_children", "not f.err and f[1] and TERMINAL[f[1]]", "not f.err and f[1]"),
    ("lib/entry", "if worker_key and redis.call('TYPE', worker_key).ok == 'stream' then", "if worker_key then"),
    ("lib/entry", "  redis.call('XLEN', queue_key)\n", ""),
    ("lib/deliver", "  redis.call('LLEN', inbox_key)\n", ""),
    ("lib/deliver", " and run.nudged ~= '1'", ""),
    ("lib/deliver", "\n    and redis.call('TYPE', worker_key).ok == 'stream' then", " then"),
    ("lib/finish", "told.owner == parent.owner", "true"),
    ("lib/finish", "and run.notify == '1'", ""),
    ("lib/finish", "and not TERMINAL[told.status] then", "then"),
    ("lib/finish", "(TERMINAL[told.status] and redis.call('PTTL', parent.run_key) ~= -1)", "false"),
    ("lib/finish", "(TERMINAL[told.status] and redis.call('PTTL', parent.run_key) ~= -1)", "TERMINAL[told.status]"),
    ("lib/finish", "if plan.has_timers then redis.call('ZCARD', keys.timers) end", ""),
    ("lib/finish", "if plan.walks then redis.call('HLEN', keys.walks) end", ""),
    ("lib/finish", "if plan.has_timers then redis.call('ZREM'", "if false then redis.call('ZREM'"),
    ("lib/finish", "if plan.has_mail then redis.call('DEL', keys.inbox) end", ""),
    ("lib/family", "and not string.find(child.mode, 'c', 1, true)", ""),
    ("lib/family", "    if is_unborn then return 'refuse' end\n", ""),
    ("lib/family", "    if child.is_leftover then redis.call('DEL', child.run_key) end\n", ""),
    ("lib/family", "if family.kids == 0 then redis.call('DEL', family.children_key) end", ""),
    ("lib/family", "redis.call('ZCARD', family.timers_key)", "local _ = 0"),
    ("lib/family", "(found[5] or '1') == family.gen or", "true or"),
    ("lib/family", "and is_same and not found[6])", "and is_same)"),
    ("lib/family", "(tonumber(found[7]) or 1) + 1", "1"),
    ("lib/family", "'notify', '1', 'pgen', family.gen, ", "'notify', '1', "),
    ("lib/renew", "  redis.call('XLEN', queue_key)\n", ""),
    ("lib/renew", "  redis.call('ZCARD', keys.timers)\n", ""),
    ("lib/renew", "redis.call('HDEL', keys.run, 'started')", ""),
    ("lib/renew", "'w' .. id, 'd' .. id, 'r' .. id)", "'w' .. id)"),
    ("lib/renew", "put('deadline', '')", ""),
    ("lib/create", "ZADD', timers_key, now + delay_ms + timeout_ms", "ZADD', timers_key, now + timeout_ms"),
    ("lib/finish", "told.gen == run.pgen and ", ""),
    ("settle_run", "  elseif run.is_started\n    and (", "  elseif ("),
    ("settle_run", "due + grace > now or run.saga", "run.saga"),
    ("cancel_run", "if not run.is_started then", "if run.epoch == 0 then"),
    ("commit_run", "local leaves = want == 'park' or want == 'renew'", "local leaves = want == 'park'"),
    ("lib/family", "  redis.call('ZCARD', family.index_key)\n", ""),
    ("lib/family", "  if family.kids > 0 then redis.call('ZCARD', family.children_key) end\n", ""),
    ("lib/family", "elseif f[2] ~= '1' then", "else"),
    ("lib/family", "'notify', '1', 'hint', family.owner", "'notify', '1'"),
    ("lib/family", "is_notified(child.fields) and (", "("),
    ("lib/create", "  redis.call('DEL', journal_key)\n", ""),
    ("lib/ending", "if plan.entry_key then drop_entry(plan.entry, plan.entry_key) end", ""),
    ("lib/ending", "if plan.nudge_key then", "if false then"),
    ("take_sweep", "if due > now and due < now + HOUR_MS then", "if false then"),
    ("take_sweep", "if due > now and due < now + HOUR_MS then", "if due > now then"),
    ("sift_runs", "and (f[6] or '') == ''", ""),
    ("sift_runs", " or redis.call('PTTL', run_key) ~= -1)", ")"),
    ("repair_run", "run.owner ~= owner or ", ""),
    ("repair_run", " and has == tonumber(length)", ""),
    ("repair_run", "if not INCURABLE[kind] then", "if true then"),
    ("lib/structure", "if pending.err or #pending > 0 then return true end", "if pending.err then return true end"),
    ("lib/structure", "if pending.err or #pending > 0 then return true end", "do return true end"),
    ("lib/structure", "return is_later(entry_id, delivered)", "return false"),
    ("lib/structure", "math.max(due[letter], now) + (letter == 'r' and DAY_MS or lease_ms)", "due[letter]"),
    ("lib/structure", "(letter == 'r' and DAY_MS or lease_ms)", "lease_ms"),
    ("lib/structure", "f[2] ~= '1' or f[3] ~= run.gen", "f[2] ~= '1'"),
    ("lib/structure", "not score or tonumber(score) > math", "not score or false and tonumber(score) > math"),
    ("lib/structure", "elseif score and not may_stay[letter] then", "elseif score then"),
    ("lib/structure", "if may_stay.g then due.g = nil end", ""),
    ("lib/structure", "run.mail > run.taken and 'message_left' or 'inbox_left'", "'message_left'"),
    ("lib/structure", "if child.is_untold then", "if true then"),
    ("lib/structure", "elseif not f.err and (", "elseif false and ("),
    ("lib/structure", "or run.cancel_at > 0 or run.saga", "or run.saga"),
    ("lib/structure", " or run.saga == 'undoing' then return end", " then return end"),
    ("lib/structure", "not number or tonumber(number) > (tonumber(f[4]) or 0)", "not number"),
    ("lib/structure", "if redis.call('HEXISTS', keys.walks, letter .. run.parent) == 1 then return end", ""),
    ("lib/structure", "if redis.call('HEXISTS', keys.walks, 'e' .. run.parent) == 1 then return end", ""),
    ("lib/structure", "(not TERMINAL[status] or redis.call('PTTL', keys.parent) == -1)", "not TERMINAL[status]"),
    ("lib/structure", "and not (key == keys.children and is_walked)", ""),
    ("lib/structure", "put('epoch', run.epoch + 1)", "put('epoch', run.epoch)"),
    ("lib/structure", "if plan.nudge_key then redis.call('XADD', plan.nudge_key, '*', 'n', id) end", ""),
    ("lib/structure", "run.mail, run.wake_key = run.mail + 1, nil", ""),
    ("lib/structure", "  redis.call('XLEN', keys.queue)\n", ""),
    ("register_schedule", "f[1] == expression and is_moment(f[2])", "is_moment(f[2])"),
    ("register_schedule", "f[1] == expression and is_moment(f[2])", "f[1] == expression"),
    ("register_schedule", " or (is_same and cursor ~= known) then", " then"),
    ("register_schedule", "f[3] == '1' and never_ms or next_ms", "next_ms"),
    ("register_schedule", "redis.call('ZCARD', schedules_key)\n", ""),
    ("register_schedule", "if not is_same then fields[n + 7]", "if false then fields[n + 7]"),
    ("lib/moment", "and #text <= 14 and", "and"),
    ("poll_schedules", "f[1] == expression and is_moment(f[2])", "is_moment(f[2])"),
    ("poll_schedules", "now + tonumber(lease_ms), name", "now, name"),
    ("poll_schedules", "redis.pcall('HMGET'", "redis.call('HMGET'"),
    ("poll_schedules", "if next_look == '' or look_at < next_look then", "if next_look == '' then"),
    ("tick_schedule", "f[1] ~= expression or", "false or"),
    ("tick_schedule", "or f[2] ~= cursor or", "or"),
    ("tick_schedule", "or f[3] == '1' then", "then"),
    ("tick_schedule", "if (f[4] or '') ~= last_run then return { STATUS.RETRY } end", ""),
    ("tick_schedule", "if status and not TERMINAL[status] then", "if status then"),
    ("tick_schedule", "if old[4] == token then return { STATUS.OK, now, done } end", ""),
    ("tick_schedule", "and fields[i + 1] ~= old[2]", "and false"),
    ("tick_schedule", "not is_same_digest(fields[i + 1], old[3])", "false"),
    ("tick_schedule", "if want ~= 'trigger' then\n  redis.call('HSET'", "if true then\n  redis.call('HSET'"),
    ("tick_schedule", "redis.call('ZCARD', schedules_key)\n", ""),
    ("tick_schedule", "  redis.call('ZCARD', index_key)\n", ""),
    ("tick_schedule", "'last_at', new_cursor, 'error', '')", "'last_at', new_cursor)"),
    ("change_schedule", "'paused', '', 'cursor', now,", "'paused', '',"),
    ("change_schedule", "(want == 'pause') == (f[2] == '1')", "want == 'pause' and f[2] == '1'"),
    ("change_schedule", "  redis.call('ZREM', schedules_key, name)\n", ""),
    ("change_schedule", "redis.call('ZCARD', schedules_key)\n", ""),
    ("lib/retention", "if ms and ms >= 0 and ms < 1e15 then", "if true then"),
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package and these tests, apart from everybody else's."""
    folder = tmp_path_factory.mktemp("mutants")
    shutil.copytree(ROOT / "durable_async", folder / "durable_async")
    shutil.copytree(ROOT / "tests" / "lua", folder / "tests" / "lua")
    for name in ("tests/conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.mark.long
@pytest.mark.parametrize(("name", "good", "bad"), MUTANTS)
def test_it_is_caught(copy: Path, name: str, good: str, bad: str) -> None:
    script = copy / "durable_async" / "store" / "lua" / f"{name}.lua"
    text = script.read_text()
    assert good in text, "the transition has changed: so must its mutant"
    script.write_text(text.replace(good, bad, 1))
    arguments = ["tests/lua", "-q", "-x", "-p", "no:cacheprovider", "--ignore=tests/lua/test_contract.py"]
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *arguments], cwd=copy, env=environment, capture_output=True, text=True
        )
    finally:
        script.write_text(text)
    assert done.returncode == 1 and "FAILED" in done.stdout, f"survived:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


def test_every_mutant_still_applies() -> None:
    for name, good, _ in MUTANTS:
        text = (ROOT / "durable_async" / "store" / "lua" / f"{name}.lua").read_text()
        assert good in text, f"{name} has changed: so must its mutant {good!r}"
