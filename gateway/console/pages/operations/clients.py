"""Client applications: how each is served, what waits for it and who takes that, what of it is at work."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from backbeat.gateway.api.shapes.reports import ActivityFigures
from backbeat.gateway.console.figures import Figures
from backbeat.gateway.console.page_error import not_found
from backbeat.gateway.console.visit import Page, Visit
from backbeat.gateway.http.parameters import find_id
from backbeat.schemas.kafka.client_registry import RegisteredClient
from backbeat.streams.kafka.queues import Queue

_ROWS = 200
_ACTIVITIES = 100


class ClientRow(msgspec.Struct, frozen=True):
    """A client and its topics."""

    client: RegisteredClient
    #: Its activities, by consumer group; empty: nothing was ever sent, or Kafka does not say.
    activities: list[Queue]
    #: Its signals, which the engines take.
    signals: list[Queue]
    #: Milliseconds since the epoch since when its activities wait and nobody takes them, as the health line has it.
    nobody_since: int | None = None

    @property
    def waiting(self) -> int:
        """Activities that nobody has taken yet, of the group that is furthest behind."""
        return max((queue.waiting for queue in self.activities), default=0)


async def show_all(visit: Visit) -> Page:
    """GET /ui/clients."""
    figures = await visit.parts.counter.figures()
    rows = await _rows(visit, visit.clients(), figures)
    rows.sort(key=lambda row: (row.nobody_since is None, row.client.name))
    nodes: dict[bytes, dict[str, int]] = {}
    for activity in (figures.activities if figures is not None else None) or ():
        counts = nodes.setdefault(UUID(activity.user_id).bytes, dict.fromkeys(_COUNTED, 0))
        for word in _COUNTED:
            counts[word] += getattr(activity, word)
    return visit.page(
        "clients.html", "Clients", live="t=figures", rows=rows[:_ROWS], more=max(0, len(rows) - _ROWS), nodes=nodes
    )


_COUNTED = ("failing", "retrying", "running", "waiting")


async def _rows(visit: Visit, clients: list[RegisteredClient], figures: Figures | None) -> list[ClientRow]:
    backlog = await visit.backlog()
    if backlog is None:
        return [ClientRow(client, [], []) for client in clients]
    activities: dict[str, list[Queue]] = {}
    signals: dict[str, list[Queue]] = {}
    for queues, queues_of in ((backlog.queues.activities, activities), (backlog.queues.signals, signals)):
        for queue in queues:
            queues_of.setdefault(queue.topic if queues_of is activities else queue.client, []).append(queue)
    # Whether somebody is there takes several looks: a group without members may be a share group, or between two.
    nobody_since = {of_client.client_id: of_client.nobody_since for of_client in figures.workers} if figures else {}
    return [
        ClientRow(
            client,
            activities.get(client.topic, []),
            signals.get(client.name, []),
            nobody_since.get(client.id_bytes),
        )
        for client in clients
    ]


async def show(visit: Visit) -> Page:
    """GET /ui/clients/{id}."""
    identity = find_id(visit.values["id"])
    client = None if identity is None else visit.services.engine.client(identity)
    if client is None or not visit.who.sees(client.id_bytes):
        raise not_found("client")
    figures = await visit.parts.counter.figures()
    (row,) = await _rows(visit, [client], figures)
    at_work: list[ActivityFigures] = [
        activity
        for activity in (figures.activities if figures is not None else None) or ()
        if UUID(activity.user_id).bytes == client.id_bytes
    ]
    at_work.sort(key=lambda activity: (-activity.failing, -activity.retrying, activity.activity))
    endpoints: dict[str, Any] = {
        "Activities are posted to": client.activity_endpoint,
        "Decisions are posted to": client.decision_endpoint,
        "Notifications are posted to": client.notification_endpoint,
    }
    return visit.page(
        "client.html",
        client.name,
        row=row,
        client=client,
        live="t=figures",
        endpoints=[(label, url) for label, url in endpoints.items() if url],
        at_work=at_work[:_ACTIVITIES],
        more=max(0, len(at_work) - _ACTIVITIES),
        is_counted=figures is not None and figures.activities is not None,
    )
