"""How long a failed node waits before it is tried again (behaviour document, section 4, "Client error")."""

from __future__ import annotations

from hashlib import blake2b

_FULL_RETRIES = 6
_JITTER_LOW = 0.8
_JITTER_SPAN = 0.4
_EXPONENT_MAX = 6
_DELAY_MS_MAX = 10 * 365 * 86_400_000


def jitter(node: bytes, attempt: int) -> float:
    """A factor from 0.8 to 1.2 that only this node's attempt has: a replay waits as long as the first run did."""
    digest = blake2b(node + attempt.to_bytes(8, "big"), digest_size=8).digest()
    return _JITTER_LOW + _JITTER_SPAN * (int.from_bytes(digest, "big") / 2**64)


def delay_ms(node: bytes, attempt: int, retry_interval_seconds: float, retries_remaining: int) -> int:
    """Milliseconds until the retry; `retries_remaining` is already lowered. Bounded to ten years."""
    exponent = min(_EXPONENT_MAX, max(0, _FULL_RETRIES - retries_remaining))
    delay = retry_interval_seconds * 1000.0 * jitter(node, attempt) * 2.0**exponent
    return int(min(delay, _DELAY_MS_MAX))
