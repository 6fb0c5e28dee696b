"""Marks of a field's annotation: its Avro type, where the Python type does not name one.

`python -m backbeat.schemas generate` makes the schemas from the structs. An `int` is an Avro int, `str` a
string, `bytes` are bytes; `Annotated` with a mark of this module is something else.
"""

from __future__ import annotations

import enum
from typing import Annotated, TypeAlias

import msgspec


class Mark(enum.Enum):
    """Marks without parameters."""

    LONG = "long"  #: a number of 64 bits
    NUMBER = "int"  #: an enum of the engine's own, which crosses as its number
    STORED = "stored"  #: a field that is stored and never crosses


class Fixed(msgspec.Struct, frozen=True):
    """A named type of so many bytes."""

    name: str
    size: int
    doc: str


class Words(msgspec.Struct, frozen=True):
    """A named enum for a bool: the words for false and true."""

    name: str
    words: tuple[str, str]
    field: str  #: name of the field in Avro
    doc: str


class Merged(msgspec.Struct, frozen=True):
    """A named enum of the words of several enums. The field `by`, which comes before, is the index of the one meant."""

    name: str
    by: str
    doc: str


Id: TypeAlias = Annotated[
    bytes,
    Fixed(
        "Uuid",
        16,
        "An id: 16 bytes, the bytes of a UUID in their order as text. Ids of workflows and nodes carry their "
        "partition (docs/reference/wire.md).",
    ),
]
Long: TypeAlias = Annotated[int, Mark.LONG]
#: Milliseconds since the epoch.
Time: TypeAlias = Annotated[int, Mark.LONG]
