"""Known versions of stored records. A newer record is refused.

A record of an earlier version always loads: its fields are where they were. One of a later version would load, too, as
long as fields were only added, and would lose them when it is written again. So an engine that reads one ends with an
error, and so does the projection, before it writes a row of half a record. An upgrade avoids that
(docs/how-to/upgrade.md): a release that reads a new version comes before the release that writes it.

A new version of any record also needs a new version of `Meta`: it is checked when a partition's store is opened, so
that a store is refused before anything of it is used.
"""

from __future__ import annotations

import re

import msgspec

from backbeat.schemas.requests.decoding import from_msgpack
from backbeat.streams.core.records import Meta
from backbeat.streams.core.tables import META_KEY, known_versions, table_of

#: The newest version of each kind of record that this code knows.
KNOWN = known_versions()
#: The newest version of the rules (`apply`) that this code knows; a partition's is in its meta record.
RULES_VERSION = 1

#: Index of the version field, for kinds whose first field it is not.
_VERSION_INDEX = {
    kind: place for kind in KNOWN if (place := [field.name for field in msgspec.structs.fields(kind)].index("version"))
}
_ARRAY_16, _ARRAY_SMALL, _ARRAY_SMALL_BITS = 0xDC, 0x90, 0xF0


def version_of(kind: type[msgspec.Struct], value: bytes) -> int:
    """The version of a stored record of this kind, without decoding the rest where possible."""
    version_index = _VERSION_INDEX.get(kind)
    if version_index is not None:
        version: int = msgspec.msgpack.decode(value)[version_index]
        return version
    # msgpack: the array's head (1, 3 or 5 bytes), then the version as one byte.
    head = value[0]
    if head & _ARRAY_SMALL_BITS == _ARRAY_SMALL:
        return value[1]
    return value[3] if head == _ARRAY_16 else value[5]


def why_unknown(kind: type[msgspec.Struct], value: bytes) -> str | None:
    """The reason why a stored record must not be used; null: it may be used."""
    version = version_of(kind, value)
    known_version = KNOWN[kind]
    if version <= known_version:
        return None
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.__name__).lower()
    article = "an" if name[0] in "aeiou" else "a"
    return newer_text(f"{article} {name} record of version {version}", f"{known_version} is the newest that it knows")


def why_unknown_rules(meta: Meta) -> str | None:
    """The reason why this code must not apply a partition's log; null: it may."""
    if meta.rules_version <= RULES_VERSION:
        return None
    return newer_text(f"rules of version {meta.rules_version}", f"{RULES_VERSION} is the newest that it knows")


def why_unknown_record(key: bytes, value: bytes) -> str | None:
    """The reason why a record of the changelog must not be used; null: it may. An unknown key is a newer one's.

    The meta record also has the version of the rules.
    """
    if key == META_KEY:
        return why_unknown(Meta, value) or why_unknown_rules(from_msgpack(value, Meta))
    table = table_of(key)
    if table is None:
        return newer_text(f"a record under the key {key[:12].hex()}…", "it knows no such kind")
    if table.struct is bytes:
        return None  # Packed history has no version.
    return why_unknown(table.struct, value)


def newer_text(subject: str, known_text: str) -> str:
    """The error text for a newer record, with the advice."""
    return (
        f"{subject} was written by a newer Backbeat than this one ({known_text}). What to do: run that version, or a "
        f"later one; nothing was changed"
    )
