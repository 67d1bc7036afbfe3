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
local answers = {}
local index = 0
while at < #ARGV do
  local pair = arg()
  index = index + 1
  local is_held = held[pair] or held['*']
  local registered = tonumber(redis.call('ZSCORE', key('wanted'), pair))
  if not registered and redis.call('ZCARD', key('wanted')) < pairs_max then
    registered = next_version()
    redis.call('ZADD', key('wanted'), registered, pair)
  end
  if is_held or not registered then
    table.insert(answers, { 'm' })
  else
    redis.call('ZADD', key('asked'), now, pair)
    local entry = key('e:' .. pair)
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
    local is_ours = found.token == kept
    local is_old = found['until'] and tonumber(found['until']) <= now
    if is_ours and found['until'] and not is_old then
      redis.call('PEXPIRE', entry, wanted_ms)
      table.insert(answers, readings)
    elseif version < math.max(registered, floor) then
      table.insert(answers, { 'm' })
    else
      if not is_ours or is_old then
        redis.call('DEL', entry)
        found.nonce = token .. ':' .. index
        redis.call('HSET', entry, 'token', kept, 'nonce', found.nonce)
      end
      redis.call('PEXPIRE', entry, wanted_ms)
      table.insert(answers, { 'f', found.nonce })
    end
  end
end
return { now, 'ok', answers }
