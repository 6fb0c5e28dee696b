"""JSON of the counts of a node's children: how many of each name are at which status."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class NameCount(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The children of one name, of one client application."""

    user_id: Annotated[str, Meta(description="the client application that runs them")]
    name: str
    total: Annotated[int, Meta(description="how many there are")]
    nodes: Annotated[dict[str, int], Meta(description="how many by server status")]
    first_retry_at: Annotated[
        int | None,
        Meta(
            description="when the first that waits for a retry is tried again, in milliseconds since the epoch; null:"
            " none waits for one, or more than 1,000 nodes of the workflow do"
        ),
    ] = None


class ChildCounts(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Numbers of nodes right below a node."""

    at: Annotated[int, Meta(description="milliseconds since the epoch")]
    total: Annotated[int, Meta(description="how many there are")]
    names: Annotated[list[NameCount], Meta(description="by name, those first of which there are most")]
    more: Annotated[int, Meta(description="names that are not in the list")]
