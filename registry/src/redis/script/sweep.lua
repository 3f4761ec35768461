-- Removes some of what is over. Returns the epoch, how many entries it looked at, and why some were told to nobody.

local looked = sweep(tonumber(ARGV[2]))
return { epoch(), tostring(looked), untold or '' }
