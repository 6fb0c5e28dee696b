"""Backoff of a failed node's retries (behaviour document, section 4, "Client error")."""

from __future__ import annotations

from hashlib import blake2b

_FULL_RETRIES = 6
_JITTER_LOW = 0.8
_JITTER_SPAN = 0.4
_EXPONENT_MAX = 6
_DELAY_MS_MAX = 10 * 365 * 86_400_000


def jitter(node_id: bytes, attempt: int) -> float:
    """A factor from 0.8 to 1.2, by node and attempt: a replay waits as long as the first run did."""
    digest = blake2b(node_id + attempt.to_bytes(8, "big"), digest_size=8).digest()
    return _JITTER_LOW + _JITTER_SPAN * (int.from_bytes(digest, "big") / 2**64)


def delay_ms(node_id: bytes, attempt: int, retry_interval_seconds: float, retries_remaining: int) -> int:
    """Milliseconds until the retry, at most ten years. `retries_remaining`: after this failure."""
    exponent = min(_EXPONENT_MAX, max(0, _FULL_RETRIES - retries_remaining))
    delay = retry_interval_seconds * 1000.0 * jitter(node_id, attempt) * 2.0**exponent
    return int(min(delay, _DELAY_MS_MAX))
