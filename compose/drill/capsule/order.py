"""Orders: what a capsule may do, to whom, where and until when; signed by whoever has the key."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from pathlib import Path
from typing import Any

import msgspec

from backbeat.compose.drill.topology.service import Service
from backbeat.schemas.requests.decoding import from_json

KEY_BYTES_MIN = 16
#: How far the clocks of tower and target may be apart.
SKEW_SECONDS_MAX = 30.0

_encode = msgspec.json.Encoder(order="sorted").encode


class OrderError(Exception):
    """An order is refused; the text says why."""


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fault for a capsule."""

    #: unique: an order is carried out once
    id: str
    fault: str
    arguments: dict[str, Any]
    targets: tuple[Service, ...]
    seed: int
    #: the host that it is for, as it calls itself
    host: str
    #: seconds since the epoch, between which it is carried out
    issued_at: float
    until: float
    #: how long the fault lasts
    seconds: float
    #: silence of the tower after which it counts as gone
    tower_silence_seconds: float
    #: address at which the capsule listens
    address: str = "127.0.0.1"
    signature: str = ""

    def signed(self, key: bytes) -> Order:
        """The order with its signature, of what its reader will read: 25 is 25.0 there."""
        order = read_order(_encode(self))
        return msgspec.structs.replace(order, signature=sign(key, order.content()))

    def check(self, key: bytes, host: str, now: float | None = None) -> None:
        """OrderError: it was not signed with this key, is for another host, or its time is not now."""
        now = time.time() if now is None else now
        if not hmac.compare_digest(self.signature, sign(key, self.content())):
            raise OrderError("its signature is wrong: it was changed, or signed with another key")
        if self.host != host:
            raise OrderError(f"it is for the host {self.host!r}, and this is {host!r}")
        if now > self.until:
            raise OrderError(f"it expired {now - self.until:.0f} s ago")
        if now < self.issued_at - SKEW_SECONDS_MAX:
            raise OrderError(f"it was issued {self.issued_at - now:.0f} s from now: see to the clocks")

    def content(self) -> bytes:
        """Bytes that are signed: all of it but the signature."""
        return _encode(msgspec.structs.replace(self, signature=""))


def sign(key: bytes, content: bytes) -> str:
    """The signature of bytes: HMAC-SHA-256, in hexadecimal digits."""
    return hmac.new(key, content, hashlib.sha256).hexdigest()


def read_order(content: bytes) -> Order:
    """The order in JSON. OrderError: it is none."""
    try:
        return from_json(content, Order)
    except msgspec.DecodeError as error:
        raise OrderError(f"it cannot be read: {error}") from error


def make_key(path: Path) -> bytes:
    """The key of a file, made where there is none; only its owner may read it."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
    return read_key(path)


def read_key(path: Path) -> bytes:
    """The key of a file. OrderError: there is none, it is short, or others may read it."""
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise OrderError(f"the key {path} cannot be read: {error.strerror}") from error
    if len(key) < KEY_BYTES_MIN:
        raise OrderError(f"the key {path} has {len(key)} bytes, and must have {KEY_BYTES_MIN} or more")
    if path.stat().st_mode & 0o077:
        raise OrderError(f"others may read the key {path}. What to do: chmod 600 {path}")
    return key
