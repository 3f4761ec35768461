-- Removes some of what is over. Returns the epoch, and how many entries it looked at.

local looked = sweep(tonumber(ARGV[2]))
return { epoch(), tostring(looked) }
