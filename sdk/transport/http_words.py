"""Headers of the HTTP API that are not the original's (docs/reference/http.md)."""

from __future__ import annotations

CLIENT_HEADER = "Client-Id"
KEY_HEADER = "Idempotency-Key"
TID_HEADER = "X-backbeat-tid"
STALE_HEADER = "X-backbeat-stale-seconds"

#: On an answer to GET /users: how many partitions commands have; 0: the gateway does not know it yet.
PARTITIONS_HEADER = "X-backbeat-partitions"

#: `1`: nodes and refusals are told whole, and JSON values pass with their keys as they are.
WHOLE_HEADER = "X-backbeat-whole"
#: RFC 7240: `wait=5` asks for a node once it has ended, or after so many seconds as it is then.
PREFER_HEADER = "Prefer"
WAIT_SECONDS_MAX = 30.0
