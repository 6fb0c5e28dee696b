"""What a call says: query, body (JSON or form) and path as one set of parameters, with keys in snake_case.

Values stay JSON text until somebody asks for one, and then it is read as what it must be: so client data and metadata
pass untouched, and a wrong type is refused by name. Forms and queries become the same: `a[b]=c` nests, and numeric text
counts as a number. An explicit null is as absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Self
from urllib.parse import parse_qsl

import msgspec

from backbeat.gateway.http import errors
from backbeat.gateway.http.casing import compact, snake, snake_keys
from backbeat.gateway.http.times import to_milliseconds

#: How deep JSON may be nested: deeper than any use, far from where readers of it would fail.
DEPTH_MAX = 200
FORM_FIELDS_MAX = 10_000

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{32}")
_KEY_PARTS = re.compile(r"\[([^\[\]]*)\]")
_NESTING = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]')
_INT_MAX = 2**31 - 1

_objects = msgspec.json.Decoder(dict[str, msgspec.Raw])
_lists = msgspec.json.Decoder(list[msgspec.Raw])
_values = msgspec.json.Decoder()
_encode = msgspec.json.encode

_NOTHING: dict[str, bytes] = {}


class Parameters:
    """Parameters by their snake_case names. Every getter refuses (400) what is not of its kind."""

    __slots__ = ("_found", "_snakes")

    def __init__(self, found: Mapping[str, bytes] = _NOTHING, *, snakes: bool = True) -> None:
        self._found = found
        #: whether keys inside of values become snake_case, as the original has it
        self._snakes = snakes

    @classmethod
    def of_json(cls, text: bytes) -> Self:
        """A JSON document; one that is no object counts as empty."""
        if not text or text.isspace():
            return cls()
        _check_text(text)
        try:
            found = _objects.decode(text)
        except msgspec.ValidationError:
            _check_json(text)
            return cls()
        except (msgspec.DecodeError, RecursionError) as error:
            raise errors.invalid(f"The body is no JSON: {error}") from error
        return cls(_with_snake_keys(found))

    @classmethod
    def of_pairs(cls, text: str) -> Self:
        """A query string or a form's body. A key without `=` has no value: it is as absent, like a null."""
        try:
            given = "&".join(pair for pair in text.split("&") if "=" in pair)
            pairs = parse_qsl(given, keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX, errors="strict")
        except ValueError as error:
            raise errors.invalid(f"The parameters are no form: {error}") from error
        nested = _nest(pairs)
        return cls({snake(name): _encode(value) for name, value in nested.items()})

    def merged(self, above: Parameters) -> Parameters:
        """These and others, which count where both have a name."""
        if not self._found:
            return above
        return Parameters({**self._found, **above._found})

    def with_keys_as_they_are(self) -> Parameters:
        """The same, but that keys inside of values are kept as they were sent."""
        return Parameters(self._found, snakes=False)

    def __contains__(self, name: str) -> bool:
        return name in self._found

    @property
    def is_empty(self) -> bool:
        """Whether nothing was said at all."""
        return not self._found

    # --- getters -----------------------------------------------------------------------------------------------------

    def json(self, name: str) -> bytes | None:
        """A value as JSON text, compact, its keys in snake_case."""
        found = self._found.get(name)
        if found is None:
            return None
        return snake_keys(found) if self._snakes else compact(found)

    def value(self, name: str) -> Any:
        """A value of any kind, its keys in snake_case."""
        text = self.json(name)
        return None if text is None else _read(name, text)

    def untouched(self, name: str) -> bytes | None:
        """A JSON value as it was sent, but for white space: metadata."""
        found = self._found.get(name)
        return None if found is None else compact(found)

    def untouched_object(self, name: str) -> bytes | None:
        """The same of what must be an object: client data."""
        text = self.untouched(name)
        if text is not None and not text.startswith(b"{"):
            raise errors.invalid(f"{name} must be a JSON object")
        return text

    def text(self, name: str) -> str | None:
        """A text; a blank one is as absent."""
        value = self._value(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        if not isinstance(value, str) or "\0" in value:
            raise errors.invalid(f"{name} must be text")
        return value

    def word(self, name: str) -> str | None:
        """A name: a text, or a number as its text, as old clients may send it."""
        value = self._value(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return str(value)
        return self.text(name)

    def raw_text(self, name: str) -> str | None:
        """What a query says, blank or not."""
        value = self._value(name)
        if value is not None and not isinstance(value, str):
            raise errors.invalid_value(f"{name} must be one value")
        return value

    def whole_number(self, name: str) -> int | None:
        """A whole number from 0 up."""
        number = self.number(name)
        if number is None:
            return None
        if number != int(number):
            raise errors.invalid(f"{name} must be a whole number, not {number:g}")
        return int(number)

    def number(self, name: str) -> float | None:
        """A number from 0 up, or text that is one."""
        value = self._value(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        try:
            if isinstance(value, bool):
                raise TypeError  # noqa: TRY301 -- a bool is an int for Python only
            number = float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise errors.invalid(f"{name} must be a number") from error
        if not 0 <= number <= _INT_MAX:
            raise errors.invalid(f"{name} is {number:g}; 0 is the least and {_INT_MAX} the most")
        return number

    def flag(self, name: str) -> bool | None:
        """True or false."""
        value = self._value(name)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str) and value in {"true", "false"}:
            return value == "true"
        raise errors.invalid(f"{name} must be true or false")

    def time(self, name: str) -> int | None:
        """A time (`times`), as milliseconds since the epoch; one without a zone is UTC."""
        value = self._value(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        milliseconds = to_milliseconds(value) if isinstance(value, str) else None
        if milliseconds is None:
            raise errors.invalid(f"{name} must be a time that can be read in one way, for example 2026-01-31T12:00:00Z")
        return milliseconds

    def uuid(self, name: str) -> bytes | None:
        """An id's 16 bytes."""
        value = self._value(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        return to_id(value)

    def nested(self, name: str) -> Parameters | None:
        """An object of parameters."""
        found = self._found.get(name)
        if found is None:
            return None
        return Parameters(_read_object(found, name))

    def nested_list(self, name: str) -> list[Parameters] | None:
        """A list of objects of parameters."""
        found = self._found.get(name)
        if found is None:
            return None
        try:
            items = _lists.decode(found)
        except msgspec.ValidationError as error:
            raise errors.invalid(f"{name} must be a list") from error
        return [Parameters(_read_object(item, f"each of {name}")) for item in items]

    def _value(self, name: str) -> Any:
        found = self._found.get(name)
        return None if found is None else _read(name, found)


# --- ids -------------------------------------------------------------------------------------------------------------


def to_id(text: object) -> bytes:
    """An id's 16 bytes; 400 for what is no UUID, as the original's database says it."""
    identity = find_id(text)
    if identity is None:
        raise errors.invalid_value(f"{str(text)[:64]!r} is no UUID")
    return identity


def find_id(text: object) -> bytes | None:
    """An id's 16 bytes; None for what is no UUID."""
    if not isinstance(text, str) or not _UUID.fullmatch(text):
        return None
    return bytes.fromhex(text.replace("-", ""))


# --- reading ---------------------------------------------------------------------------------------------------------


def _read(name: str, text: bytes) -> Any:
    try:
        return _values.decode(text)
    except msgspec.DecodeError as error:
        raise errors.invalid(f"{name}: {error}") from error


def _read_object(text: bytes, name: str) -> dict[str, bytes]:
    try:
        return _with_snake_keys(_objects.decode(text))
    except msgspec.ValidationError as error:
        raise errors.invalid(f"{name} must be an object") from error


def _with_snake_keys(found: Mapping[str, msgspec.Raw]) -> dict[str, bytes]:
    texts = ((snake(name), bytes(value)) for name, value in found.items())
    return {name: text for name, text in texts if text != b"null"}


def _check_text(text: bytes) -> None:
    """Refuse what the decoder does not look at in values that are taken untouched."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise errors.invalid(f"The body is no UTF-8: {error.reason}") from error
    if text.count(b"[") + text.count(b"{") <= DEPTH_MAX:
        return
    depth = 0
    for token in _NESTING.finditer(text):
        first = token[0][:1]
        if first in b"[{":
            depth += 1
            if depth > DEPTH_MAX:
                raise errors.invalid(f"The body is nested more than {DEPTH_MAX} levels deep")
        elif first in b"]}":
            depth -= 1


def _check_json(text: bytes) -> None:
    try:
        _values.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise errors.invalid(f"The body is no JSON: {error}") from error


def _nest(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """`a[b]=c` as {"a": {"b": "c"}}, `a[]=c` as {"a": ["c"]}; the last of two that say the same counts."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        name, bracket, _ = key.partition("[")
        parts = _KEY_PARTS.findall(key[len(name) :]) if bracket else []
        if len(parts) > DEPTH_MAX:
            raise errors.invalid(f"A parameter is nested more than {DEPTH_MAX} levels deep")
        _put(found, [name, *parts], value)
    return found


def _put(place: dict[str, Any], path: list[str], value: str) -> None:
    part, rest = path[0], path[1:]
    if not rest:
        place[part] = value
    elif rest[0]:
        if not isinstance(place.get(part), dict):
            place[part] = {}
        _put(place[part], rest, value)
    else:
        if not isinstance(place.get(part), list):
            place[part] = []
        _put_in_list(place[part], rest[1:], value)


def _put_in_list(items: list[Any], path: list[str], value: str) -> None:
    """`a[][b]=c`: into the last element while that has no such value yet, else into a new one."""
    if not path:
        items.append(value)
        return
    if not items or not isinstance(items[-1], dict) or _has(items[-1], path):
        items.append({})
    _put(items[-1], path, value)


def _has(place: Any, path: list[str]) -> bool:
    for part in path:
        if not part:
            return False  # A list: it takes one more.
        if not isinstance(place, dict) or part not in place:
            return False
        place = place[part]
    return True
