-- Lines of a list from position `first` on: at most `count`, and beyond the first not more than a budget of bytes,
-- for a reply is built in memory. Read in pieces, so that what is too much is not copied either. Returns the lines, and
-- whether there may be more; an error reply is returned as it is.
local function read_page(key, first, count)
  local lines, size, last = {}, 0, first + count - 1
  for at = first, last, 20 do
    local piece = redis.pcall('LRANGE', key, at, math.min(at + 19, last))
    if piece.err then return piece, false end
    if #piece < 2 and at == first and count > 1 then return piece, false end
    for _, line in ipairs(piece) do
      size = size + #line
      if size > 524288 and #lines > 0 then return lines, true end
      lines[#lines + 1] = line
    end
    if #piece < 20 then return lines, #lines == count end
  end
  return lines, true
end
