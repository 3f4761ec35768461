-- Renews the lease of an entry, for the duration with which it was registered.

hold()
local instance, owner = ARGS[4], ARGS[5]
local id, reply = resolve(ARGS[1], ARGS[2], ARGS[3], instance)
if not id then
  return reply or { 'unknown' }
end
if not matches_instance(id, instance) then
  return { 'replaced', id }
end
if not is_covered(id, instance, owner) then
  return owned(id)
end
renew(id, tonumber(read(id, 'lease')[1]) or 0)
return { 'ok' }
