--- @include "lib/entry"

-- The room of a limited queue. Who may run holds a slot: `slots` names the entry under which it was let in. Who may not
-- is in `room`, by order, or in `behind` if as many of its key as may be are in the room or hold slots; its record
-- names no entry but `G`, when and with which score it came. `tally` counts, for each key, those in the room and with
-- slots; `starts` holds when the last fresh runs were let in. A run goes from one place to the next in one script, and
-- who is next is let in by the script that makes room.

-- Above it are runs that have never started: those that have go on first, or all would begin and none would end.
local FRESH = 2 ^ 47

-- The order of a run in the room: started before fresh, higher priorities first, older runs first. As text.
local function score_of(is_fresh, lane, created)
  local priority = math.max(-10, math.min(10, tonumber(string.match(lane or '', ':(-?%d+)$')) or 0))
  local age = math.max(0, math.min(2 ^ 42 - 1, tonumber(created) or 0))
  return string.format('%016.0f', (is_fresh and FRESH or 0) + (10 - priority) * 2 ^ 42 + age)
end

-- The room of a queue by its eight keys, and what limits it; nil if nothing does and no record says that it was there.
-- A key of a wrong type raises here, before anything is written.
local function open_room(keys, at, queue, entry)
  local f = redis.pcall('HMGET', keys[at], 'l' .. queue, 'p' .. queue)
  local concurrency, starts, period, per_key = string.match(f[1] or '', '^(%d+) (%d+) (%d+) (%d+)$')
  if not concurrency and string.sub(entry or '', 1, 1) ~= 'G' then return nil end
  local room = {
    queue = queue, is_limited = concurrency ~= nil, is_paused = f[2] and true or false,
    concurrency = tonumber(concurrency) or 0, starts = tonumber(starts) or 0, period = tonumber(period) or 0,
    per_key = tonumber(per_key) or 0,
    gates_key = keys[at], timers_key = keys[at + 1], room_key = keys[at + 2], behind_key = keys[at + 3],
    slots_key = keys[at + 4], tally_key = keys[at + 5], starts_key = keys[at + 6], stream_key = keys[at + 7],
  }
  redis.call('ZCARD', room.timers_key)
  redis.call('ZCARD', room.room_key)
  redis.call('ZCARD', room.behind_key)
  redis.call('HLEN', room.slots_key)
  redis.call('HLEN', room.tally_key)
  redis.call('LLEN', room.starts_key)
  redis.call('XLEN', room.stream_key)
  return room
end

-- The entry under which a run was let in, and the key with which it is counted.
local function find_slot(room, id)
  local slot = redis.call('HGET', room.slots_key, id)
  if not slot then return nil, nil end
  return string.match(slot, '^([^\n]*)\n?(.*)$')
end

local function put_slot(room, id, key, entry)
  redis.call('HSET', room.slots_key, id, entry .. '\n' .. key)
end

local function has_slot_free(room)
  return not room.is_paused and (room.concurrency == 0 or redis.call('HLEN', room.slots_key) < room.concurrency)
end

-- When the next fresh run may be let in: never more than so many within any such period.
local function find_next_start(room)
  if room.starts == 0 then return 0 end
  return (tonumber(redis.call('LINDEX', room.starts_key, -room.starts) or '') or -room.period) + room.period
end

local function note_start(room, now)
  if room.starts == 0 then return end
  redis.call('RPUSH', room.starts_key, now)
  redis.call('LTRIM', room.starts_key, -room.starts, -1)
  redis.call('PEXPIRE', room.starts_key, room.period)
end

local function read_tally(room, key)
  return tonumber(redis.call('HGET', room.tally_key, key) or '') or 0
end

local function put_tally(room, key, count)
  if count > 0 then
    redis.call('HSET', room.tally_key, key, count)
  else
    redis.call('HDEL', room.tally_key, key)
  end
end

-- Lets in who is next, while there is room: their entries go to the queue's stream. Work is bounded: the rest, and a
-- start that has to wait for its time, are a timer's.
local function let_in(room, now)
  local due = nil
  for i = 1, 101 do
    local head = redis.call('ZRANGE', room.room_key, 0, 0, 'WITHSCORES')
    if not head[1] or not has_slot_free(room) then break end
    local is_fresh = tonumber(head[2]) >= FRESH
    due = is_fresh and find_next_start(room) or 0
    if i == 101 then due = math.max(due, now) end
    if due > now or i == 101 then
      redis.call('ZADD', room.timers_key, due, 'q' .. room.queue)
      break
    end
    local id, key = string.match(head[1], '^([^\n]*)\n?(.*)$')
    redis.call('ZREM', room.room_key, head[1])
    put_slot(room, id, key, add_entry(id, 'Q', room.stream_key))
    if is_fresh then note_start(room, now) end
  end
  -- Limits that were lifted stay known until whoever they had held up is gone.
  if room.is_limited and room.concurrency + room.starts + room.per_key == 0
    and redis.call('HLEN', room.slots_key) + redis.call('ZCARD', room.room_key) == 0
    and redis.call('ZCARD', room.behind_key) == 0 then
    redis.call('HDEL', room.gates_key, 'l' .. room.queue)
  end
end

-- Takes a run out of the room, or its slot away, and lets in who is next: first of its key, then of the queue. `entry`
-- is what its record names.
local function leave_room(room, now, id, key, entry)
  if redis.call('HDEL', room.slots_key, id) + redis.call('ZREM', room.room_key, id .. '\n' .. key) > 0 then
    if key ~= '' then
      local count = read_tally(room, key) - 1
      for _ = 1, 100 do
        local next = redis.call('ZRANGE', room.behind_key, '[' .. key .. '\0', '(' .. key .. '\1', 'BYLEX', 'LIMIT', 0,
          1)
        if not next[1] or (room.per_key > 0 and count >= room.per_key) then break end
        local place = #key + 2
        redis.call('ZREM', room.behind_key, next[1])
        redis.call('ZADD', room.room_key, string.sub(next[1], place, place + 15),
          string.sub(next[1], place + 16) .. '\n' .. key)
        count = count + 1
      end
      put_tally(room, key, count)
    end
  else
    local score = string.match(entry, '^G%d+%-(%d+)$')
    if score then redis.call('ZREM', room.behind_key, key .. '\0' .. score .. id) end
  end
  let_in(room, now)
end
