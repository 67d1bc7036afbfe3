-- What all scripts have before them.
-- ARGV[1]: what all keys begin with. ARGV[2]: the time, milliseconds since the Unix epoch; empty for that of this server.
local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local at = 2
local function arg()
  at = at + 1
  return ARGV[at]
end

local function key(name)
  return ARGV[1] .. name
end

-- What all rests on stands in one key, "meta", so that a server that runs out of memory takes all of it or nothing: the token that what is
-- kept must have, the version of what is wanted, the version from which on something may be kept (floor), that in which something was
-- wanted no longer (pruned), and each writer's mark.
local function next_version()
  return redis.call('HINCRBY', key('meta'), 'version', 1)
end

-- Nothing that is kept is good any longer. Nor is anything kept anew before all who write have heard of it: what they are about
-- to write may be of before.
local function forget_all(token)
  redis.call('HSET', key('meta'), 'token', token, 'floor', next_version())
end

-- All who write have to join anew.
local function forget_writers()
  local version = redis.call('HGET', key('meta'), 'version')
  redis.call('DEL', key('meta'))
  if version then
    redis.call('HSET', key('meta'), 'version', version)
  end
end

local function meta(field)
  return redis.call('HGET', key('meta'), field)
end

-- "epoch:number": where a lane stands, or how many changes were begun.
local function place(text)
  local epoch, number = string.match(text or '', '^(%d+):(%d+)$')
  return tonumber(epoch) or -1, tonumber(number) or -1
end

local function is_before(one, other)
  local one_epoch, one_number = place(one)
  local other_epoch, other_number = place(other)
  return one_epoch < other_epoch or (one_epoch == other_epoch and one_number < other_number)
end

-- A lane's word: of which epoch, until when it holds, and which version it has heard of.
local function word_of(name)
  local word = redis.call('HGET', key('words'), name)
  local epoch, until_ms, version = string.match(word or '', '^(%d+):(%d+):(%d+)$')
  return tonumber(epoch), tonumber(until_ms), tonumber(version)
end

local function is_alive(name, epoch)
  local of, until_ms = word_of(name)
  return of == epoch and until_ms > now
end

-- Keeps a reading unless a newer one is kept. The first 32 characters are time and id, in digits that order as the numbers do.
local function raise(entry, field, value)
  local known = redis.call('HGET', entry, field)
  if not known or string.sub(known, 1, 32) < string.sub(value, 1, 32) then
    redis.call('HSET', entry, field, value)
  end
end
