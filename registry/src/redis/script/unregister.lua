-- Removes an entry, if it exists.

local instance = ARGV[5]
local id, reply = resolve(ARGV[2], ARGV[3], ARGV[4], instance)
if id and matches_instance(id, instance) then
  remove(id, 'left')
end
return reply or { 'ok', publish_error }
