-- Nobody says what these have told any more: all is forgotten, and what is read from now on counts. Should one of them be heard of again, what
-- it has to tell is of before, and may have been changed since.
-- Arguments: token, then for each its name and place.
forget_writers()
forget_all(arg())
while at < #ARGV do
  local name, stands = arg(), arg()
  redis.call('HSET', key('progress'), name, stands)
  redis.call('HDEL', key('words'), name)
  redis.call('DEL', key('holds:' .. name))
end
return now
