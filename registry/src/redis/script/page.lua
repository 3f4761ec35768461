-- Reads some entries in the order of their ids: at most so many, and so many bytes. Returns where it stands in what
-- happens, after which id to read on (empty if that was all), and the entries.

local first, last, count, bytes = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
-- For a watch: what is over must be told to have expired, or it would be told later of something that the reader has
-- never seen.
local watched = ARGV[6] == '1'

local ids = redis.call('ZRANGEBYLEX', IDS, first, last, 'LIMIT', 0, count)
local read, size, entries = 0, 0, {}
for _, id in ipairs(ids) do
  local entry = redis.call('HMGET', entry_of(id), 'expires', 'registered', 'heard', 'offer')
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
local began
if watched then
  began = epoch()
else
  began = redis.call('HGET', STATE, 'epoch') or ''
end
return { began, revision(), after, entries }
