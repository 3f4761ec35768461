-- Takes an entry out, if it is there.

local instance = ARGV[5]
local id, answer = resolve(ARGV[2], ARGV[3], ARGV[4], instance)
if id and is_meant(id, instance) then
  remove(id, 'left')
end
return answer or { 'ok', untold }
