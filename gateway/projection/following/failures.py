"""Rows of nodes that have failed, with their causes: what does not fail writes nothing here."""

from __future__ import annotations

from collections.abc import Mapping

from backbeat.gateway.projection.following.statements import Rows, Statements
from backbeat.gateway.projection.storage import rows, states, tables
from backbeat.gateway.projection.storage.cause import cause_key, cause_of
from backbeat.schemas.messages.activities import error_text
from backbeat.schemas.messages.status import ServerStatus
from backbeat.streams.core.records import Node


class Failures:
    """Failed nodes of one batch."""

    def __init__(self) -> None:
        self._put: dict[int, dict[str, object]] = {}
        self._causes: dict[int, dict[str, object]] = {}
        self._over: list[int] = []

    def note(
        self, number: int, node: Node, workflow_no: int, states_passed: tuple[int, int], chunks: Mapping[int, bytes]
    ) -> None:
        """Take a node that has failed, or had: `states_passed` are its states before and after this batch.

        `chunks`: those of its history that the batch has.
        """
        before, state = states_passed
        server = states.server_of(state)
        was_failed = states.has_failed(before)
        if not states.has_failed(state):
            self._over.append(number)
            return
        error = _newest_error(node, server, chunks)
        if error is None and was_failed and states.server_of(before) is server:
            return
        name_key = states.name_key(node.user_id, node.name)
        cause = cause_of(error[1] if error else "")
        key = cause_key(name_key, cause.text)
        self._causes[key] = {
            "key": key,
            "user_key": states.user_key(node.user_id),
            "name_key": name_key,
            "text": cause.text.encode(errors="replace"),
            "sample": cause.sample.encode(errors="replace"),
        }
        self._put[number] = {
            "node_no": number,
            "workflow_no": workflow_no,
            "parent_id": node.parent_id,
            "seq": node.seq,
            "server": int(server),
            "cause_key": key,
            "at": error[0] if error else node.fires_at,
            "due_at": node.fires_at if server is ServerStatus.RETRYING else None,
        }

    def write(self, statements: Statements) -> None:
        """Write the rows."""
        forget(statements, self._over)
        before = statements.select(tables.failed_nodes, "node_no", list(self._put), "cause_key")
        statements.run(statements.add_causes, list(self._causes.values()))
        statements.run(statements.put_failed_nodes, list(self._put.values()))
        _drop_unused(statements, {row.cause_key for row in before} - self._causes.keys())


def forget(statements: Statements, numbers: list[int]) -> None:
    """Delete the rows of these nodes, where they have some, and causes that nothing else has."""
    failed = statements.select(tables.failed_nodes, "node_no", numbers, "node_no", "cause_key") if numbers else []
    if failed:
        statements.delete(tables.failed_nodes, "node_no", [row.node_no for row in failed])
        _drop_unused(statements, {row.cause_key for row in failed})


def _drop_unused(statements: Statements, keys: set[int]) -> None:
    unused: Rows = [{"b_key": key} for key in sorted(keys)]
    statements.run(statements.drop_causes, unused)


def _newest_error(node: Node, server: ServerStatus, chunks: Mapping[int, bytes]) -> tuple[int, str] | None:
    """Time and text of the error that brought the node here; None: it came in an earlier batch."""
    is_engines = server is ServerStatus.ERRORED
    for content in (node.history, *(chunks[number] for number in sorted(chunks, reverse=True))):
        newest = rows.newest_error(content, of_engine=is_engines)
        if newest is not None:
            return newest[0], error_text(newest[1])
    return None
