"""Packing and unpacking of arguments and results: the codec first, then the store for what is too large.

A `Client` and a `Worker` have one `PayloadCodec` each. `pack` and `unpack` are plain functions for any thread; they
wait for the store only for payloads that are, or are to be, in it (`is_stored`, `is_plain`).
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from backbeat.codecs import MARK, Codec, Json, mark_of
from backbeat.errors import CodecError, InvalidParameters, Unavailable
from backbeat.payload.json_values import json_text
from backbeat.payload.values import LIMITS, from_json
from backbeat.schemas.messages.replies import Reason
from backbeat.stores import Store, open_store

_STORED = "stored"
#: Bytes left for the rest of a payload's record: a name, a timeout, the shell of a response.
_RECORD_OVERHEAD_BYTES = 4_096
STORE_ABOVE_BYTES = LIMITS.payload_bytes_max - _RECORD_OVERHEAD_BYTES


class PayloadCodec:
    """Codec and store of `params` and `result`. `store` is a URL, or a `Store`."""

    def __init__(
        self,
        codec: Codec | None = None,
        store: str | Store | None = None,
        *,
        store_above_bytes: int = STORE_ABOVE_BYTES,
    ) -> None:
        self._codec: Codec = Json() if codec is None else codec
        self._store = open_store(store) if isinstance(store, str) else store
        self._store_above_bytes = store_above_bytes
        #: True: values pass as they are, and packing costs nothing.
        self.is_plain = codec is None and store is None
        #: True: packing may wait for a store.
        self.has_store = store is not None
        #: True: the same value packed twice is the same; one that is encrypted is not.
        self.is_repeatable = isinstance(self._codec, Json)

    def pack(self, label: str, value: Any) -> Any:
        """A JSON value for arguments or a result; `label` names it in errors. It may wait for the store."""
        if self.is_plain:
            if mark_of(value) is not None:
                raise _unwritable(label, f"an object with the key {MARK!r}: that key is Backbeat's own", value)
            return value
        try:
            encoded = self._codec.encode(value)
            if self._store is None:
                return encoded
            text = json_text(encoded)
        except Exception as error:
            raise _unwritable(label, str(error) or type(error).__name__, value) from error
        if len(text) <= self._store_above_bytes:
            return msgspec.Raw(text)
        digest = hashlib.sha256(text).hexdigest()
        return {MARK: _STORED, "url": self._store.put(digest, text), "sha256": digest, "bytes": len(text)}

    def unpack(self, label: str, value: Any) -> Any:
        """The value that was packed. CodecError, which begins with `label`, where it cannot be had or was changed."""
        try:
            return self._codec.decode(self._fetch(value) if is_stored(value) else value)
        except Unavailable:
            # The payload may be intact: a later attempt may have it.
            raise
        except Exception as error:
            text = str(error) or type(error).__name__
            raise CodecError(f"The {label} cannot be read: {text}") from error

    def _fetch(self, reference: dict[str, Any]) -> Any:
        if self._store is None:
            raise CodecError(
                f"it is in a store, {reference.get('url')}: give this client or worker that store (store=…), too"
            )
        digest = str(reference.get("sha256"))
        text = self._store.get(digest)
        if hashlib.sha256(text).hexdigest() != digest:
            raise CodecError(f"{reference.get('url')} is not what was stored: its SHA-256 is another")
        return from_json(text)


def is_stored(value: Any) -> bool:
    """True where a payload is in a store: unpacking it waits for that."""
    return mark_of(value) == _STORED


def _unwritable(label: str, reason: str, value: Any) -> InvalidParameters:
    return InvalidParameters(
        Reason.INVALID_PARAMETERS, f"The {label} cannot be written: {reason}", type(value).__name__, "a JSON value"
    )
