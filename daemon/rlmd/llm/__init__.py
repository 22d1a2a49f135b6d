"""One spender for every session: any model endpoint, shared, bounded and cancellable.

From the outside in, a call passes the response cache and the flights (`caller`), retries (`retry`),
a fair place in the endpoint's gate (`gate`, `fair`, `aimd`, `windows`), the breaker (`breaker`), a total
deadline, and then an `Upstream`: `wire` for a server, `command` for a program, `scripted` for tests.
"""
