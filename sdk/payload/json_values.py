"""JSON text that is read back as the value that was written: a value that would arrive as another one is refused.

msgspec writes NaN and infinity as null, and two keys that have one text (1 and "1") twice, of which readers keep the
last; times with an offset of seconds it rounds.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, time
from typing import Any

import msgspec

#: Levels of lists and objects that are checked; the engine has a bound of its own.
DEPTH_MAX = 100
TOO_DEEP = f"holds itself, or is nested more than {DEPTH_MAX} levels deep"
_AS_THEY_ARE = frozenset({str, int, bool, type(None), bytes})


class UnfaithfulError(ValueError):
    """A value that would arrive as another one; the text gives its path."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self._reason = reason
        self._path: list[Any] = []

    def within(self, place: Any) -> UnfaithfulError:
        """The same error, with one more level in front of its path."""
        self._path.insert(0, place)
        return self

    def __str__(self) -> str:
        path = "".join(f"[{place!r}]" for place in self._path)
        return f"at {path}: {self._reason}" if path else self._reason


def has_builtin(value: Any) -> bool:
    """True for what says itself how it is written: results of activities that have not run yet, and groups of them."""
    return hasattr(type(value), "to_builtin")


def to_builtin(value: Any) -> Any:
    """Conversion for types that msgspec does not write: pydantic's models, which are not imported for it."""
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json")
    if has_builtin(value):
        return value.to_builtin()
    hint = ": await it" if inspect.isawaitable(value) else ": make it a list" if isinstance(value, Sequence) else ""
    raise NotImplementedError(f"objects of type {type(value).__name__} are not supported{hint}")


_encode = msgspec.json.Encoder(enc_hook=to_builtin).encode
_decode = msgspec.json.Decoder().decode
#: The end of a time that is not written in UTC.
_TIME = re.compile(rb':\d\d(?:\.\d+)?"')


def json_text(value: Any) -> bytes:
    """A value as JSON text. ValueError, TypeError, or what a model's own code raises, where that cannot be."""
    try:
        text = _encode(value)
    except RecursionError as error:
        raise UnfaithfulError(f"it {TOO_DEEP}") from error
    if type(value) not in _AS_THEY_ARE and _may_differ(text):
        check(value, has_null=b"null" in text)
    return text


def _may_differ(text: bytes) -> bool:
    """True where the value of this text must be checked; told from the text alone, which costs far less."""
    # A number may have become null, a time may have lost some of its offset, a key may stand there twice.
    if b"null" in text or _TIME.search(text) is not None:
        return True
    try:
        return len(_encode(_decode(text))) != len(text)
    except RecursionError:
        return True


def check(value: Any, depth: int = 0, *, has_null: bool = True) -> None:
    """Refuse a value that JSON would change. UnfaithfulError.

    Without a `null` in its text nothing was written as one, and models need not be dumped once more.
    """
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return
    if kind is float:
        if not math.isfinite(value):
            raise UnfaithfulError(f"{value} is no number of JSON, and would arrive as null")
        return
    if isinstance(value, dict):
        items: Iterable[tuple[Any, Any]] = value.items()
        if any(type(key) is not str for key in value):
            _check_keys(value)
    elif isinstance(value, list | tuple | set | frozenset):
        items = enumerate(value)
    else:
        _check_other(value, depth, has_null=has_null)
        return
    if depth >= DEPTH_MAX:
        raise UnfaithfulError(f"it {TOO_DEEP}")
    for place, item in items:
        if type(item) not in _AS_THEY_ARE:
            try:
                check(item, depth + 1, has_null=has_null)
            except UnfaithfulError as error:
                raise error.within(place) from None


def _check_keys(value: Mapping[Any, Any]) -> None:
    """Keys that are no text: each must have a text of its own. Keys without any, msgspec refuses."""
    texts: dict[str, Any] = {}
    for key in value:
        text = key if type(key) is str else next(iter(msgspec.json.decode(msgspec.json.encode({key: None}))))
        if text in texts:
            raise UnfaithfulError(f"the keys {texts[text]!r} and {key!r} are one in JSON, and a value would be lost")
        texts[text] = key


def _check_other(value: Any, depth: int, *, has_null: bool) -> None:
    if isinstance(value, datetime | time):
        offset = value.utcoffset()
        if offset is None and value.tzinfo is not None:
            raise UnfaithfulError(f"{value!r} has a time zone and no day, so JSON has no offset for it")
        if offset is not None and (offset.microseconds or offset.seconds % 60):
            raise UnfaithfulError(f"{value!r} is {offset} from UTC, and JSON has offsets of whole minutes")
        return
    if isinstance(value, enum.Enum):
        check(value.value, depth, has_null=has_null)
        return
    if isinstance(value, msgspec.Struct):
        names: Iterable[str] = value.__struct_fields__
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
    elif hasattr(type(value), "__attrs_attrs__"):
        names = [field.name for field in type(value).__attrs_attrs__]
    else:
        if has_null and callable(getattr(value, "model_dump", None)):
            check(to_builtin(value), depth, has_null=has_null)
        return
    # A field may be unset, and then it is not written.
    fields = {name: getattr(value, name) for name in names if hasattr(value, name)}
    check(fields, depth, has_null=has_null)
