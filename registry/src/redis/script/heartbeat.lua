-- Renews the lease of an entry, for the duration with which it was registered.

local instance, owner = ARGV[5], ARGV[6]
local id, reply = resolve(ARGV[2], ARGV[3], ARGV[4], instance)
if not id then
  return reply or { 'unknown' }
end
if not matches_instance(id, instance) then
  return { 'replaced', id }
end
if not is_covered(id, instance, owner) then
  return owned(id)
end
renew(id, tonumber(redis.call('HGET', entry_key(id), 'lease')) or 0)
return { 'ok' }
