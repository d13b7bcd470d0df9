"""Every order of the store calls of clients, workers, reapers and timers, with faults, over the shipped code.

The code under test is what is shipped: `Worker` and `Durable` are composed as ever, on event loops of their own that
never wait (`loop`), over transports whose calls a scheduler lets through one at a time (`wire`, `world`), to a real
server with the real scripts. What the scheduler decided is a list of numbers: the same list, the same trace.
"""
