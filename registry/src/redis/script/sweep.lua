-- Removes a batch of expired entries.
--
-- Returns the epoch, the revision, how many entries were checked, and the error of publishing, if
-- there was one.

hold()
-- A sweep that removes nothing writes, too, so that the caller notices an outage when it begins. A
-- lack of memory is no outage, because Redis still accepts heartbeats.
if ARGS[2] == '1' and now - swept >= math.min(LEASE / 16, 5000) then
  local reply = redis.pcall('HSET', STATE, 'swept', string.format('%.0f', now))
  if type(reply) == 'table' and reply.err and not string.find(reply.err, 'OOM', 1, true) then
    redis.call('HSET', STATE, 'swept', string.format('%.0f', now))
  end
end
local checked = sweep(tonumber(ARGS[1]))
return { epoch(), revision(), tostring(checked), publish_error or '' }
