-- Shared by all scripts; prepended to each of them.
--
-- KEYS are all keys that the scripts access. A cluster and Dragonfly run no other scripts. ARGV
-- begins with the epoch to begin if there is none, the channel of changes, for how many ms the
-- sweeps of the caller have failed, and the lease of the caller in ms.

local IDS, DUE, STATE, ENTRIES = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local CHANGES, OUTAGE, LEASE = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local ARGS = { unpack(ARGV, 5) }

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local now_micros = clock[1] .. string.format('%06d', clock[2])

-- While Redis accepted no writes, no heartbeat could renew a lease, so a lease that expired
-- meanwhile proves nothing. Leases that expired after `cutoff` are held: they count as live until
-- one lease after the first write. `swept` is the time of the last sweep of any registry, so an
-- outage of the caller alone holds nothing.
local state = redis.call('HMGET', STATE, 'swept', 'held_from', 'held_until')
local swept, held_from = tonumber(state[1] or 0) or 0, tonumber(state[2] or 0) or 0
local held_until = tonumber(state[3] or 0) or 0
local last_write = math.min(now, math.max(swept, now - OUTAGE))
-- Heartbeats are sent every third of a lease, so a shorter outage makes no lease expire.
local is_outage = OUTAGE > 0 and now - last_write > LEASE / 3

local cutoff = now
if held_until > now then
  cutoff = math.min(now, held_from)
end
if is_outage then
  cutoff = math.min(cutoff, last_write)
end

-- Holds the leases that expired during an outage. Must be called first by every script that
-- writes. If Redis has no free memory, leases are not held.
local function hold()
  if is_outage then
    held_from, held_until = cutoff, now + LEASE
    redis.pcall('HSET', STATE, 'held_from', string.format('%.0f', held_from), 'held_until',
      string.format('%.0f', held_until), 'swept', string.format('%.0f', now))
  end
end

local function field(id, name)
  return name .. ':' .. id
end

-- Returns attributes of an entry, each of which is false if it is missing.
local function read(id, ...)
  local fields = { ... }
  for i, name in ipairs(fields) do
    fields[i] = field(id, name)
  end
  return redis.call('HMGET', ENTRIES, unpack(fields))
end

-- Returns when the lease of an entry expires, in ms; false if there is no such entry.
local function expiry(id)
  local at = read(id, 'expires')[1]
  return at and tonumber(at)
end

-- Returns whether an entry is live. For ids that come from the index.
local function is_live(id)
  local at = expiry(id)
  return at and at > cutoff
end

-- Returns whether an entry is live and in the index. For ids from callers: lookups do not find an
-- entry that the index has lost, so its agent must register again.
local function is_known(id)
  return redis.call('ZSCORE', IDS, id) and is_live(id)
end

local function epoch()
  local current = redis.call('HGET', STATE, 'epoch')
  if not current then
    redis.call('HSET', STATE, 'epoch', ARGV[1])
    current = ARGV[1]
  end
  return current
end

local function revision()
  return redis.call('HGET', STATE, 'revision') or '0'
end

-- Redis does not roll back a script that fails. So a script that adds data first writes what Redis
-- may refuse for lack of memory, and publishes last, where a failure does no harm.
--
-- A Redis without free memory refuses only the first write of a script, and never one that frees
-- memory. So removals and heartbeats begin with such a write, and always
-- work.

-- Advances the revision and returns the position of the change. A watch that misses a change
-- notices the gap at the next one.
local function next_position()
  local current_epoch = epoch()
  redis.call('HINCRBY', STATE, 'revision', 1)
  return current_epoch .. '\n' .. revision()
end

-- Returns the published form of an entry. Must be called while the entry exists.
local function describe(id)
  local entry = read(id, 'registered', 'heard', 'offer')
  return (entry[1] or '') .. '\n' .. (entry[2] or '') .. '\n' .. (entry[3] or '')
end

-- The error of publishing, if there was one: a user that may write may lack the right to publish.
local publish_error

-- Publishes a change.
local function publish(position, kind, description)
  local reply = redis.pcall('PUBLISH', CHANGES, position .. '\n' .. kind .. '\n' .. description)
  if type(reply) == 'table' and reply.err then
    publish_error = reply.err
  end
end

local function delete(id)
  redis.call('HDEL', ENTRIES, field(id, 'offer'), field(id, 'instance'), field(id, 'owner'),
    field(id, 'lease'), field(id, 'expires'), field(id, 'registered'), field(id, 'heard'))
end

local function remove(id, kind)
  local description = describe(id)
  delete(id)
  redis.call('ZREM', IDS, id)
  redis.call('ZREM', DUE, id)
  publish(next_position(), kind, description)
end

local function renew(id, lease)
  local at = now + lease
  redis.call('HDEL', ENTRIES, field(id, 'heard'))
  redis.call('HSET', ENTRIES, field(id, 'lease'), lease, field(id, 'expires'), at,
    field(id, 'heard'), now_micros)
  return at
end

-- Checks up to `limit` due entries and removes those that have expired. The others are queued again
-- for when their lease expires or is no longer held: a heartbeat does not touch the queue. Returns
-- how many entries were checked.
local function sweep(limit)
  local due = redis.call('ZRANGEBYSCORE', DUE, '-inf', now, 'LIMIT', 0, limit)
  for _, id in ipairs(due) do
    local at = expiry(id)
    if at and at > cutoff then
      redis.call('ZREM', DUE, id)
      redis.call('ZADD', DUE, math.max(at, held_until, now + 1), id)
    else
      remove(id, 'expired')
    end
  end
  return #due
end

-- Compares the instance id of an entry with one that is prefixed by '='; empty matches any.
local function matches_instance(id, instance)
  return instance == '' or '=' .. (read(id, 'instance')[1] or '') == instance
end

-- Returns whether a request may change an entry. The owner key decides if the entry has one,
-- otherwise the instance id, which is prefixed by '='. Everyone may change an entry without both.
local function is_covered(id, instance, owner)
  local entry = read(id, 'owner', 'instance')
  if entry[1] and entry[1] ~= '' then
    return entry[1] == owner
  end
  return not entry[2] or entry[2] == '' or '=' .. entry[2] == instance
end

-- Returns for how many ms an entry is protected from replacement by another instance: until half of
-- its lease has passed without a heartbeat.
local function protected_for(id)
  local entry = read(id, 'expires', 'lease')
  local expires, lease = tonumber(entry[1] or 0) or 0, tonumber(entry[2] or 0) or 0
  return math.max(0, expires - math.floor(lease / 2) - now)
end

-- Returns the reply to a request that may not change an entry.
local function owned(id)
  return { 'owned', id, string.format('%d', protected_for(id)) }
end

-- Resolves a reference to an id. A non-empty `id` is used if its entry is live, whatever its
-- instance id. Otherwise the only live entry between `first` and `last` with the instance id is
-- used. Returns the id, or false and possibly a reply for the caller.
local function resolve(id, first, last, instance)
  if id ~= '' then
    return is_known(id) and id
  end
  local matches = {}
  for _, other in ipairs(redis.call('ZRANGEBYLEX', IDS, first, last)) do
    if is_live(other) and matches_instance(other, instance) then
      matches[#matches + 1] = other
    end
  end
  if #matches > 1 then
    return false, { 'ambiguous', tostring(#matches) }
  end
  return matches[1] or false
end
