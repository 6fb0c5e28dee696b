"""Codecs of arguments and results: a codec turns them into JSON values and back.

`params` and `result` go through it and nothing else: names, statuses, metadata and errors stay readable for whoever
operates the system. Every party that reads or writes a payload needs the same codec:

    codec = Fernet(os.environ["BACKBEAT_KEY"])
    Client(…, codec=codec); Worker(…, codec=codec)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from backbeat.errors import CodecError, InvalidParameters
from backbeat.payload.json_values import TOO_DEEP, check, has_builtin, json_text, to_builtin
from backbeat.schemas.messages.replies import Reason

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

#: A JSON object that has this key stands for a payload: its value says how.
MARK = "$backbeat"
_FERNET = "fernet"


class Codec(Protocol):
    """Turns what users give into JSON values, and those back. Used from several threads at once."""

    def encode(self, value: Any) -> Any:
        """A JSON value for what a caller gives or a handler returns. CodecError where there is none."""

    def decode(self, value: Any) -> Any:
        """Value that a handler or a caller gets for a JSON value. CodecError where it cannot be read."""


class Json:
    """The codec that is used where none is given: values as JSON has them.

    Beside JSON's own kinds it writes dataclasses, msgspec structs, pydantic models, times, UUIDs, decimals, enums and
    sets; a handler whose arguments are annotated with such types gets them (`worker.arguments`). `enc_hook` turns into
    one of these what it does not know, as msgspec's does.

    >>> import uuid
    >>> Json().encode([1, uuid.UUID(int=7)])
    [1, '00000000-0000-0000-0000-000000000007']
    """

    def __init__(self, enc_hook: Callable[[Any], Any] | None = None) -> None:
        self._enc_hook = enc_hook

    def encode(self, value: Any) -> Any:
        """The value with what JSON does not have turned into what it has."""
        try:
            plain = msgspec.to_builtins(value, str_keys=True, enc_hook=self._hook)
            # The value's keys, which are one text by now; and what the hook gave.
            check(value)
            check(plain)
        except RecursionError as error:
            raise CodecError(f"it cannot be written as JSON: it {TOO_DEEP}") from error
        except (TypeError, ValueError, msgspec.MsgspecError) as error:
            raise CodecError(f"it cannot be written as JSON: {error}") from error
        if isinstance(plain, dict) and MARK in plain:
            raise CodecError(f"an object with the key {MARK!r} cannot be sent: that key is Backbeat's own")
        return plain

    def decode(self, value: Any) -> Any:
        """The value itself; CodecError for one that another codec has written."""
        kind = mark_of(value)
        if kind is not None:
            raise CodecError(f"it was written by the codec {kind!r}: give this client or worker that codec, too")
        return value

    def _hook(self, value: Any) -> Any:
        if self._enc_hook is None or callable(getattr(value, "model_dump", None)) or has_builtin(value):
            return to_builtin(value)
        return self._enc_hook(value)


class Fernet:
    """Encrypts payloads with `cryptography`'s Fernet (AES-128-CBC with HMAC-SHA256), on top of another codec.

    `keys` are made by `Fernet.new_key()`. The first one encrypts, all of them decrypt. To change a key: give every
    party the new one as the second first, then as the first; drop the old one when no payload of it is needed any more.
    Needs the extra `fernet`.

    >>> codec = Fernet(Fernet.new_key())
    >>> sealed = codec.encode(["4000 1234"])
    >>> sorted(sealed), codec.decode(sealed)
    (['$backbeat', 'data'], ['4000 1234'])
    """

    def __init__(self, *keys: str | bytes, inner: Codec | None = None) -> None:
        if not keys:
            raise ValueError("Fernet needs a key at least; `Fernet.new_key()` makes one")
        self._fernet = _multi_fernet(keys)
        self._inner: Codec = Json() if inner is None else inner

    @staticmethod
    def new_key() -> str:
        """A new key, to be kept where secrets are kept."""
        key: bytes = _import_fernet().Fernet.generate_key()
        return key.decode()

    def encode(self, value: Any) -> Any:
        """The value, encrypted."""
        text = json_text(self._inner.encode(value))
        return {MARK: _FERNET, "data": self._fernet.encrypt(text).decode()}

    def decode(self, value: Any) -> Any:
        """The value, decrypted. One that was never encrypted is given as the inner codec reads it."""
        if mark_of(value) != _FERNET:
            return self._inner.decode(value)
        try:
            text = self._fernet.decrypt(str(value.get("data", "")).encode())
        except _import_fernet().InvalidToken as error:
            raise CodecError(
                "it cannot be decrypted: no key given here fits it, or it was changed on its way"
            ) from error
        return self._inner.decode(msgspec.json.decode(text))


def mark_of(value: Any) -> str | None:
    """Packing of a payload: `fernet`, `stored`; None: it is a plain value."""
    if not isinstance(value, dict):
        return None
    kind = value.get(MARK)
    return kind if isinstance(kind, str) else None


def _multi_fernet(keys: Sequence[str | bytes]) -> MultiFernet:
    fernet = _import_fernet()
    try:
        cipher: MultiFernet = fernet.MultiFernet([fernet.Fernet(key) for key in keys])
    except ValueError as error:
        raise InvalidParameters(
            Reason.INVALID_PARAMETERS, f"That is no Fernet key: {error}", "(not shown)", "Fernet.new_key()"
        ) from error
    return cipher


def _import_fernet() -> Any:
    try:
        from cryptography import fernet  # noqa: PLC0415 - an extra: only who encrypts has it
    except ImportError as error:
        raise ImportError('The codec Fernet needs `pip install "backbeat[fernet]"`') from error
    return fernet
