"""Servers that durable_async runs itself: one per data directory for users, private short-lived ones for tests.

`embedded` starts and finds the server of a data directory, `ephemeral` a throw-away one; `binary` finds the program.
The others (`home`, `probe`, `process`, `supervisor`, `guard`) also run in helper processes that must start fast and
stay small: they import the standard library and one another, nothing else.

This module imports nothing, for the same reason.
"""
