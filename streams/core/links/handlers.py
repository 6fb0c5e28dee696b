"""Handlers of the commands and tasks of links, and their hooks at signals and nodes."""

from __future__ import annotations

from backbeat.schemas.messages.commands import CloseLink, OpenLink
from backbeat.schemas.messages.status import CLOSED, ServerStatus
from backbeat.schemas.messages.values import TaskKind
from backbeat.streams.core.links import cycles, links
from backbeat.streams.core.step import Handler, StatusListener, TaskHandler

HANDLERS: dict[type, Handler] = {
    OpenLink: links.open_link,
    CloseLink: links.close_link,
}
TASKS: dict[TaskKind, TaskHandler] = {TaskKind.FORGET_LINKS: links.forget}
#: A signal goes to its link's target first; then along the waits of other workflows.
ON_SIGNAL = links.open_first
BEFORE_SIGNAL = cycles.follow_waits
#: A new child opens its link; a closed node closes its own.
ON_NODE = links.open_of_child
ON_STATUS: dict[ServerStatus, StatusListener] = dict.fromkeys(CLOSED, links.close_links)
ON_REFUSED = links.on_refused
