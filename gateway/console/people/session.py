"""Session of a visitor: a signed cookie, so that every gateway with the same secret knows it and none stores it.

The key depends on the holder's token: a token that was changed or removed ends all its sessions.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode

import msgspec

from backbeat.schemas.requests.decoding import from_json

#: Age after which one logs in again.
SESSION_SECONDS_MAX = 12 * 3_600
#: Of two gateways.
_CLOCKS_DIFFER_SECONDS = 60
_CHARACTERS_MAX = 1_024


class Session(msgspec.Struct, frozen=True):
    """Content of the cookie."""

    #: `person` or `client`.
    way: str
    name: str
    #: Seconds since the epoch.
    issued_at: int
    nonce: str


class Signer:
    """Signs with a secret of the installation."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sign(self, *parts: str) -> str:
        """Signature of some texts, hexadecimal."""
        text = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()

    def is_signed(self, signature: str, *parts: str) -> bool:
        """True for the signature of these texts. Constant time."""
        return hmac.compare_digest(self.sign(*parts).encode(), signature.encode(errors="replace"))


def new_session(way: str, name: str) -> Session:
    """A session from now on."""
    return Session(way, name, int(time.time()), secrets.token_hex(16))


def write_cookie(session: Session, signer: Signer, token_hash: str) -> str:
    """The cookie's value."""
    content = urlsafe_b64encode(msgspec.json.encode(session)).decode()
    return f"{content}.{signer.sign('session', content, token_hash)}"


def read_cookie(text: str) -> tuple[Session, str, str] | None:
    """The session that a cookie claims to be, its signed text and signature; None: it is none, or too old."""
    content, _, signature = text.partition(".")
    if len(text) > _CHARACTERS_MAX:
        return None
    try:
        session = from_json(urlsafe_b64decode(content), Session)
    except (ValueError, msgspec.MsgspecError):
        return None
    is_current = -_CLOCKS_DIFFER_SECONDS < time.time() - session.issued_at < SESSION_SECONDS_MAX
    return (session, content, signature) if is_current else None


class Forms:
    """Tokens of forms: bound to a session and a path.

    Each time another text, so that nothing can be guessed from the length of compressed pages.
    """

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def token(self, session_id: str, path: str) -> str:
        """Hidden field of a form that is posted to this path."""
        nonce = secrets.token_hex(16)
        return f"{nonce}.{self._signer.sign('form', nonce, session_id, path)}"

    def is_ours(self, token: str, session_id: str, path: str) -> bool:
        """True for a token of such a form."""
        nonce, _, signature = token.partition(".")
        return self._signer.is_signed(signature, "form", nonce, session_id, path)
