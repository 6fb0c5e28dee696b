"""Headers of the HTTP API that are not the original's (docs/reference/http.md)."""

from __future__ import annotations

from urllib.parse import quote

from backbeat.payload.values import id_text

CLIENT_HEADER = "Client-Id"
#: Name of a person, whose token is in Authorization; and why the person changes something, percent-encoded.
PERSON_HEADER = "Person"
REASON_HEADER = "X-backbeat-reason"
KEY_HEADER = "Idempotency-Key"
TID_HEADER = "X-backbeat-tid"
STALE_HEADER = "X-backbeat-stale-seconds"
#: Where more follow: the word by which the next page is asked for.
NEXT_HEADER = "X-backbeat-next"

#: On an answer to GET /users: count of the partitions of commands; 0: the gateway does not know it yet.
PARTITIONS_HEADER = "X-backbeat-partitions"

#: `1`: nodes and refusals come with all fields, and JSON values keep their keys.
WHOLE_HEADER = "X-backbeat-whole"
#: RFC 7240: `wait=5` waits until a node has ended, 5 seconds at most.
PREFER_HEADER = "Prefer"
WAIT_SECONDS_MAX = 30.0
#: Seconds, on answers 429 and 503.
RETRY_AFTER_HEADER = "Retry-After"


def caller_headers(token: str | None, person: str | None, reason: str) -> dict[str, str]:
    """Headers of all calls: who makes them, why, and that payloads are given whole."""
    headers = {WHOLE_HEADER: "1"}
    if token is not None:
        headers["Authorization"] = f'Token token="{token}"'
    if person is not None:
        headers[PERSON_HEADER] = person
        if reason:
            headers[REASON_HEADER] = quote(reason, safe=" ")
    return headers


def client_header(user_id: bytes) -> dict[str, str]:
    """Header that names a client application; none for a person who asks for all."""
    return {CLIENT_HEADER: id_text(user_id)} if user_id else {}


def timeout_advice(*, is_command: bool, is_read: bool) -> str:
    """Advice in the error of a call that was not answered in time."""
    if is_read:
        return "Is a gateway running?"
    if is_command:
        return "It may still be applied; to ask again without doing it twice, use the same idempotency key"
    return "It may still be done: see what became of it before you ask again"
