"""Parameters of a call: query, body (JSON or form) and path, with keys in snake_case.

Values stay JSON text until a getter reads one as its type: so client data and metadata pass untouched, and a wrong type
is refused by name. Forms and queries are read alike: `a[b]=c` nests, and numeric text counts as a number. An explicit
null counts as absent.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Self
from urllib.parse import parse_qsl

import msgspec

from backbeat.gateway.http import errors
from backbeat.gateway.http.casing import compact, snake, snake_keys
from backbeat.gateway.http.times import to_milliseconds

#: Greatest depth of JSON: deeper than any use, far below the recursion limit of its readers.
DEPTH_MAX = 200
FORM_FIELDS_MAX = 10_000

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{32}")
_KEY_PARTS = re.compile(r"\[([^\[\]]*)\]")
_NESTING = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]')
_INT_MAX = 2**31 - 1

_objects = msgspec.json.Decoder(dict[str, msgspec.Raw])
_lists = msgspec.json.Decoder(list[msgspec.Raw])
_json_values = msgspec.json.Decoder()
_encode = msgspec.json.encode

_NOTHING: dict[str, bytes] = {}


class Parameters:
    """Parameters by their snake_case names. Every getter refuses (400) a value of the wrong type."""

    __slots__ = ("_keys_in_snake_case", "_values")

    def __init__(self, values: Mapping[str, bytes] = _NOTHING, *, snakes: bool = True) -> None:
        self._values = values
        #: True if keys inside values become snake_case, as the original has it.
        self._keys_in_snake_case = snakes

    @classmethod
    def of_json(cls, text: bytes) -> Self:
        """A JSON document; any but an object counts as empty."""
        if not text or text.isspace():
            return cls()
        _check_text(text)
        try:
            values = _objects.decode(text)
        except msgspec.ValidationError:
            _check_json(text)
            return cls()
        except (msgspec.DecodeError, RecursionError) as error:
            raise errors.invalid(f"The body is no JSON: {error}") from error
        return cls(_with_snake_keys(values))

    @classmethod
    def of_pairs(cls, text: str) -> Self:
        """A query string or a form's body. A key without `=` has no value: absent, like a null."""
        try:
            assigned = "&".join(pair for pair in text.split("&") if "=" in pair)
            pairs = parse_qsl(assigned, keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX, errors="strict")
        except ValueError as error:
            raise errors.invalid(f"The parameters are no form: {error}") from error
        nested = _nest(pairs)
        return cls({snake(name): _encode(value) for name, value in nested.items()})

    def merged(self, others: Parameters) -> Parameters:
        """These and others; the others win where both have a name."""
        if not self._values:
            return others
        return Parameters({**self._values, **others._values})

    def with_keys_as_they_are(self) -> Parameters:
        """The same, with keys inside values as they were sent."""
        return Parameters(self._values, snakes=False)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    @property
    def is_empty(self) -> bool:
        """True if there are no parameters."""
        return not self._values

    def excerpt(self, names: Collection[str], hidden: str) -> str:
        """JSON text of all of them, `hidden` in place of values that are not of these names; empty: there are none."""
        values = {name: msgspec.Raw(text if name in names else _encode(hidden)) for name, text in self._values.items()}
        return compact(_encode(values)).decode() if values else ""

    # --- getters -----------------------------------------------------------------------------------------------------

    def json(self, name: str) -> bytes | None:
        """A value as compact JSON text, its keys in snake_case."""
        text = self._values.get(name)
        if text is None:
            return None
        return snake_keys(text) if self._keys_in_snake_case else compact(text)

    def value(self, name: str) -> Any:
        """A value of any type, its keys in snake_case."""
        text = self.json(name)
        return None if text is None else _read(name, text)

    def untouched(self, name: str) -> bytes | None:
        """A JSON value as it was sent, but for white space: metadata."""
        text = self._values.get(name)
        return None if text is None else compact(text)

    def untouched_object(self, name: str) -> bytes | None:
        """The same of an object: client data."""
        text = self.untouched(name)
        if text is not None and not text.startswith(b"{"):
            raise errors.invalid(f"{name} must be a JSON object")
        return text

    def text(self, name: str) -> str | None:
        """A text; a blank one counts as absent."""
        value = self._value(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        if not isinstance(value, str) or "\0" in value:
            raise errors.invalid(f"{name} must be text")
        return value

    def word(self, name: str) -> str | None:
        """A name: a text, or a number as text, as old clients may send it."""
        value = self._value(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return str(value)
        return self.text(name)

    def raw_text(self, name: str) -> str | None:
        """A query's text, blank or not."""
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
        text = self._values.get(name)
        if text is None:
            return None
        return Parameters(_read_object(text, name))

    def nested_list(self, name: str) -> list[Parameters] | None:
        """A list of objects of parameters."""
        text = self._values.get(name)
        if text is None:
            return None
        try:
            items = _lists.decode(text)
        except msgspec.ValidationError as error:
            raise errors.invalid(f"{name} must be a list") from error
        return [Parameters(_read_object(item, f"each of {name}")) for item in items]

    def _value(self, name: str) -> Any:
        text = self._values.get(name)
        return None if text is None else _read(name, text)


# --- ids -------------------------------------------------------------------------------------------------------------


def to_id(text: object) -> bytes:
    """An id's 16 bytes; 400 for any but a UUID, with the error class of the original's database."""
    identity = find_id(text)
    if identity is None:
        raise errors.invalid_value(f"{str(text)[:64]!r} is no UUID")
    return identity


def find_id(text: object) -> bytes | None:
    """An id's 16 bytes; None for any but a UUID."""
    if not isinstance(text, str) or not _UUID.fullmatch(text):
        return None
    return bytes.fromhex(text.replace("-", ""))


# --- reading ---------------------------------------------------------------------------------------------------------


def _read(name: str, text: bytes) -> Any:
    try:
        return _json_values.decode(text)
    except msgspec.DecodeError as error:
        raise errors.invalid(f"{name}: {error}") from error


def _read_object(text: bytes, name: str) -> dict[str, bytes]:
    try:
        return _with_snake_keys(_objects.decode(text))
    except msgspec.ValidationError as error:
        raise errors.invalid(f"{name} must be an object") from error


def _with_snake_keys(values: Mapping[str, msgspec.Raw]) -> dict[str, bytes]:
    texts = ((snake(name), bytes(value)) for name, value in values.items())
    return {name: text for name, text in texts if text != b"null"}


def _check_text(text: bytes) -> None:
    """Refuse faults that the decoder overlooks in values that it takes untouched."""
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
        _json_values.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise errors.invalid(f"The body is no JSON: {error}") from error


def _nest(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """`a[b]=c` as {"a": {"b": "c"}}, `a[]=c` as {"a": ["c"]}; of two equal keys the last counts."""
    values: dict[str, Any] = {}
    for key, value in pairs:
        name, bracket, _ = key.partition("[")
        parts = _KEY_PARTS.findall(key[len(name) :]) if bracket else []
        if len(parts) > DEPTH_MAX:
            raise errors.invalid(f"A parameter is nested more than {DEPTH_MAX} levels deep")
        _put(values, [name, *parts], value)
    return values


def _put(parent: dict[str, Any], path: list[str], value: str) -> None:
    part, rest = path[0], path[1:]
    if not rest:
        parent[part] = value
    elif rest[0]:
        if not isinstance(parent.get(part), dict):
            parent[part] = {}
        _put(parent[part], rest, value)
    else:
        if not isinstance(parent.get(part), list):
            parent[part] = []
        _put_in_list(parent[part], rest[1:], value)


def _put_in_list(items: list[Any], path: list[str], value: str) -> None:
    """`a[][b]=c`: into the last element while it has no such value yet, else into a new one."""
    if not path:
        items.append(value)
        return
    if not items or not isinstance(items[-1], dict) or _has(items[-1], path):
        items.append({})
    _put(items[-1], path, value)


def _has(container: Any, path: list[str]) -> bool:
    for part in path:
        if not part:
            return False  # A list takes one more.
        if not isinstance(container, dict) or part not in container:
            return False
        container = container[part]
    return True
