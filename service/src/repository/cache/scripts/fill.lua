-- Keeps what the table holds of some pairs, read since each got its nonce, unless that was changed meanwhile.
-- Arguments: how long it is good (ms), then for each pair its name, nonce, count of readings, and for each its field and the reading.
local good_ms = tonumber(arg())
local token = meta('token')
while at < #ARGV do
  local entry, nonce, count = key('e:' .. arg()), arg(), tonumber(arg())
  local known = redis.call('HMGET', entry, 'token', 'nonce')
  local is_good = token and known[1] == token and known[2] == nonce
  for _ = 1, count do
    local field, reading = arg(), arg()
    if is_good then
      raise(entry, field, reading)
    end
  end
  if is_good then
    redis.call('HSET', entry, 'until', now + good_ms)
  end
end
return now
