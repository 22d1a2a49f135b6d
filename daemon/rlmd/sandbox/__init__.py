"""Model-written Python in a process of its own that can reach nothing.

`pool` is the actor and `host` one process as the daemon sees it.  `child`, `confine`, `preload`,
`documents`, `names` and `cell` run inside, on the standard library alone; `wire` is spoken by both.
"""
