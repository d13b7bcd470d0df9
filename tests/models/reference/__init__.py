"""The specification of the store, in plain Python: what every transition answers, and what it leaves behind.

`Reference` has one method per Lua script, of the same name. Its state is plain dataclasses (`state`), which say of a
run what its record, journal and inbox say, but not how: `keyspace` alone knows the names of keys and fields, and `wire`
alone the slots of the scripts. Between its methods nothing can happen, so none of them speaks of tokens that are
written "first", of keys declared, or of reads before writes: that is the business of the Lua, and of its tests.
"""

from .model import Reference

__all__ = ["Reference"]
