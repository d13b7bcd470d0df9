"""The protocol as it was built, as an explicit-state model: every interleaving of a few actors, up to a bound.

`words` the values of a state, `bodies` what workflows do; `store`, `family`, `room` and `outside` the scripts, each
an atomic function with the name of its Lua file; `workers` intake and runner, `others` everybody else, `moves` all
that may happen, accidents included; `laws` what must hold, `explorer` the search; `scenes` and `worlds` what is
explored, `variants` the rules left out.

`python -m tests.models.protocol` explores and prints the figures of docs/reliability/model.md.
"""
