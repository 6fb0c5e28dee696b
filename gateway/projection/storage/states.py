"""A node's state as one number: both current statuses, and every past one.

Two thousand nodes of one kind go through the same few dozen states, whatever the filters: "errored now" or "was retried
once" are lists of states, and an index that begins with (user, state) holds the nodes of each in page order. So a page
of any combination of statuses is a merge of some index ranges, never a scan.

Bits, lowest first: server status (4), client status (3), waits for its fires_at (1), past client statuses (8), past
server statuses (11). A status change makes its target a past status.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b

from backbeat.schemas.messages.status import BUCKETS, CLIENT_WORDS, SERVER_WORDS, ClientStatus, ServerStatus

#: Bits of a state that have the server status.
SERVER_BITS = 0xF
_CLIENT_SHIFT = 4
_CLIENT_BITS = 0x7
_WAITS = 1 << 7
_HAD_SHIFT = 8
#: Codes of status changes: client statuses from 0, server statuses from here.
SERVER_CODES = len(ClientStatus)
CODES = len(ClientStatus) + len(ServerStatus)

DEACTIVATED_CODE = SERVER_CODES + ServerStatus.DEACTIVATED
COMPLETE_CODE = SERVER_CODES + ServerStatus.COMPLETE
ERRORED_CODE = int(ClientStatus.ERRORED)


def pack(server: int, client: int, *, waits: bool, had: int) -> int:
    """A state; `had`: one bit for the code of each past status."""
    return server | client << _CLIENT_SHIFT | (_WAITS if waits else 0) | had << _HAD_SHIFT


def server_of(state: int) -> ServerStatus:
    """Current server status."""
    return ServerStatus(state & SERVER_BITS)


def client_of(state: int) -> ClientStatus:
    """Current client status."""
    return ClientStatus(state >> _CLIENT_SHIFT & _CLIENT_BITS)


#: Server statuses of nodes that have failed: they wait for a retry, or for a person.
_FAILED = frozenset({ServerStatus.RETRYING, ServerStatus.RETRIES_EXHAUSTED, ServerStatus.ERRORED})


def has_failed(state: int) -> bool:
    """True for a node that has failed, and waits for a retry or for a person."""
    return state & SERVER_BITS in _FAILED


def waits(state: int) -> bool:
    """True if the node is started and waits for its fires_at."""
    return bool(state & _WAITS)


def had_of(state: int) -> int:
    """Past statuses of the node: one bit a code."""
    return state >> _HAD_SHIFT


def codes_of(word: str) -> list[int]:
    """Codes of a status word: of one machine, of both, or of none."""
    codes = []
    if word in CLIENT_WORDS:
        codes.append(int(CLIENT_WORDS[word]))
    if word in SERVER_WORDS:
        codes.append(SERVER_CODES + SERVER_WORDS[word])
    return codes


def matching(states: Iterable[int], current: str | None, past: str | None) -> list[int]:
    """States in which a node has the current status, or is in the bucket of this word, and had the past status."""
    server, client = SERVER_WORDS.get(current or ""), CLIENT_WORDS.get(current or "")
    past_statuses = sum(1 << code for code in codes_of(past or ""))
    return [
        state
        for state in states
        if (
            current is None
            or server_of(state) is server
            or client_of(state) is client
            or BUCKETS[server_of(state)] == current
        )
        and (past is None or had_of(state) & past_statuses)
    ]


@lru_cache(maxsize=4096)
def user_key(user_id: bytes) -> int:
    """Key of a user in the tables: 8 bytes are enough to tell users apart, and make narrow indexes."""
    return int.from_bytes(blake2b(user_id, digest_size=8).digest(), "big", signed=True)


@lru_cache(maxsize=4096)
def name_key(user_id: bytes, name: str) -> int:
    """Key of a user's name of workflows or nodes."""
    text = name.encode(errors="surrogatepass")
    return int.from_bytes(blake2b(user_id + text, digest_size=8).digest(), "big", signed=True)


@lru_cache(maxsize=4096)
def tid_key(tid: str) -> int:
    """Key of a transaction id."""
    return int.from_bytes(blake2b(tid.encode(errors="surrogatepass"), digest_size=8).digest(), "big", signed=True)


def pool_key(pool_id: bytes) -> int:
    """Key of a limit's pool: its id is a hash already."""
    return int.from_bytes(pool_id[:8], "big", signed=True)
