-- Whether two digests are of equal inputs. An encrypting codec makes one piece of 16 bytes for each of its keys, and
-- while keys are rotated processes have other sets of them: one common piece is enough. `found` is false if there is
-- none.
local function is_same_digest(digest, found)
  if digest == found then return true end
  if not found or (#digest <= 16 and #found <= 16) then return false end
  for i = 1, #digest - 15, 16 do
    for j = 1, #found - 15, 16 do
      if string.sub(digest, i, i + 15) == string.sub(found, j, j + 15) then return true end
    end
  end
  return false
end
