"""What the SDK says to a gateway: a call, and headers that are its own (docs/reference/http.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CLIENT_HEADER = "Client-Id"
KEY_HEADER = "Idempotency-Key"
TID_HEADER = "X-backbeat-tid"
NEXT_HEADER = "X-backbeat-next"
STALE_HEADER = "X-backbeat-stale-seconds"

#: `1`: nodes and refusals are told whole, and JSON values pass with their keys as they are.
WHOLE_HEADER = "X-backbeat-whole"
#: With an Idempotency-Key: 32 hexadecimal digits that say what is asked, in place of the body as it came. The key,
#: percent-encoded, is then the one that a client of Kafka gives: a repeat may come either way.
ASKED_HEADER = "X-backbeat-asked"
#: RFC 7240: `wait=5` asks for a node once it has ended, or after so many seconds as it is then.
PREFER_HEADER = "Prefer"
WAIT_SECONDS_MAX = 30.0


@dataclass(frozen=True, slots=True)
class HttpCall:
    """One call."""

    method: str
    path: str
    body: bytes | None = None
    query: Mapping[str, str] | None = None
