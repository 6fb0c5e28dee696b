"""Actions on nodes and workflows: what they do, when the core allows them, and the command of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from backbeat.schemas.messages import commands
from backbeat.schemas.messages.status import CLOSED, ClientStatus, ServerStatus
from backbeat.schemas.messages.views import NodeView, WorkflowView
from backbeat.streams.core.tree.status import CLIENT_TRANSITIONS, SERVER_TRANSITIONS


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """An action on a node or a workflow."""

    #: In the address and the audit.
    word: str
    label: str
    #: What it will do, as a sentence.
    effect: str
    kind: type[commands.AnyCommand]
    #: Fields of the command beside the subject's id.
    fields: dict[str, Any]
    #: True if it is possible in this state; the engine has the last word.
    is_allowed: Callable[[Any], bool]
    #: True if nothing brings back what it ends: a reason is required.
    is_final: bool = False
    #: The same at a terminal; the id follows.
    command_line: str


def _may_become(client: ClientStatus, server: ServerStatus) -> Callable[[NodeView], bool]:
    return lambda node: client in CLIENT_TRANSITIONS[node.client] and server in SERVER_TRANSITIONS[node.server]


def _may_retry(node: NodeView) -> bool:
    if node.client is ClientStatus.READY and node.server is ServerStatus.ERRORED:
        return True
    # A node whose parent has not returned may not begin, whatever the tables say.
    return node.client is not ClientStatus.PENDING and _may_become(ClientStatus.READY, ServerStatus.READY)(node)


def _is_alive(node: NodeView) -> bool:
    return node.server is not ServerStatus.DEACTIVATED


NODE_ACTIONS: tuple[Action, ...] = (
    Action(
        word="retry",
        label="Retry",
        effect="It is tried again now, with the same arguments. Where no retries are left, another "
        "failure brings it back here.",
        kind=commands.RestartNode,
        fields={},
        is_allowed=_may_retry,
        command_line="backbeat node retry",
    ),
    Action(
        word="resolve",
        label="Resolve",
        effect="It counts as done although it failed; its siblings and its parent go on.",
        kind=commands.ChangeNode,
        fields={"status": "resolved"},
        is_allowed=_may_become(ClientStatus.RESOLVED, ServerStatus.PROCESSING_CHILDREN),
        is_final=True,
        command_line="backbeat node resolve",
    ),
    Action(
        word="shutdown",
        label="Shut down",
        effect="It is given up. Where it blocks its later siblings, they are deactivated; its parent goes on.",
        kind=commands.ChangeNode,
        fields={"status": "shutdown"},
        is_allowed=_may_become(ClientStatus.SHUTDOWN, ServerStatus.PROCESSING_CHILDREN),
        is_final=True,
        command_line="backbeat node shutdown",
    ),
    Action(
        word="reset",
        label="Reset",
        effect="Everything below it is deactivated for good; it stays itself as it is. `backbeat node start-next` "
        "lets it go on.",
        kind=commands.ResetNode,
        fields={},
        is_allowed=_is_alive,
        is_final=True,
        command_line="backbeat node reset",
    ),
    Action(
        word="cancel",
        label="Cancel",
        effect="It and everything below it is canceled for good; its siblings and its parent go on without it. A "
        "handler that is at work is told.",
        kind=commands.ChangeNode,
        fields={"status": "canceled"},
        is_allowed=lambda node: node.server not in CLOSED,
        is_final=True,
        command_line="backbeat node cancel",
    ),
)

#: Its form asks for more than why: `pages.operations.signals`.
SIGNAL = Action(
    word="signal",
    label="Signal",
    effect="A node of this name is made at the top of the workflow; its turn comes after the signals before it.",
    kind=commands.Signal,
    fields={},
    is_allowed=lambda workflow: not workflow.complete,
    command_line="backbeat signal",
)

WORKFLOW_ACTIONS: tuple[Action, ...] = (
    SIGNAL,
    Action(
        word="pause",
        label="Pause",
        effect="Nothing more is begun in this workflow until it is resumed; what is at work goes on.",
        kind=commands.ChangeWorkflow,
        fields={"change": "pause"},
        is_allowed=lambda workflow: not workflow.paused,
        command_line="backbeat workflow pause",
    ),
    Action(
        word="resume",
        label="Resume",
        effect="What was held up begins.",
        kind=commands.ChangeWorkflow,
        fields={"change": "resume"},
        is_allowed=lambda workflow: bool(workflow.paused),
        command_line="backbeat workflow resume",
    ),
    Action(
        word="complete",
        label="Take no more signals",
        effect="Further signals are refused for good; the nodes that are there go on.",
        kind=commands.ChangeWorkflow,
        fields={"change": "complete"},
        is_allowed=lambda workflow: not workflow.complete,
        is_final=True,
        command_line="backbeat workflow close",
    ),
)


def allowed_actions(actions: tuple[Action, ...], view: NodeView | WorkflowView) -> list[Action]:
    """Actions that are possible now."""
    return [action for action in actions if action.is_allowed(view)]
