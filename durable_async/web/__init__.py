"""The dashboard: pages rendered here, one style sheet and one small script, nothing from elsewhere.

Nothing below imports this folder but `Durable.dashboard`, when it is called: starlette and jinja2 come with the extra
`web`. What is shown is read as listings are, in pages; what is done goes through `Durable`, as for everybody.
"""
