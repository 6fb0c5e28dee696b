"""Failures of a node: client errors, retries, expiry, server errors (behaviour document, section 4)."""

from __future__ import annotations

import msgspec

from backbeat.schemas.messages.activities import error_of
from backbeat.schemas.messages.commands import ChangeNode, DeliveryFailed, FailNode
from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.core.checks import check_response
from backbeat.streams.core.effects import Notify, node_view
from backbeat.streams.core.records import Node
from backbeat.streams.core.retry import HANDED_BACK_MAX, handed_back_ms, wait_ms
from backbeat.streams.core.step import Step
from backbeat.streams.core.tree import progress, status
from backbeat.streams.core.tree.status import SERVER_TRANSITIONS

EXPIRED = msgspec.json.encode({"error": "Client did not respond within the specified 'complete_by' time"})


def is_running(node: Node, attempt: int) -> bool:
    """True when this attempt is with the client and not answered."""
    return (
        node.attempt == attempt
        and node.server is status.SENT_TO_CLIENT
        and node.client in (status.CLIENT_RECEIVED, status.CLIENT_PROCESSING)
    )


def client_error(step: Step, node: Node, response: bytes | None, answer: ChangeNode | None = None) -> None:
    """A client error: retry later, or exhaust the retries and notify the client.

    `answer` is the client's own. One that is not retriable leaves the retries: a restart by hand may use them.
    """
    is_handed_back = answer is not None and not answer.attempted and node.handed_back < HANDED_BACK_MAX
    again = is_handed_back or (node.retries_remaining > 0 and (answer is None or answer.retriable))
    server = status.RETRYING if again else status.RETRIES_EXHAUSTED
    step.check(node, status.CLIENT_ERRORED, server)
    step.set_client(node, status.CLIENT_ERRORED, response)
    node.complete_by = node.timer_at = None
    if again:
        if is_handed_back:
            node.handed_back += 1
            wait = handed_back_ms(node)
        else:
            node.retries_remaining -= 1
            wait = wait_ms(node, None if answer is None else answer.retry_after_seconds)
        node.fires_at = step.now + wait
        step.set_server(node, server)
        step.set_timer(node, node.fires_at, TimerKind.RETRY)
    else:
        step.set_server(node, server)
        _notify(step, node, "Client Error", response)
        if node.follow_ups is not None:
            step.hooks.follow_ups.exhausted(step, node, response)


def retry(step: Step, node: Node, fires_at: int) -> None:
    """Retry: ready/ready, everything below deactivated, then schedule next of the parent."""
    node.timer_at = None
    node.fires_at = fires_at
    step.set_client(node, status.CLIENT_READY)
    step.set_server(node, status.READY)
    progress.reset(step, node)
    progress.reschedule(step, node)


def deliver_failed(step: Step, command: DeliveryFailed) -> None:
    """A client error: the activity cannot be delivered."""
    node = step.enter_node(command.node_id)
    if node is None or not is_running(node, command.attempt):
        step.ignore("a failed delivery that the client has answered meanwhile")
        return
    check_response(step, command.response)
    client_error(step, node, command.response)


def server_error(step: Step, command: FailNode) -> None:
    """A server error: the engine failed on the node."""
    node = step.enter_node(command.node_id)
    if node is None or status.ERRORED not in SERVER_TRANSITIONS[node.server]:
        step.ignore("a server error of a node that is over")
        return
    response = msgspec.json.encode({"error": {"message": command.message}})
    node.timer_at = None
    step.set_server(node, status.ERRORED, response)
    _notify(step, node, "Server Error", response)


def _notify(step: Step, node: Node, message: str, response: bytes | None) -> None:
    step.effects.append(Notify(node_view(node, step.workflow), node.name, message, error_of(response)))
