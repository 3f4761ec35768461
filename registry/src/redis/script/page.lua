-- Reads a page of live entries in the order of their ids, limited by count and by bytes.
--
-- Returns epoch, revision, the id after which the next page begins (empty after the last page), and
-- the entries.

local first, last, count, bytes = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
-- For a watch, expired entries are removed here: their expiry must be published before the
-- snapshot, because the watch could not make sense of it afterwards.
local watched = ARGV[6] == '1'

local ids = redis.call('ZRANGEBYLEX', IDS, first, last, 'LIMIT', 0, count)
local read, size, entries = 0, 0, {}
for _, id in ipairs(ids) do
  local entry = redis.call('HMGET', entry_key(id), 'expires', 'registered', 'heard', 'offer')
  local at = entry[1] and tonumber(entry[1])
  if at and at > now then
    local offer = entry[4] or ''
    entries[#entries + 1] = { id, entry[2] or '', entry[3] or '', offer }
    size = size + #offer
  elseif watched then
    remove(id, 'expired')
  end
  read = read + 1
  if size >= bytes then
    break
  end
end

local after = ''
if read > 0 and (read < #ids or read == count) then
  after = ids[read]
end
local current_epoch
if watched then
  current_epoch = epoch()
else
  -- A plain lookup writes nothing, so it does not begin an epoch.
  current_epoch = redis.call('HGET', STATE, 'epoch') or ''
end
return { current_epoch, revision(), after, entries }
