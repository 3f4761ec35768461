-- Removes an entry, if it exists and belongs to the caller.

hold()
local instance, owner = ARGS[4], ARGS[5]
local id, reply = resolve(ARGS[1], ARGS[2], ARGS[3], instance)
if id and matches_instance(id, instance) then
  if not is_covered(id, instance, owner) then
    return owned(id)
  end
  remove(id, 'left')
end
return reply or { 'ok', publish_error }
