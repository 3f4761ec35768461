-- Renews a lease, for as long as it was taken.

local instance = ARGV[5]
local id, answer = resolve(ARGV[2], ARGV[3], ARGV[4], instance)
if not id then
  return answer or { 'unknown' }
end
if not is_meant(id, instance) then
  return { 'replaced', id }
end
renew(id, tonumber(redis.call('HGET', entry_of(id), 'lease')) or 0)
return { 'ok' }
