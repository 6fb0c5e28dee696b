"""Views that a team has saved in a file: names, and the pages with their queries."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

import msgspec

from backbeat.gateway.console.table import find
from backbeat.gateway.people.visitor import Right
from backbeat.gateway.settings import SavedView
from backbeat.schemas.requests.decoding import prepare

VIEWS_MAX = 20
_NAME_CHARACTERS_MAX = 60
_EXAMPLE = "nodes?status=retries_exhausted"


class _View(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """View as the file has it."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=_NAME_CHARACTERS_MAX, pattern="\\S")]
    path: Annotated[str, msgspec.Meta(max_length=2_000)]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tables `[[view]]`."""

    view: Annotated[tuple[_View, ...], msgspec.Meta(min_length=1, max_length=VIEWS_MAX)]


prepare(_File)


def read_saved_views(path: Path) -> tuple[SavedView, ...]:
    """The views of a file. ValueError: what is wrong with it, as a sentence."""
    try:
        content = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML: {error}.") from error
    except msgspec.ValidationError as error:
        raise ValueError(f"{path} is no list of views, [[view]] with a name and a path each: {error}.") from error
    names: set[str] = set()
    for view in content.view:
        if view.name in names:
            raise ValueError(f"{path} has two views of the name {view.name!r}.")
        names.add(view.name)
        if not _is_page(view.path):
            raise ValueError(f"{path}: the path {view.path!r} of {view.name!r} is no page, as {_EXAMPLE} is.")
    return tuple(SavedView(view.name, view.path) for view in content.view)


def _is_page(address: str) -> bool:
    row = find(address.partition("?")[0]).get("GET")
    return row is not None and row[0].right is not Right.NONE and address.isprintable() and "#" not in address
