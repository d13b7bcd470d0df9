-- Acks and deletes entries of one stream that a script has found settled.
-- Returns: {OK}
-- Writes: the stream.
-- Repeat-safe: an entry that is gone is ignored.
-- Wakes: nobody.
local stream_key = KEYS[1]
redis.call('XACK', stream_key, 'workers', unpack(ARGV))
redis.call('XDEL', stream_key, unpack(ARGV))
return { STATUS.OK }
