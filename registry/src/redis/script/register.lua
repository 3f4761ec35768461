-- Puts an entry in, or in the place of the one with the same id.

local id, first, last, instance, offer = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local lease, max_instances, max_registrations = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local refuse_duplicates = ARGV[10] == '1'

local known = redis.call('ZSCORE', IDS, id)
if known and not is_live(id) then
  remove(id, 'expired')
  known = false
end
if known and redis.call('HGET', entry_of(id), 'offer') == offer then
  redis.call('ZADD', DUE, renew(id, lease), id)
  return { 'ok' }
end

if not known then
  if refuse_duplicates then
    for _, other in ipairs(redis.call('ZRANGEBYLEX', IDS, first, last)) do
      if is_live(other) then
        return { 'duplicate', other }
      end
    end
  end
  if redis.call('ZLEXCOUNT', IDS, first, last) >= max_instances then
    for _, other in ipairs(redis.call('ZRANGEBYLEX', IDS, first, last)) do
      if not is_live(other) then
        remove(other, 'expired')
      end
    end
    if redis.call('ZLEXCOUNT', IDS, first, last) >= max_instances then
      return { 'instances' }
    end
  end
  -- What is alive is put off by each sweep, so that this ends.
  while redis.call('ZCARD', IDS) >= max_registrations do
    if sweep(256) == 0 then
      return { 'full' }
    end
  end
end

local place = next_place()
-- Nothing stays of whatever was there.
redis.call('DEL', entry_of(id))
redis.call('HSET', entry_of(id), 'instance', instance, 'offer', offer, 'registered', now_micros)
redis.call('ZADD', DUE, renew(id, lease), id)
redis.call('ZADD', IDS, 0, id)
tell(place, known and 'updated' or 'joined', about(id))
return { 'ok', untold }
