-- Answers what a run has recorded since a place in its journal and what it is now, and registers who asks for hints.
-- Returns: {OK, now, fields…, journal lines, whether there are more, number of the first line} | {GONE}
-- Writes: run.
-- Repeat-safe: a mark is listed once.
-- Wakes: nobody.
local run_key = KEYS[1]
local journal_key = KEYS[2]
local given_now = ARGV[1]
local mark = ARGV[2]
local gen = ARGV[3]
local position = ARGV[4]
local page = ARGV[5]
--- @include "lib/now"
--- @include "lib/terminal"
--- @include "lib/page"

-- A watcher that is not listed looks by itself, only less often: so the list of those that died is bounded.
local MOST_MARKS = 100

local f = redis.call('HMGET', run_key, 'status', 'epoch', 'gen', 'created', 'started', 'waiting', 'attempt', 'saga',
  'client')
if not f[1] then return { STATUS.GONE } end
-- Another life of the id has another journal: it is told from its beginning. One that has become shorter, because the
-- server came back without its last writes, goes on from its end.
local first = 0
if (f[3] or '1') == gen then first = math.min(tonumber(position), redis.call('LLEN', journal_key)) end
local lines, has_more = read_page(journal_key, first, tonumber(page))
if lines.err then return lines end

local clients = f[9] or ''
f[9] = nil
if not TERMINAL[f[1]] and not string.find(' ' .. clients .. ' ', ' ' .. mark .. ' ', 1, true) then
  local _, marks = string.gsub(clients, '~', '')
  if marks < MOST_MARKS then
    redis.call('HSET', run_key, 'client', clients == '' and mark or clients .. ' ' .. mark)
  end
end
return { STATUS.OK, now_ms(given_now), f, lines, has_more and 1 or 0, first }
