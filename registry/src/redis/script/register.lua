-- Inserts an entry, or replaces the one with the same id.

hold()
local id, first, last, instance, offer = ARGS[1], ARGS[2], ARGS[3], ARGS[4], ARGS[5]
local lease, max_instances, max_registrations = tonumber(ARGS[6]), tonumber(ARGS[7]), tonumber(ARGS[8])
local refuse_duplicates, owner = ARGS[9] == '1', ARGS[10]

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
  and read(id, 'offer')[1] == offer
  and (read(id, 'owner')[1] or '') == owner
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
redis.call('HSET', ENTRIES, field(id, 'instance'), instance, field(id, 'owner'), owner,
  field(id, 'offer'), offer, field(id, 'registered'), now_micros)
redis.call('ZADD', DUE, renew(id, lease), id)
redis.call('ZADD', IDS, 0, id)
publish(position, exists and 'updated' or 'joined', describe(id))
return { 'ok', publish_error }
