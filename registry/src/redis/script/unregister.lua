-- Removes an entry, if it exists and belongs to the caller. An administrator removes any entry.

hold()
local instance, owner, has_authority = ARGS[4], ARGS[5], ARGS[6] == '1'
local id, reply = resolve(ARGS[1], ARGS[2], ARGS[3], instance)
if id and matches_instance(id, instance) then
  if not has_authority and not is_covered(id, instance, owner) then
    return owned(id)
  end
  remove(id, 'left')
end
return reply or { 'ok', publish_error }
