-- Whether a field holds a moment in ms that a calendar can deal with: what was damaged is as if it were not there.
local function is_moment(text)
  return text and #text <= 14 and string.find(text, '^%d+$') ~= nil
end
