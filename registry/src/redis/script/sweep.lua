-- Removes a batch of expired entries.
--
-- Returns the epoch, how many entries were checked, and the error of publishing, if there was one.

local checked = sweep(tonumber(ARGV[2]))
return { epoch(), tostring(checked), publish_error or '' }
