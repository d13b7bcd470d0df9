-- Makes the stream of a client that waits for results, or keeps it for another while.
-- Returns: {OK}
-- Writes: client stream.
-- Repeat-safe: one more empty hint, which nobody reads.
-- Wakes: nobody.
local stream_key = KEYS[1]
local ttl_ms = ARGV[1]
-- In one script: a client that died in between left a stream for ever.
redis.call('XADD', stream_key, 'MAXLEN', '~', 1000, '*', '', '')
redis.call('PEXPIRE', stream_key, ttl_ms)
return { STATUS.OK }
