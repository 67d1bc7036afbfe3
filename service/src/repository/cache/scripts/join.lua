-- A writer begins, or begins anew because it cannot say what of its readings is kept.
-- Arguments: writer, mark, token, count of lanes, and for each its name and place.
-- Answers: the time, the version, and the pairs that are wanted.
local writer, mark, token = arg(), arg(), arg()
if redis.call('HLEN', key('meta')) > 1000 then
  -- Most of them are gone.
  forget_writers()
end
forget_all(token)
redis.call('HSET', key('meta'), 'writer:' .. writer, mark)
for _ = 1, tonumber(arg()) do
  local name, stands = arg(), arg()
  redis.call('HSET', key('progress'), name, stands)
end
return { now, tonumber(meta('version')), redis.call('ZRANGE', key('wanted'), 0, -1) }
