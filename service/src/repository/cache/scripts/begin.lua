-- Stored readings are about to be changed or removed: until that has ended nothing of them is answered or kept.
-- Arguments: who counts changes, the number of this one, token, then the pairs; "*" for all.
local name, number, token = arg(), tonumber(arg()), arg()
local known = redis.call('HGET', key('progress'), name)
local holds = key('holds:' .. name)
-- There in any case, whatever the pairs are.
redis.call('HSET', holds, number .. ':', '')
if known ~= '0:' .. (number - 1) then
  -- One was not told here.
  redis.call('HSET', holds, number .. ':*', '')
  forget_all(token)
end
redis.call('HSET', key('progress'), name, '0:' .. number)
while at < #ARGV do
  redis.call('HSET', holds, number .. ':' .. arg(), '')
end
return now
