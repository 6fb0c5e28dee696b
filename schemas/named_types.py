"""Named types of the schemas as they follow from the structs: the Avro of each, and its Python."""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple, TypeAlias

import msgspec

from backbeat.schemas.marks import Fixed, Mark, Merged, Words
from backbeat.schemas.messages import commands, queries
from backbeat.schemas.messages.activities import ActivityRecord
from backbeat.schemas.messages.history import StatusChangesRecord
from backbeat.schemas.messages.replies import Answer, QueryAnswer, ReplyRecord
from backbeat.schemas.messages.values import Command
from backbeat.schemas.requests.messages import MessageRequestRecord
from backbeat.schemas.requests.signals import SignalRequestRecord

Schema: TypeAlias = dict[str, Any]

NAMESPACE = "backbeat"
COMMANDS: tuple[type[Command], ...] = typing.get_args(commands.AnyCommand)
QUERIES: tuple[type[queries.Query], ...] = typing.get_args(queries.AnyQuery)
#: Name of the record that carries each kind of answer: `NodeReply` carries a NodeView.
REPLIES: dict[type, str] = {
    answer: getattr(answer, "REPLY", answer.__name__.removesuffix("View") + "Reply")
    for answer in typing.get_args(Answer | QueryAnswer)
}

_PLAIN = {bool: "boolean", int: "int", float: "double", str: "string", bytes: "bytes"}


def record_name(struct: type) -> str:
    """Name of a struct's type: an ActivityRecord is an `Activity`."""
    return struct.__name__.removesuffix("Record")


def word(member: enum.Enum) -> str:
    """Symbol of an enum's member: its value where that is a text, else its name."""
    return member.value if isinstance(member, str) else member.name.lower()


class NamedType(NamedTuple):
    """A named type: how it stands in Avro, and what it is in Python."""

    #: `backbeat.X` in it is another named type
    schema: Schema
    #: the struct or enum that it follows from, or the mark that stands for one
    source: Any
    #: of an enum: its members by their places in the schema; of merged ones, such a mapping for each
    members: Any = None
    #: of merged enums: the attribute, of the struct that has the field, that is the index of the one meant
    by: str | None = None
    #: of a struct: name of a field in Avro -> attribute, where the two differ
    attributes: Mapping[str, str] = MappingProxyType({})


class NamedTypes:
    """Types that were asked for and those that they name, each after those that it names itself."""

    def __init__(self) -> None:
        self.by_name: dict[str, NamedType] = {}

    def struct(self, struct: type, name: str, answer: type | None = None) -> str:
        """The reference to a struct's type. `answer`: the struct in a reply's field of this name."""
        if name in self.by_name:
            return f"{NAMESPACE}.{name}"
        fields: list[Schema] = []
        attributes: dict[str, str] = {}
        for field in msgspec.structs.fields(struct):
            annotation, mark = _split(field.type)
            if mark is Mark.STORED:
                continue
            avro: Schema = {"name": field.name}
            avro["type"] = self.of(answer if answer and field.name == "answer" else field.type)
            if isinstance(mark, Words):
                avro["name"] = mark.field
                attributes[mark.field] = field.name
            if types.NoneType in typing.get_args(annotation):
                avro["default"] = None
            elif field.default is not msgspec.NODEFAULT:
                avro["default"] = _json(field.default, mark)
            fields.append(avro)
        return self._add(name, struct, {"type": "record", "fields": fields}, attributes=attributes)

    def of(self, annotation: Any) -> Any:
        """Avro's type of an annotation."""
        kind, mark = _split(annotation)
        match mark:
            case Fixed():
                return self._add(mark.name, mark, {"type": "fixed", "size": mark.size})
            case Words():
                return self._add(mark.name, mark, _enum(mark.words), members={0: False, 1: True})
            case Merged():
                enums = typing.get_args(kind)
                symbols = list(dict.fromkeys(word(member) for members in enums for member in members))
                choices = [{symbols.index(word(member)): member for member in members} for members in enums]
                return self._add(mark.name, mark, _enum(symbols), members=choices, by=mark.by)
            case Mark():
                return mark.value
            case _:
                return self._unmarked(kind)

    def _unmarked(self, kind: Any) -> Any:
        if kind in _PLAIN:
            return _PLAIN[kind]
        arguments = typing.get_args(kind)
        if typing.get_origin(kind) in (types.UnionType, typing.Union):
            (some,) = (argument for argument in arguments if argument is not types.NoneType)
            return ["null", self.of(some)]
        if typing.get_origin(kind) is tuple:
            return {"type": "array", "items": self.of(arguments[0])}
        if issubclass(kind, enum.Enum):
            return self._add(kind.__name__, kind, _enum(map(word, kind)), members=dict(enumerate(kind)))
        return self.struct(kind, record_name(kind))

    def _add(self, name: str, source: Any, avro: Schema, **python: Any) -> str:
        schema = {"name": name, "namespace": NAMESPACE, **avro}
        named = self.by_name.setdefault(name, NamedType(schema, source, **python))
        assert named.source == source, f"{name} is the name of two types: {named.source} and {source}"
        return f"{NAMESPACE}.{name}"


def _split(annotation: Any) -> tuple[Any, Any]:
    """An annotation without its mark, and the mark."""
    if typing.get_origin(annotation) is Annotated:
        kind, mark = typing.get_args(annotation)
        return kind, mark
    return annotation, None


def _enum(symbols: Iterable[str]) -> Schema:
    return {"type": "enum", "symbols": list(symbols)}


def _json(value: Any, mark: Any = None) -> Any:
    """A default as a schema has it."""
    if isinstance(mark, Words):
        return mark.words[value]
    if mark is Mark.NUMBER:
        return int(value)
    match value:
        case bytes():
            return value.decode("latin-1")
        case tuple():
            return [_json(item) for item in value]
        case enum.Enum():
            return word(value)
        case msgspec.Struct():
            return {name: _json(getattr(value, name)) for name in value.__struct_fields__}
        case _:
            return value


def _walk() -> tuple[dict[str, NamedType], tuple[str, ...]]:
    """All named types, each after those that it names, and the names of those that cross a topic."""
    structs: tuple[type, ...] = (
        *COMMANDS,
        *QUERIES,
        ActivityRecord,
        StatusChangesRecord,
        SignalRequestRecord,
        MessageRequestRecord,
    )
    #: name -> struct, and the answer that it carries
    records: dict[str, tuple[type, type | None]] = {record_name(struct): (struct, None) for struct in structs}
    records |= {name: (ReplyRecord, answer) for answer, name in REPLIES.items()}
    named_types = NamedTypes()
    for name, (struct, answer) in sorted(records.items()):
        named_types.struct(struct, name, answer)
    return named_types.by_name, tuple(sorted(records))


TYPES, RECORD_NAMES = _walk()
