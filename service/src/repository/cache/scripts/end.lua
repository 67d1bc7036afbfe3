-- Stored readings were changed or removed.
-- Arguments: who counts changes, the number of this one, token, then the pairs; "*" for all.
local name, number, token = arg(), tonumber(arg()), arg()
local holds = key('holds:' .. name)
local is_known = redis.call('HDEL', holds, number .. ':') == 1
local is_of_all = redis.call('HDEL', holds, number .. ':*') == 1 or not is_known
if is_before(redis.call('HGET', key('progress'), name), '0:' .. number) then
  redis.call('HSET', key('progress'), name, '0:' .. number)
end
while at < #ARGV do
  local pair = arg()
  redis.call('HDEL', holds, number .. ':' .. pair)
  if pair == '*' then
    is_of_all = true
  else
    redis.call('DEL', key('e:' .. pair))
    -- Wanted anew: what was committed before the change is still to be written by those who have not heard of this.
    if redis.call('ZSCORE', key('wanted'), pair) then
      redis.call('ZADD', key('wanted'), next_version(), pair)
    end
  end
end
if is_of_all then
  forget_all(token)
end
return now
