"""What `--where` says: which nodes a bulk command is about."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
import msgspec

from backbeat.compose.facts import error_of
from backbeat.compose.finding import STATUSES, Filters, find_nodes
from backbeat.compose.moments import Moment

if TYPE_CHECKING:
    from backbeat import Client, Node

#: What may stand before the `=`, and what it means.
KEYS = {
    "name": "the node's whole name",
    "status": "a status that it has now",
    "past-status": "a status that it once had",
    "since": "a status changed since: a time, or how long ago",
    "until": "a status changed before",
    "metadata": "stands in the metadata, as compact JSON",
    "workflow": "the workflow's whole name",
    "workflow-id": "the workflow's id",
    "subject": "stands in the workflow's subject, as compact JSON",
    "error": "stands in what its last error says",
}
_TIMES = ("since", "until")
_STATUSES = ("status", "past-status")


@dataclass(frozen=True)
class Conditions:
    """All of them must hold."""

    said: dict[str, str]

    async def find(self, client: Client) -> AsyncIterator[Node]:
        """The nodes for which they hold, oldest first."""
        async for node in find_nodes(client, self._filters(), limit=None):
            if self._holds(node) and await self._error_holds(client, node):
                yield node

    def _filters(self) -> Filters:
        values: dict[str, Any] = {key.replace("-", "_"): self.said.get(key) for key in ("name", *_STATUSES)}
        times: dict[str, Any] = {
            key: Moment().convert(self.said[key], None, None) for key in _TIMES if key in self.said
        }
        return Filters(text=self.said.get("metadata"), **values, **times)

    def _holds(self, node: Node) -> bool:
        """What the search itself does not know."""
        return (
            self.said.get("workflow", node.workflow_name) == node.workflow_name
            and self.said.get("workflow-id", node.workflow_id) == node.workflow_id
            and self.said.get("subject", "") in msgspec.json.encode(node.subject).decode()
        )

    async def _error_holds(self, client: Client, node: Node) -> bool:
        wanted = self.said.get("error")
        if wanted is None:
            return True
        errors = [change for change in await client.history(node.id) if change.to_status == "errored"]
        return bool(errors) and wanted in error_of(errors[-1].response)[0]


def read_conditions(texts: Sequence[str], usual_status: str | None) -> Conditions:
    """The conditions of `--where KEY=VALUE …`; `usual_status` holds where they name none."""
    said: dict[str, str] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        key = key.strip().replace("_", "-")
        if not separator or key not in KEYS:
            raise click.UsageError(f"--where {text!r}: give KEY=VALUE, with one of {', '.join(KEYS)}")
        if key in said:
            raise click.UsageError(f"--where: {key!r} is given twice; all conditions must hold on one node")
        if key in _STATUSES and value not in STATUSES:
            raise click.UsageError(f"--where: there is no status {value!r}; there are: {', '.join(STATUSES)}")
        if key in _TIMES:
            Moment().convert(value, None, click.get_current_context())
        said[key] = value
    if usual_status is not None:
        said.setdefault("status", usual_status)
    return Conditions(said)
