"""Who calls: the client that Client-Id names, and its token where one is asked for."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping

from backbeat.gateway.engine_client import Engine
from backbeat.gateway.http import errors
from backbeat.gateway.http.parameters import find_id
from backbeat.gateway.http.routing import Access
from backbeat.gateway.settings import TokenFor
from backbeat.schemas.kafka.client_registry import RegisteredClient

CLIENT_HEADER = "Client-Id"

#: The scheme of the original: Token token="…", with the quotes.
_TOKEN = re.compile(r'Token\s+token="([^"]*)"\s*')


async def authenticate(
    headers: Mapping[str, str], access: Access, token_for: TokenFor, engine: Engine
) -> RegisteredClient | None:
    """The caller; None where anybody may call. 401 for a missing or unknown client, or a wrong token."""
    token_wanted = token_for is TokenFor.ALL or (token_for is TokenFor.WRITES and access is Access.WRITER)
    if access is Access.PUBLIC or (access is Access.OPEN and not token_wanted):
        return None
    client_id = find_id(headers.get(CLIENT_HEADER))
    if client_id is None:
        raise errors.unauthorized()

    def let_in() -> RegisteredClient | None:
        client = engine.client(client_id)
        known = client is not None and (not token_wanted or has_token(client, headers.get("Authorization")))
        return client if known else None

    client = let_in()
    if client is None:
        # It, or its token, may be a moment old.
        await engine.catch_up()
        client = let_in()
    if client is None:
        raise errors.unauthorized()
    return client


def has_token(client: RegisteredClient, authorization: str | None) -> bool:
    """Whether a header says the client's token. A client without one is let in by none."""
    found = _TOKEN.fullmatch(authorization or "")
    given = found[1] if found else ""
    digest = hashlib.sha256(given.encode(errors="surrogateescape")).hexdigest()
    # Compared in full whatever is wrong: how long it takes says nothing of the token.
    same = hmac.compare_digest(digest.encode(), client.token_hash.encode())
    return same and bool(given) and bool(client.token_hash)
