-- Keeps what lanes have committed of wanted pairs, and says how far they are.
-- Arguments: writer, the mark that it left last, the next one, the version that it knows, how long a pair is wanted (ms), most readings of a pair, count of lanes, for each its name, place, until when (ms) it is known to be complete, and as of
-- which version, then for each reading its pair, field and itself.
-- Answers: the time, and "anew" where the writer has to join again, or the version, "more" or "all", and the pairs that are wanted.
local writer, left, mark = arg(), arg(), arg()
local known, wanted_ms, most = tonumber(arg()), tonumber(arg()), tonumber(arg())
if meta('writer:' .. writer) ~= left then
  return { now, 'anew' }
end
redis.call('HSET', key('meta'), 'writer:' .. writer, mark)
local were_all_alive = true
for _ = 1, tonumber(arg()) do
  local name, stands, until_ms, version = arg(), arg(), arg(), arg()
  local epoch = place(stands)
  were_all_alive = were_all_alive and is_alive(name, epoch)
  local before = redis.call('HGET', key('progress'), name)
  if not before or is_before(before, stands) then
    redis.call('HSET', key('progress'), name, stands)
  end
  redis.call('HSET', key('words'), name, string.format('%d:%s:%s', epoch, until_ms, version))
end
-- A lane without a word is taken for one at rest as long as it does not move. What was kept then it may not have heard of.
if not were_all_alive then
  forget_all(mark)
end
while at < #ARGV do
  local entry, field, reading = key('e:' .. arg()), arg(), arg()
  if redis.call('HEXISTS', entry, 'nonce') == 1 then
    raise(entry, field, reading)
    if redis.call('HLEN', entry) > most then
      redis.call('DEL', entry)
    end
  end
end

-- Nobody has asked for these for a while.
local unasked = redis.call('ZRANGEBYSCORE', key('asked'), '-inf', now - wanted_ms, 'LIMIT', 0, 1000)
for _, pair in ipairs(unasked) do
  redis.call('ZREM', key('asked'), pair)
  redis.call('ZREM', key('wanted'), pair)
  redis.call('DEL', key('e:' .. pair))
end
if #unasked > 0 then
  redis.call('HSET', key('meta'), 'pruned', next_version())
end
local version = tonumber(meta('version') or '0')
if known < tonumber(meta('pruned') or '0') then
  return { now, version, 'all', redis.call('ZRANGE', key('wanted'), 0, -1) }
end
return { now, version, 'more', redis.call('ZRANGEBYSCORE', key('wanted'), '(' .. known, '+inf') }
