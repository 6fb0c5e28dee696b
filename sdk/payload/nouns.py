"""Nouns at the edge (workflow, node, limit, job, …): one struct each, made from the record that the engine sends.

The struct says the fields once. From it follow the JSON of the HTTP API (`json_writer`), its description (the schema
that msgspec makes), what callers get (`noun_of`), and the record that a client reads from JSON (`record_fields`).
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import cache, lru_cache, partial
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from backbeat.payload.values import id_text, to_datetime
from backbeat.schemas.messages.status import CLIENT_WORDS, MODE_WORDS, SERVER_WORDS, word

S = TypeVar("S", bound=msgspec.Struct)

_Convert = Callable[[Any], Any]

#: Last second that an ISO time with a year of four digits can express.
_SECOND_MAX = 253_402_300_799
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Source(NamedTuple):
    """Place of a field's value in the record, where it is not the attribute of the same name."""

    #: an attribute, dotted where it is deeper, or a function of the record
    place: str | _Convert


class Conversion(NamedTuple):
    """Conversion of a field's value from the record and back."""

    to_json: _Convert
    to_value: _Convert
    to_record: _Convert


#: A field that callers get, and JSON has not; and the other way round, with a default.
NOT_IN_JSON, ONLY_IN_JSON = Meta(extra={"json": False}), Meta(extra={"json": True})


def time_text(milliseconds: int) -> str:
    """Milliseconds since the epoch as ISO 8601 in UTC: `2017-05-04T03:02:01.000Z`."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{_second_text(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=4096)
def _second_text(seconds: int) -> str:
    return datetime.fromtimestamp(min(max(seconds, 0), _SECOND_MAX), UTC).strftime("%Y-%m-%dT%H:%M:%S")


def milliseconds_of(at: datetime) -> int:
    """A time as whole milliseconds since the epoch, without a detour over floating point."""
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("-", ""))


def one_of(words: Iterable[str]) -> Meta:
    """The words that a field may have, for its description."""
    return Meta(extra_json_schema={"enum": list(words)})


def _words(statuses: dict[str, Any]) -> Conversion:
    by_number = tuple(statuses).__getitem__
    return Conversion(by_number, by_number, statuses.__getitem__)


Id = Annotated[str, Meta(extra_json_schema={"format": "uuid"}), Conversion(id_text, id_text, _bytes)]
Time = Annotated[datetime, Meta(tz=True), Conversion(time_text, to_datetime, milliseconds_of)]
#: JSON text of a client, which passes untouched: digits and the order of keys stay.
JsonText = Annotated[msgspec.Raw, Conversion(msgspec.Raw, msgspec.Raw, bytes)]
ModeWord = Annotated[str, one_of(MODE_WORDS), _words(MODE_WORDS)]
ServerWord = Annotated[str, one_of(SERVER_WORDS), _words(SERVER_WORDS)]
ClientWord = Annotated[str, one_of(CLIENT_WORDS), _words(CLIENT_WORDS)]
#: The word of any other enum; `one_of` beside it says which.
Word = Annotated[str, Conversion(word, word, str)]
Subject = Annotated[JsonText, Meta(description="what the workflow is about: any JSON value but an empty one")]
JsonObject = Annotated[JsonText, Meta(extra_json_schema={"type": "object"})]
Count = Annotated[int, Meta(ge=0)]


def json_writer(kind: type[msgspec.Struct]) -> Callable[[Any], dict[str, Any]]:
    """Function that makes the JSON of a noun of this kind, for `msgspec.json`, from its record."""
    return _converter(kind, "to_json")


def json_names(kind: type[msgspec.Struct]) -> list[str]:
    """Names of a noun's fields in JSON."""
    return [json_name for _, json_name, _ in _fields(kind, "to_json")]


def noun_of(kind: type[S], record: Any) -> S:
    """A noun of this kind, as callers get it, from its record."""
    return kind(**_converter(kind, "to_value")(record))


def record_fields(noun: msgspec.Struct) -> dict[str, Any]:
    """Fields of the record that a noun was made from."""
    return _converter(type(noun), "to_record")(noun)


@cache
def _converter(kind: type[msgspec.Struct], target: str) -> Callable[[Any], dict[str, Any]]:
    """Function from a record, or for `to_record` a noun, to its fields with the conversion of this name.

    It is made as text: lists have thousands of nodes, and a loop over the fields takes half as long again.
    """
    items: list[str] = []
    names: dict[str, Any] = {}
    for number, (name, json_name, annotation) in enumerate(_fields(kind, target)):
        marks = () if target == "to_record" else reversed(_marks(annotation))
        source = next((mark.place for mark in marks if isinstance(mark, Source)), name)
        value = f"source_{number}(source)" if callable(source) else f"source.{source}"
        conversion, is_nullable = _conversion(annotation)
        if conversion is not None:
            convert = f"convert_{number}"
            value = (
                f"{convert}(value) if (value := {value}) is not None else None"
                if is_nullable
                else f"{convert}({value})"
            )
            names[convert] = getattr(conversion, target)
        names[f"source_{number}"] = source
        items.append(f"{(json_name if target == 'to_json' else name)!r}: {value}")
    convert_all: Callable[[Any], dict[str, Any]] = eval(  # noqa: S307 - of nothing but our own fields' names
        f"lambda source: {{{', '.join(items)}}}", names
    )
    return convert_all


def _fields(kind: type[msgspec.Struct], target: str) -> Iterator[tuple[str, str, Any]]:
    """Names of the fields of a conversion, in Python and in JSON, and their types."""
    unwanted = NOT_IN_JSON if target == "to_json" else ONLY_IN_JSON
    annotations = typing.get_type_hints(kind, include_extras=True)
    for name, json_name in zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True):
        if unwanted not in _marks(annotations[name]):
            yield name, json_name, annotations[name]


def _marks(annotation: Any) -> tuple[Any, ...]:
    """Marks beside a type, the inner ones first."""
    return getattr(annotation, "__metadata__", ())


def _conversion(annotation: Any) -> tuple[Conversion | None, bool]:
    """Conversion of values of this type (None: they stay as they are), and whether they may be None."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        inner, *marks = arguments
        conversion = next((mark for mark in reversed(marks) if isinstance(mark, Conversion)), None)
        return _conversion(inner) if conversion is None else (conversion, False)
    if origin in (typing.Union, UnionType) and NoneType in arguments:
        (inner,) = (argument for argument in arguments if argument is not NoneType)
        return _conversion(inner)[0], True
    if origin in (list, tuple):
        conversion, _ = _conversion(arguments[0])
        return None if conversion is None else Conversion(
            *(_for_each(convert, origin) for convert in conversion)
        ), False
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return Conversion(json_writer(annotation), partial(noun_of, annotation), record_fields), False
    return None, False


def _for_each(convert: _Convert, container: type[list[Any] | tuple[Any, ...]]) -> _Convert:
    return lambda values: container(map(convert, values))
