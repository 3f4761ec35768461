-- Reads a page of live entries in the order of their ids, limited by count and by bytes.
--
-- Returns epoch, revision, the id after which the next page begins (empty after the last page), and
-- the entries.

local first, last, count, bytes = ARGS[1], ARGS[2], tonumber(ARGS[3]), tonumber(ARGS[4])
-- For a watch, expired entries are removed here: their expiry must be published before the
-- snapshot, because the watch could not make sense of it afterwards.
local watched = ARGS[5] == '1'
if watched then
  hold()
end

local ids = redis.call('ZRANGEBYLEX', IDS, first, last, 'LIMIT', 0, count)
local count_read, size, entries = 0, 0, {}
for _, id in ipairs(ids) do
  local entry = read(id, 'expires', 'registered', 'heard', 'offer')
  local at = entry[1] and tonumber(entry[1])
  if at and at > cutoff then
    local offer = entry[4] or ''
    entries[#entries + 1] = { id, entry[2] or '', entry[3] or '', offer }
    size = size + #offer
  elseif watched then
    remove(id, 'expired')
  end
  count_read = count_read + 1
  if size >= bytes then
    break
  end
end

local after = ''
if count_read > 0 and (count_read < #ids or count_read == count) then
  after = ids[count_read]
end
local current_epoch
if watched then
  current_epoch = epoch()
else
  -- A plain lookup writes nothing, so it does not begin an epoch.
  current_epoch = redis.call('HGET', STATE, 'epoch') or ''
end
return { current_epoch, revision(), after, entries }
