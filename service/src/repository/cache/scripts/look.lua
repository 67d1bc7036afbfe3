-- What is kept of some pairs, if it can be believed.
-- Arguments: token, most pairs, how long a pair is wanted (ms), count of places, for each its name, place and whether a change is
-- under way ("1"), then pairs.
-- Answers: the time, "ok" and for each pair {"h", readings…}, {"f", nonce} where it may be filled, {"m"} otherwise; or the time, why
-- nothing can be believed ("newer", "open", "behind"), and the names of which that is said.
local token, pairs_max, wanted_ms = arg(), tonumber(arg()), tonumber(arg())
local why = { newer = {}, open = {}, behind = {} }
local version = math.huge
local held = {}
for _ = 1, tonumber(arg()) do
  local name, stands, is_open = arg(), arg(), arg() == '1'
  local epoch = place(stands)
  local word_epoch, _, word_version = word_of(name)
  if word_epoch and word_epoch > epoch then
    table.insert(why.newer, name)
  elseif is_alive(name, epoch) then
    version = math.min(version, word_version)
  else
    local known = redis.call('HGET', key('progress'), name)
    local holds = redis.call('HKEYS', key('holds:' .. name))
    if known and is_before(stands, known) then
      table.insert(why.newer, name)
    elseif is_open and (known ~= stands or #holds == 0) then
      table.insert(why.open, name)
    elseif known ~= stands or (#holds > 0 and not is_open) then
      table.insert(why.behind, name)
    end
    for _, pair in ipairs(holds) do
      held[string.match(pair, '^%d+:(.*)$') or ''] = true
    end
  end
end
for _, reason in ipairs({ 'newer', 'open', 'behind' }) do
  if #why[reason] > 0 then
    return { now, reason, why[reason] }
  end
end

local kept = meta('token')
if not kept then
  kept = token
  redis.call('HSET', key('meta'), 'token', kept)
end
local floor = tonumber(meta('floor') or '0')

-- What is kept of a pair: whether it may be answered, its nonce where it may be filled, when it was asked for, and its readings.
local function kept_of(entry)
  local fields = redis.call('HGETALL', entry)
  local found = {}
  local readings = { 'h' }
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 1) == 'r' then
      table.insert(readings, fields[i + 1])
    else
      found[fields[i]] = fields[i + 1]
    end
  end
  local good_until = tonumber(found['until'])
  local is_ours = found.token == kept and not (good_until and good_until <= now)
  return is_ours and good_until ~= nil, is_ours and found.nonce, tonumber(found.asked or '0'), readings
end

-- Somebody wants it. Said again now and then, which is cheaper than each time.
local function ask_for(pair, entry)
  redis.call('ZADD', key('asked'), now, pair)
  redis.call('HSET', entry, 'asked', now)
  redis.call('PEXPIRE', entry, wanted_ms)
end

local answers = {}
local index = 0
while at < #ARGV do
  local pair = arg()
  local entry = key('e:' .. pair)
  index = index + 1
  if held[pair] or held['*'] then
    table.insert(answers, { 'm' })
  else
    local is_good, nonce, asked, readings = kept_of(entry)
    if is_good then
      if now - asked > wanted_ms / 10 then
        ask_for(pair, entry)
      end
      table.insert(answers, readings)
    else
      local registered = tonumber(redis.call('ZSCORE', key('wanted'), pair))
      if not registered and redis.call('ZCARD', key('wanted')) < pairs_max then
        registered = next_version()
        redis.call('ZADD', key('wanted'), registered, pair)
        redis.call('ZADD', key('asked'), now, pair)
      end
      if not registered or version < math.max(registered, floor) then
        table.insert(answers, { 'm' })
      else
        if not nonce then
          nonce = token .. ':' .. index
          redis.call('DEL', entry)
          redis.call('HSET', entry, 'token', kept, 'nonce', nonce)
        end
        ask_for(pair, entry)
        table.insert(answers, { 'f', nonce })
      end
    end
  end
end
return { now, 'ok', answers }
