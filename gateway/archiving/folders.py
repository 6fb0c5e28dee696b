"""Folders of a store of archives: client application, workflow's name, day, file."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from urllib.parse import unquote

from backbeat.gateway.archiving.stores import SUFFIX, ArchiveStore, name_part

#: Parts of an archive's name.
PARTS = 4
_CHARACTERS_MAX = 2_000


def parts(name: str) -> list[str] | None:
    """Parts of a name below the store; None: it leads out of it."""
    words = name.split("/") if name else []
    if len(name) > _CHARACTERS_MAX:
        return None
    if any(not word or word.startswith(".") or "\\" in word or "\0" in word for word in words):
        return None
    return words


def of_client(client: str) -> str:
    """Folder of a client application."""
    return name_part(client)


def children(store: ArchiveStore, under: str, count: int, after: str, own: Iterable[str] | None) -> list[str]:
    """Names right in a folder, `count` at most, behind `after`; at the top only of these folders (None: all). Blocks.

    Unavailable.
    """
    if under or own is None:
        return store.children(under, count, after)
    # Among those of all clients theirs would be pages away.
    behind = (name for name in sorted(f"{part}/" for part in own) if name > after)
    return list(islice((name for name in behind if store.children(name[:-1], 1)), count))


def is_archive(name: str) -> bool:
    """True for the name of an archive, and not of a folder."""
    return name.endswith(SUFFIX)


def label(name: str) -> str:
    """A name as people read it."""
    return unquote(name.rstrip("/")) if name.endswith("/") else name.removesuffix(SUFFIX)
