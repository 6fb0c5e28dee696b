"""Which versions of stored records this code knows. A newer one is refused, never guessed at.

A record of an earlier version always loads: its fields are where they were. One of a later version would load, too, as
long as fields were only added, and would lose them when it is written again. So an engine that meets one ends and says
so, and so does whoever else reads the changelog (the projection), before a row is made of half a record. What it takes
to never meet one (docs/how-to/upgrade.md): a release that reads a new version comes before the release that writes it.

Whoever raises the version of any record raises that of `Meta`, too: it is looked at when a partition's store is opened,
so that a store is refused before anything of it is used.
"""

from __future__ import annotations

import re

import msgspec

from backbeat.streams.core.records import Meta
from backbeat.streams.core.tables import META_KEY, known_versions, table_of

#: The newest version of each kind of record that this code knows.
KNOWN = known_versions()
#: The newest rules (`apply`) that this code knows; a partition's are in its meta record.
RULES_VERSION = 1

#: Kinds whose version is no first field: where it is.
_LATER = {
    kind: place for kind in KNOWN if (place := [field.name for field in msgspec.structs.fields(kind)].index("version"))
}
_ARRAY_16, _ARRAY_SMALL, _ARRAY_SMALL_BITS = 0xDC, 0x90, 0xF0


def version_of(kind: type[msgspec.Struct], value: bytes) -> int:
    """The version of a stored record of this kind, without decoding the rest of it where that can be."""
    later = _LATER.get(kind)
    if later is not None:
        found: int = msgspec.msgpack.decode(value)[later]
        return found
    # msgpack: the array's head (1, 3 or 5 bytes), then the version as one byte.
    head = value[0]
    if head & _ARRAY_SMALL_BITS == _ARRAY_SMALL:
        return value[1]
    return value[3] if head == _ARRAY_16 else value[5]


def why_unknown(kind: type[msgspec.Struct], value: bytes) -> str | None:
    """Why a stored record of this kind must not be used; null: it may."""
    version = version_of(kind, value)
    known = KNOWN[kind]
    if version <= known:
        return None
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.__name__).lower()
    return newer_text(f"a {name} record of version {version}", f"{known} is the newest that it knows")


def why_unknown_rules(meta: Meta) -> str | None:
    """Why a partition's log must not be applied by this code; null: it may."""
    if meta.rules_version <= RULES_VERSION:
        return None
    return newer_text(f"rules of version {meta.rules_version}", f"{RULES_VERSION} is the newest that it knows")


def why_unknown_record(key: bytes, value: bytes) -> str | None:
    """As `why_unknown`, of a record of the changelog; a kind of key that nobody here writes is a newer one's, too.

    With the meta record come the rules that made the others.
    """
    if key == META_KEY:
        return why_unknown(Meta, value) or why_unknown_rules(msgspec.msgpack.decode(value, type=Meta))
    table = table_of(key)
    if table is None:
        return newer_text(f"a record under the key {key[:12].hex()}…", "it knows no such kind")
    if table.struct is bytes:
        return None  # Packed history: each change says what it is.
    return why_unknown(table.struct, value)


def newer_text(found: str, known: str) -> str:
    """What was found, and what to do."""
    return (
        f"{found} was written by a newer Backbeat than this one ({known}). What to do: run that version, or a later "
        f"one; nothing was changed"
    )
