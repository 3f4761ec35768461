-- Inserts an entry, or replaces the one with the same id.

local id, first, last, instance, offer = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local lease, max_instances, max_registrations = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local refuse_duplicates, owner = ARGV[10] == '1', ARGV[11]

local exists = redis.call('ZSCORE', IDS, id)
if exists and not is_live(id) then
  remove(id, 'expired')
  exists = false
end
local is_own = exists and is_covered(id, '=' .. instance, owner)
if exists and not is_own and protected_for(id) > 0 then
  return owned(id)
end
-- The same registration again acts as a heartbeat.
if
  is_own
  and redis.call('HGET', entry_key(id), 'offer') == offer
  and (redis.call('HGET', entry_key(id), 'owner') or '') == owner
then
  redis.call('ZADD', DUE, renew(id, lease), id)
  return { 'ok' }
end

if not exists then
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
  -- Terminates: a sweep removes or requeues every entry that it checks, so one checks none in the
  -- end.
  while redis.call('ZCARD', IDS) >= max_registrations do
    if sweep(256) == 0 then
      return { 'full' }
    end
  end
end

local position = next_position()
-- Deleted first, so that no field of the old entry remains.
redis.call('DEL', entry_key(id))
redis.call('HSET', entry_key(id), 'instance', instance, 'owner', owner, 'offer', offer,
  'registered', now_micros)
redis.call('ZADD', DUE, renew(id, lease), id)
redis.call('ZADD', IDS, 0, id)
publish(position, exists and 'updated' or 'joined', describe(id))
return { 'ok', publish_error }
