"""Client application: its registry record, and the checks before it is written."""

import hashlib
import hmac
import re
import secrets
import uuid
from functools import lru_cache
from typing import Literal, Protocol
from urllib.parse import urlsplit

import msgspec

from backbeat.schemas.kafka.topics import activities_topic, has_topics
from backbeat.schemas.messages.json_text import JsonTextError, check_depth
from backbeat.schemas.requests.decoding import from_json

NAME_CHARACTERS_MAX = 255
URL_CHARACTERS_MAX = 2_000

#: A client's record is a flat object; later versions may add a little nesting.
_DEPTH_MAX = 16
_TOKEN_BYTES = 32
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f]+")
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?|[0-9a-f:.]*:[0-9a-f:.]*(%[\w]+)?")
_URL = re.compile(r"[\x21-\x7e]+")

Delivery = Literal["topic", "webhook"]
Connections = Literal["close", "pooled"]


class ClientError(Exception):
    """An invalid client application; the text says what to do."""


@lru_cache(maxsize=4_096)
def _activities_topic(name: str, identity: str) -> str:
    """Topic of a client, cached: engines ask for it at every activity."""
    return activities_topic(name if has_topics(name) else identity)


class RegisteredClient(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """A client application as the registry has it."""

    #: UUID, as text of 36 characters.
    id: str
    #: Unique and immutable: topics are named after it.
    name: str
    #: URL for decisions; None: the activity endpoint.
    decision_endpoint: str | None = None
    #: URL for activities.
    activity_endpoint: str | None = None
    #: URL for notifications; None: none are sent.
    notification_endpoint: str | None = None
    #: SHA-256 of the client's token, hexadecimal; empty: it has no token.
    token_hash: str = ""
    #: Delivery of its activities: to workers on its topic, or to its endpoints.
    delivery: Delivery = "topic"
    #: Connections of webhooks: one each, as servers with a thread a connection need it, or kept open and reused.
    connections: Connections = "close"

    @property
    def id_bytes(self) -> bytes:
        """The id's 16 bytes."""
        return uuid.UUID(self.id).bytes

    @property
    def topic(self) -> str:
        """Topic for its activities: of its name where that is a valid topic name, else of its id."""
        return _activities_topic(self.name, self.id)

    def has_token(self, token: str) -> bool:
        """True if this is the client's token; never for a client without one."""
        # Compared in full whatever is wrong, so the time does not depend on the token.
        is_same = hmac.compare_digest(self.token_hash.encode(), hash_token(token).encode())
        return is_same and bool(token) and bool(self.token_hash)


class Clients(Protocol):
    """Port of the registry for the ingest."""

    def by_id(self, client_id: bytes) -> RegisteredClient | None:
        """Client with this id."""

    def by_name(self, name: str) -> RegisteredClient | None:
        """Client of this name."""

    def catch_up(self, seconds: float) -> bool:
        """Read up to the registry's present end, within `seconds`; True if it got there."""


def decode_client(key: bytes | None, value: bytes | None) -> tuple[bytes, RegisteredClient | None]:
    """Registry record -> the client's id (16 bytes) and the client, or None for a deleted one.

    ClientError: it is no client. Rules beyond a name and an id (endpoints, topics) are checked where a client is
    written, not here: a client that an older version accepted stays valid.
    """
    try:
        client_id = uuid.UUID((key or b"").decode()).bytes
        if value is None:
            return client_id, None
        check_depth(value, _DEPTH_MAX)
        client = from_json(value, RegisteredClient)
        matches_key = uuid.UUID(client.id).bytes == client_id and len(client.id) == len(str(uuid.UUID(int=0)))
    except (ValueError, msgspec.DecodeError, JsonTextError) as error:
        raise ClientError(str(error)) from error
    if not matches_key:
        raise ClientError(f"its id {client.id!r} is not the one of its key")
    _check_name(client.name)
    return client_id, client


def make_token() -> str:
    """New random token, URL safe."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def hash_token(token: str) -> str:
    """Hash of a token for the registry, whose readers must not learn the token."""
    # Headers whose bytes are no UTF-8 come with lone surrogates.
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


def usual_delivery(activity_endpoint: str | None) -> Delivery:
    """Default delivery: webhook for a client with an activity endpoint, else its topic."""
    return "webhook" if activity_endpoint else "topic"


def check_client(client: RegisteredClient) -> None:
    """Refuse an impossible name, an endpoint that is no HTTP URL, a delivery without its target. ClientError."""
    _check_name(client.name)
    for kind in ("decision", "activity", "notification"):
        url = getattr(client, f"{kind}_endpoint")
        if url is not None:
            _check_endpoint(kind, url)
    if client.delivery == "topic" and not has_topics(client.name):
        raise ClientError(
            f"client {client.name!r} cannot be served on a topic: its name must be 1 to 100 of A-Z a-z 0-9 . _ -. "
            "What to do: choose such a name, or give it endpoints."
        )
    if client.delivery == "webhook" and not client.activity_endpoint:
        raise ClientError(
            f"client {client.name!r} cannot be served by webhook: it has no activity endpoint. "
            "What to do: give it one (--activity-endpoint URL), or have it served on its topic (--delivery topic)."
        )


def _check_name(name: str) -> None:
    if not _PRINTABLE.fullmatch(name) or len(name) > NAME_CHARACTERS_MAX:
        raise ClientError(f"{name[:300]!r} cannot be a client's name: 1 to {NAME_CHARACTERS_MAX} printable characters.")


def _check_endpoint(kind: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        # Reading the port is what checks it.
        well_formed = _HOST.fullmatch(parts.hostname or "") is not None and parts.port != 0
    except ValueError:
        parts, well_formed = None, False
    if parts is None or parts.scheme not in {"http", "https"} or not well_formed or not _URL.fullmatch(url):
        raise ClientError(
            f"the {kind} endpoint {url!r} is not an http:// or https:// URL. "
            f"What to do: give one like http://shop.example:8080/{kind}."
        )
    if len(url) > URL_CHARACTERS_MAX:
        raise ClientError(f"the {kind} endpoint has {len(url)} characters; at most {URL_CHARACTERS_MAX} are allowed.")
