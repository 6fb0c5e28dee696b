"""Security drill: a whole installation over TLS, each part with the rights it needs, and attacks on it.

An *attack* (`attack`) has a name, the promise of SECURITY.md that it tries to break, and a check; its outcome is
whether the promise was kept, and by what that was seen. `run` has their order. The *installation* is thrown away: a
broker with an authority made on the spot, an engine, a gateway, and workers that run payments.
"""
