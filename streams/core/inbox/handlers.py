"""Handlers and tasks of messages, and the hooks of the tree for nodes that wait for them."""

from __future__ import annotations

from backbeat.schemas.messages.commands import SendMessage
from backbeat.schemas.messages.status import ServerStatus
from backbeat.schemas.messages.values import TaskKind
from backbeat.streams.core.inbox import inbox
from backbeat.streams.core.step import Handler, StatusListener, TaskHandler
from backbeat.streams.core.tree.status import SENT_TO_CLIENT, SERVER_TRANSITIONS

HANDLERS: dict[type, Handler] = {SendMessage: inbox.send_message}
TASKS: dict[TaskKind, TaskHandler] = {TaskKind.DELIVER_MESSAGE: inbox.deliver}
AWAIT_MESSAGE = inbox.await_message
NO_MESSAGE = inbox.no_message
#: Whatever becomes of a node that waits, it leaves its line.
ON_STATUS: dict[ServerStatus, StatusListener] = dict.fromkeys(SERVER_TRANSITIONS[SENT_TO_CLIENT], inbox.leave)
