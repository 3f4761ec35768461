-- Removes an entry, if it exists and belongs to the caller.

local instance, owner = ARGV[5], ARGV[6]
local id, reply = resolve(ARGV[2], ARGV[3], ARGV[4], instance)
if id and matches_instance(id, instance) then
  if not is_covered(id, instance, owner) then
    return owned(id)
  end
  remove(id, 'left')
end
return reply or { 'ok', publish_error }
