"""Waits between a failed node's attempts.

A node with a backoff waits for its retry interval first, each time `factor` times as long, and never longer than
`longest_seconds`. One without waits as the original has it (behaviour document, section 4, "Client error").
"""

from __future__ import annotations

from hashlib import blake2b

from backbeat.schemas.messages.values import Backoff
from backbeat.streams.core.records import Node

_FULL_RETRIES = 6
_ORIGINALS_JITTER = 0.2
_EXPONENT_MAX = 6
#: Number of times that a wait grows, at most: what it costs to work one out has a bound.
_GROWTHS_MAX = 1_000
_DELAY_MS_MAX = 10 * 365 * 86_400_000


#: Waits of a node whose workers have no activity of its name: it goes to another one after a moment, and to whoever has
#: been deployed meanwhile.
_HANDED_BACK_FIRST_SECONDS, _HANDED_BACK = 1.0, Backoff(2.0, 60.0, 0.2)
#: Times that a node is handed back, at most: about an hour.
HANDED_BACK_MAX = 64


def handed_back_ms(node: Node) -> int:
    """Milliseconds until a node that was handed back goes to another worker."""
    return backoff_ms(node.id, node.attempt, _HANDED_BACK_FIRST_SECONDS, node.handed_back, _HANDED_BACK)


def wait_ms(node: Node, retry_after_seconds: float | None) -> int:
    """Milliseconds until the retry of a node that has failed, at most ten years; a retry is taken off already."""
    if retry_after_seconds is not None:
        return _bounded(retry_after_seconds * 1000.0)
    left = node.retries_remaining
    if node.backoff is None:
        return delay_ms(node.id, node.attempt, node.retry_interval_seconds, left)
    return backoff_ms(node.id, node.attempt, node.retry_interval_seconds, node.retries - left, node.backoff)


def delay_ms(node_id: bytes, attempt: int, retry_interval_seconds: float, retries_remaining: int) -> int:
    """The original's wait, in milliseconds. `retries_remaining`: after this failure."""
    exponent = min(_EXPONENT_MAX, max(0, _FULL_RETRIES - retries_remaining))
    return _bounded(retry_interval_seconds * 1000.0 * jitter(node_id, attempt, _ORIGINALS_JITTER) * 2.0**exponent)


def backoff_ms(node_id: bytes, attempt: int, first_seconds: float, spent: int, backoff: Backoff) -> int:
    """The wait by a backoff, in milliseconds. `spent`: retries that are gone, this one too."""
    seconds, longest = first_seconds, backoff.longest_seconds
    if backoff.factor > 1.0:
        # Multiplied step by step, as no power is the same to the last bit on all machines.
        for _ in range(min(spent - 1, _GROWTHS_MAX)):
            if seconds >= longest:
                break
            seconds *= backoff.factor
    return _bounded(min(seconds, longest) * 1000.0 * jitter(node_id, attempt, backoff.jitter))


def jitter(node_id: bytes, attempt: int, share: float) -> float:
    """A factor from 1 - share to 1 + share, by node and attempt: a replay waits as long as the first run did."""
    digest = blake2b(node_id + attempt.to_bytes(8, "big"), digest_size=8).digest()
    return 1.0 - share + 2.0 * share * (int.from_bytes(digest, "big") / 2**64)


def _bounded(milliseconds: float) -> int:
    return int(min(milliseconds, _DELAY_MS_MAX))
