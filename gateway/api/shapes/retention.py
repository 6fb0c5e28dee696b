"""JSON of policies of retention and of archives; the API's description is made from these structs."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

_SECONDS_MAX = 2**31 - 1


class NewRetention(msgspec.Struct, forbid_unknown_fields=True):
    """A policy from now on, for workflows that are there already, too."""

    keep_seconds: Annotated[
        Annotated[float, Meta(ge=1, le=_SECONDS_MAX)],
        Meta(description="from the last thing that happened in a finished workflow to its removal"),
    ]
    archive: Annotated[
        bool | None, Meta(description="whether it is removed only once an archive of it was written (true)")
    ] = None
    refuse_seconds: Annotated[
        Annotated[float, Meta(ge=1, le=_SECONDS_MAX)] | None,
        Meta(description="how long the ids of its signals are refused after its removal (604800)"),
    ] = None


class Policy(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Time that the finished workflows of one client application and name are kept."""

    client_id: Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
    client: Annotated[str | None, Meta(description="its name; null: it was removed")]
    workflow: Annotated[str, Meta(description="the workflows' name")]
    keep_seconds: float
    archive: bool
    refuse_seconds: float
    partitions: Annotated[int, Meta(description="how many have it; fewer than there are: the change goes on")]


class ArchiveEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A folder of archives, or an archive."""

    name: Annotated[str, Meta(description="what to give as `under`, or as `name`")]
    label: Annotated[str, Meta(description="the client application, the workflows' name, the day, or the file")]
    is_folder: bool


class ArchivedNode(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A node of an archived workflow, and its status changes."""

    node: Any
    status_changes: list[Any]


class ArchivedWorkflow(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An archived workflow, and a page of its nodes: parents before children."""

    client: Annotated[str, Meta(description="the client application's name")]
    workflow: Any
    total: Annotated[int, Meta(description="of its nodes")]
    nodes: list[ArchivedNode]
