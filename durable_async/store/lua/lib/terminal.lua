-- The statuses in which nothing about a run changes any more, and the letters
-- that stand for them in messages.
local TERMINAL = {
  completed = 'c', failed = 'f', cancelled = 'x', compensated = 'u', compensation_failed = 'v',
}
