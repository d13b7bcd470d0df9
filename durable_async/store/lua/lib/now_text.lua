--- @include "lib/now"
local clock_text = nil

-- The same as text, for what only writes it: made once in a batch.
local function now_text(given)
  if given ~= '' then return given end
  clock_text = clock_text or string.format('%.0f', now_ms(given))
  return clock_text
end
