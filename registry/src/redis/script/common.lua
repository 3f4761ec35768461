-- What the scripts share; it stands before each of them.
--
-- KEYS[1] is the prefix of all keys, KEYS[2] the channel of changes. ARGV[1] is the epoch to begin if there is none.

local prefix, CHANGES = KEYS[1], KEYS[2]
local IDS, DUE, STATE = prefix .. 'ids', prefix .. 'due', prefix .. 'state'

-- For how many ms an entry outlives its lease, so that whoever sweeps can still say what expired.
local KEPT = 3600000

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local now_micros = clock[1] .. string.format('%06d', clock[2])

local function entry_of(id)
  return prefix .. 'entry:' .. id
end

-- When its lease is over, in ms; false if there is no entry.
local function expiry(id)
  local at = redis.call('HGET', entry_of(id), 'expires')
  return at and tonumber(at)
end

-- For ids out of the index.
local function is_live(id)
  local at = expiry(id)
  return at and at > now
end

-- For ids from elsewhere: an entry that the index has lost is found by nobody, so it must register again.
local function is_known(id)
  return redis.call('ZSCORE', IDS, id) and is_live(id)
end

local function epoch()
  redis.call('HSETNX', STATE, 'epoch', ARGV[1])
  return redis.call('HGET', STATE, 'epoch')
end

local function revision()
  return redis.call('HGET', STATE, 'revision') or '0'
end

-- Redis takes nothing back of a script that fails. So what may be refused comes first (more memory), and what is
-- told comes last and may fail alone.

-- Takes the next place in what happens. Whoever is not told of this change notices by the next one.
local function next_place()
  local began = epoch()
  redis.call('HINCRBY', STATE, 'revision', 1)
  return began .. '\n' .. revision()
end

-- What there is to tell of an entry, while it is there.
local function about(id)
  local entry = redis.call('HMGET', entry_of(id), 'registered', 'heard', 'offer')
  return (entry[1] or '') .. '\n' .. (entry[2] or '') .. '\n' .. (entry[3] or '')
end

-- Why a change was told to nobody, if one was not: whoever may write need not be allowed to publish.
local untold

-- Tells those who listen.
local function tell(place, kind, what)
  local told = redis.pcall('PUBLISH', CHANGES, place .. '\n' .. kind .. '\n' .. what)
  if type(told) == 'table' and told.err then
    untold = told.err
  end
end

local function remove(id, kind)
  local place, what = next_place(), about(id)
  redis.call('DEL', entry_of(id))
  redis.call('ZREM', IDS, id)
  redis.call('ZREM', DUE, id)
  tell(place, kind, what)
end

local function renew(id, lease)
  local at = now + lease
  redis.call('HSET', entry_of(id), 'lease', lease, 'expires', at, 'heard', now_micros)
  redis.call('PEXPIREAT', entry_of(id), at + KEPT)
  return at
end

-- Looks at up to `limit` whose time may have come, and removes those that are not alive. The others are looked at
-- again when their lease is over: a heartbeat leaves the queue alone. Returns how many it looked at.
local function sweep(limit)
  local due = redis.call('ZRANGEBYSCORE', DUE, '-inf', now, 'LIMIT', 0, limit)
  for _, id in ipairs(due) do
    local at = expiry(id)
    if at and at > now then
      redis.call('ZADD', DUE, at, id)
    else
      remove(id, 'expired')
    end
  end
  return #due
end

local function is_meant(id, instance)
  return instance == '' or '=' .. (redis.call('HGET', entry_of(id), 'instance') or '') == instance
end

-- Finds the one that is meant: by its id if there is one, whoever is there now, else the only one between `first` and
-- `last` that is meant. An instance id stands behind a '='; empty means any. Returns an id, or false and, if there is
-- more to say, an answer.
local function resolve(id, first, last, instance)
  if id ~= '' then
    return is_known(id) and id
  end
  local meant = {}
  for _, other in ipairs(redis.call('ZRANGEBYLEX', IDS, first, last)) do
    if is_live(other) and is_meant(other, instance) then
      meant[#meant + 1] = other
    end
  end
  if #meant > 1 then
    return false, { 'ambiguous', tostring(#meant) }
  end
  return meant[1] or false
end
