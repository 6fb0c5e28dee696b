"""Groups of equal siblings: children of a node with one name and client, a row of the tree until they are unfolded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Self

import msgspec

from backbeat.gateway.console.show.statuses import Share, shares_of
from backbeat.gateway.http.parameters import find_id
from backbeat.gateway.projection.reading.reports import node_names
from backbeat.gateway.projection.reading.siblings import GROUP_MIN, children_by_name, first_retries, group_keys
from backbeat.gateway.projection.storage import states
from backbeat.gateway.projection.storage.cause import id_of_key, key_of_id
from backbeat.payload.values import id_text
from backbeat.schemas.messages.views import ChildView

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: Names of which few are there: where those that are not on the page are more, they are counted together.
NAMES_MAX = 20
#: Counts that are read for a page: children that have thousands of names stand one by one.
_COUNTS_MAX = 2_000
_MARK = "~"


class Group(msgspec.Struct, frozen=True):
    """A group of a node's children, by its parent and the key of its name."""

    parent_id: bytes
    name_key: int

    def __str__(self) -> str:
        """The group as addresses have it."""
        return f"{id_text(self.parent_id)}{_MARK}{id_of_key(self.name_key)}"

    @classmethod
    def read(cls, text: str) -> Self | None:
        """The group of this text; None: it is not the text of a group."""
        parent, _, key = text.partition(_MARK)
        parent_id, name_key = find_id(parent), key_of_id(key)
        return None if parent_id is None or name_key is None else cls(parent_id, name_key)


class GroupRow(msgspec.Struct, frozen=True):
    """A group as a row of a tree."""

    group: Group
    name: str
    nodes: int
    shares: list[Share]
    #: 0 at the left edge.
    level: int
    #: Time of the first retry; None: none waits for one, or too many nodes of the workflow do.
    first_retry_at: int | None = None
    is_unfolded: bool = False
    kind: str = "group"


class OthersRow(msgspec.Struct, frozen=True):
    """Children of names that are neither on the page nor a group of it."""

    parent_id: bytes
    nodes: int
    level: int
    kind: str = "others"


class Siblings(msgspec.Struct, frozen=True):
    """Groups of the children of a node."""

    #: In the order of their sizes; empty: no name has so many children.
    groups: Mapping[Group, GroupRow]
    #: Children that are not on the page; 0: all are on it, or in a group.
    others: int = 0


def group_of(node: ChildView) -> Group | None:
    """The group that a node is in, if there is one; None: it is at the top of its workflow."""
    if node.parent_id is None:
        return None
    return Group(node.parent_id, states.name_key(node.user_id, node.name))


def siblings(
    connection: Connection, parent_id: bytes, level: int, shown: Sequence[ChildView], *, goes_on: bool
) -> Siblings:
    """Groups of the children of a node, of which the first are shown, and behind which there may be more.

    Where there is a group, few nodes of another name behind those that are shown are a row, too: else nobody would come
    to them past the group.
    """
    by_name = children_by_name(connection, parent_id, _COUNTS_MAX)
    groups = group_keys(by_name)
    if not groups:
        return Siblings({})
    on_page = Counter(states.name_key(node.user_id, node.name) for node in shown)
    keys = sorted(by_name, key=lambda key: (-by_name[key].total(), key))
    hidden = [key for key in keys if goes_on and on_page[key] < by_name[key].total() < GROUP_MIN]
    listed = groups + hidden[:NAMES_MAX]
    others = [by_name[key].total() - on_page[key] for key in keys if goes_on and key not in listed]
    names = _names(connection, listed, shown)
    retries = first_retries(connection, parent_id, {key: by_name[key] for key in listed})
    rows = (
        GroupRow(
            Group(parent_id, key), names[key], by_name[key].total(), shares_of(by_name[key]), level, retries.get(key)
        )
        for key in listed
        if key in names
    )
    # The search may be a moment behind the page.
    return Siblings({row.group: row for row in rows}, max(0, sum(others)))


def _names(connection: Connection, keys: Collection[int], shown: Sequence[ChildView]) -> dict[int, str]:
    names = {states.name_key(node.user_id, node.name): node.name for node in shown}
    unknown = [key for key in keys if key not in names]
    if unknown:
        names |= {key: owned_name.name for key, owned_name in node_names(connection, unknown).items()}
    return names
