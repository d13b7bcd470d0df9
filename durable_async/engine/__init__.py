"""The engine: turns a journal and new messages into records and commands. No Redis, no clock, no I/O in here."""
