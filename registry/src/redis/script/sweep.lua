-- Removes a batch of expired entries.
--
-- Returns the epoch, the revision, how many entries were checked, and the error of publishing, if there was one.

local checked = sweep(tonumber(ARGV[2]))
return { epoch(), revision(), tostring(checked), publish_error or '' }
