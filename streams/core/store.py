# ruff: noqa: D102 - MemoryStore does what the protocol above it says
"""What `apply` asks of whoever keeps the records. It changes copies, and puts them back when the command holds."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import nsmallest
from itertools import islice
from typing import Protocol

from backbeat.schemas.messages.jobs import Job
from backbeat.streams.core.schedules.schedule import Schedule

from .records import Answer, CoalesceIndex, Due, Lane, Link, Meta, Node, Place, Pool, SignalTombstone, Workflow


class Store(Protocol):
    """One partition's records. What `get` methods give must not be changed by the caller."""

    meta: Meta

    def get_workflow(self, workflow_id: bytes) -> Workflow | None:
        """A workflow, or null."""

    def get_node(self, node_id: bytes) -> Node | None:
        """A node, or null."""

    def get_link(self, target_id: bytes, child_id: bytes) -> Link | None:
        """A link, or null."""

    def get_answer(self, command_id: bytes) -> Answer | None:
        """The answer to a command with a caller's key, or null."""

    def get_chunk(self, node_id: bytes, number: int) -> bytes | None:
        """An older part of a node's history (`history`), or null."""

    def get_job(self, job_id: bytes) -> Job | None:
        """A job, or null."""

    def jobs(self) -> list[Job]:
        """All jobs, in the order of their ids."""

    def workflows_after(self, workflow_id: bytes, count: int) -> list[Workflow]:
        """The first `count` workflows behind this id, in the order of their ids; of empty bytes: from the first on."""

    def nodes_after(self, node_id: bytes, count: int) -> list[Node]:
        """The same of nodes."""

    def get_waiting(self, workflow_id: bytes, coalesce_key: str) -> CoalesceIndex | None:
        """Which signal waits under this key, or null."""

    def get_removed(self, node_id: bytes) -> SignalTombstone | None:
        """What is left of a node that was removed, or null."""

    def due_after(self, place: tuple[int, bytes] | None, limit: int) -> list[tuple[int, bytes]]:
        """The workflows that wait to be archived: (since when, id), behind this place or from the first on."""

    def put_workflow(self, workflow: Workflow) -> None:
        """Keep a new or changed workflow."""

    def put_node(self, node: Node) -> None:
        """Keep a new or changed node."""

    def put_link(self, target_id: bytes, link: Link) -> None:
        """Keep a new or changed link."""

    def delete_link(self, target_id: bytes, child_id: bytes) -> None:
        """Forget a link."""

    def put_answer(self, command_id: bytes, answer: Answer) -> None:
        """Keep an answer."""

    def delete_answer(self, command_id: bytes) -> None:
        """Forget an answer."""

    def put_chunk(self, node_id: bytes, number: int, chunk: bytes) -> None:
        """Keep an older part of a node's history. It is written once."""

    def get_pool(self, pool_id: bytes) -> Pool | None:
        """A pool of slots, or null."""

    def put_pool(self, pool: Pool) -> None:
        """Keep a new or changed pool."""

    def delete_pool(self, pool_id: bytes) -> None:
        """Forget a pool."""

    def get_lane(self, pool_id: bytes, key: bytes) -> Lane | None:
        """A lane of a pool, or null."""

    def put_lane(self, pool_id: bytes, key: bytes, lane: Lane) -> None:
        """Keep a new or changed lane."""

    def delete_lane(self, pool_id: bytes, key: bytes) -> None:
        """Forget a lane."""

    def get_place(self, pool_id: bytes, node_id: bytes) -> Place | None:
        """A node's place at a pool, or null."""

    def put_place(self, pool_id: bytes, node_id: bytes, place: Place) -> None:
        """Keep a new or changed place."""

    def delete_place(self, pool_id: bytes, node_id: bytes) -> None:
        """Forget a place."""

    def get_schedule(self, schedule_id: bytes) -> Schedule | None:
        """A schedule, or null."""

    def put_schedule(self, schedule: Schedule) -> None:
        """Keep a new or changed schedule."""

    def delete_schedule(self, schedule_id: bytes) -> None:
        """Forget a schedule."""

    def schedules(self) -> Iterator[Schedule]:
        """All schedules of the partition, by id."""

    def put_job(self, job: Job) -> None:
        """Keep a new or changed job."""

    def delete_job(self, job_id: bytes) -> None:
        """Forget a job."""

    def put_waiting(self, workflow_id: bytes, coalesce_key: str, waiting: CoalesceIndex) -> None:
        """Keep which signal waits under this key."""

    def delete_waiting(self, workflow_id: bytes, coalesce_key: str) -> None:
        """Forget which signal waits under this key."""

    def delete_workflow(self, workflow_id: bytes) -> None:
        """Forget a workflow."""

    def delete_node(self, node_id: bytes) -> None:
        """Forget a node."""

    def delete_chunk(self, node_id: bytes, number: int) -> None:
        """Forget an older part of a node's history."""

    def put_removed(self, node_id: bytes, removed: SignalTombstone) -> None:
        """Keep that there was such a node."""

    def delete_removed(self, node_id: bytes) -> None:
        """Forget that there was such a node."""

    def put_due(self, due_at: int, workflow_id: bytes) -> None:
        """Keep that a workflow waits to be archived."""

    def delete_due(self, due_at: int, workflow_id: bytes) -> None:
        """Forget that a workflow waits to be archived."""

    def set_timer(self, due: int, subject_id: bytes, kind: int, number: int) -> None:
        """Have a TimerFired sent at `due` (milliseconds since the epoch)."""

    def clear_timer(self, due: int, subject_id: bytes, kind: int) -> None:
        """Forget a timer that was set."""


class MemoryStore:
    """Records in dictionaries: for tests, and for running workflows in memory."""

    def __init__(self, meta: Meta | None = None) -> None:
        self.meta = meta or Meta()
        self.workflows: dict[bytes, Workflow] = {}
        self.nodes: dict[bytes, Node] = {}
        self.links: dict[tuple[bytes, bytes], Link] = {}
        self.answers: dict[bytes, Answer] = {}
        self.chunks: dict[tuple[bytes, int], bytes] = {}
        self.pools: dict[bytes, Pool] = {}
        self.lanes: dict[tuple[bytes, bytes], Lane] = {}
        self.places: dict[tuple[bytes, bytes], Place] = {}
        self._schedules: dict[bytes, Schedule] = {}
        self.jobs_kept: dict[bytes, Job] = {}
        self.waiting: dict[tuple[bytes, str], CoalesceIndex] = {}
        self.removed: dict[bytes, SignalTombstone] = {}
        self.due: dict[tuple[int, bytes], Due] = {}
        #: (due, subject, kind) -> number
        self.timers: dict[tuple[int, bytes, int], int] = {}

    def get_workflow(self, workflow_id: bytes) -> Workflow | None:
        return self.workflows.get(workflow_id)

    def get_node(self, node_id: bytes) -> Node | None:
        return self.nodes.get(node_id)

    def get_link(self, target_id: bytes, child_id: bytes) -> Link | None:
        return self.links.get((target_id, child_id))

    def get_answer(self, command_id: bytes) -> Answer | None:
        return self.answers.get(command_id)

    def get_chunk(self, node_id: bytes, number: int) -> bytes | None:
        return self.chunks.get((node_id, number))

    def get_job(self, job_id: bytes) -> Job | None:
        return self.jobs_kept.get(job_id)

    def jobs(self) -> list[Job]:
        return [self.jobs_kept[job_id] for job_id in sorted(self.jobs_kept)]

    def workflows_after(self, workflow_id: bytes, count: int) -> list[Workflow]:
        return [
            self.workflows[one] for one in nsmallest(count, (each for each in self.workflows if each > workflow_id))
        ]

    def nodes_after(self, node_id: bytes, count: int) -> list[Node]:
        return [self.nodes[one] for one in nsmallest(count, (each for each in self.nodes if each > node_id))]

    def get_waiting(self, workflow_id: bytes, coalesce_key: str) -> CoalesceIndex | None:
        return self.waiting.get((workflow_id, coalesce_key))

    def get_removed(self, node_id: bytes) -> SignalTombstone | None:
        return self.removed.get(node_id)

    def due_after(self, place: tuple[int, bytes] | None, limit: int) -> list[tuple[int, bytes]]:
        return list(islice((each for each in sorted(self.due) if place is None or each > place), limit))

    def put_workflow(self, workflow: Workflow) -> None:
        self.workflows[workflow.id] = workflow

    def put_node(self, node: Node) -> None:
        self.nodes[node.id] = node

    def put_link(self, target_id: bytes, link: Link) -> None:
        self.links[target_id, link.child] = link

    def delete_link(self, target_id: bytes, child_id: bytes) -> None:
        self.links.pop((target_id, child_id), None)

    def put_answer(self, command_id: bytes, answer: Answer) -> None:
        self.answers[command_id] = answer

    def delete_answer(self, command_id: bytes) -> None:
        self.answers.pop(command_id, None)

    def put_chunk(self, node_id: bytes, number: int, chunk: bytes) -> None:
        self.chunks[node_id, number] = chunk

    def get_pool(self, pool_id: bytes) -> Pool | None:
        return self.pools.get(pool_id)

    def put_pool(self, pool: Pool) -> None:
        self.pools[pool.id] = pool

    def delete_pool(self, pool_id: bytes) -> None:
        self.pools.pop(pool_id, None)

    def get_lane(self, pool_id: bytes, key: bytes) -> Lane | None:
        return self.lanes.get((pool_id, key))

    def put_lane(self, pool_id: bytes, key: bytes, lane: Lane) -> None:
        self.lanes[pool_id, key] = lane

    def delete_lane(self, pool_id: bytes, key: bytes) -> None:
        self.lanes.pop((pool_id, key), None)

    def get_place(self, pool_id: bytes, node_id: bytes) -> Place | None:
        return self.places.get((pool_id, node_id))

    def put_place(self, pool_id: bytes, node_id: bytes, place: Place) -> None:
        self.places[pool_id, node_id] = place

    def delete_place(self, pool_id: bytes, node_id: bytes) -> None:
        self.places.pop((pool_id, node_id), None)

    def get_schedule(self, schedule_id: bytes) -> Schedule | None:
        return self._schedules.get(schedule_id)

    def put_schedule(self, schedule: Schedule) -> None:
        self._schedules[schedule.id] = schedule

    def delete_schedule(self, schedule_id: bytes) -> None:
        self._schedules.pop(schedule_id, None)

    def schedules(self) -> Iterator[Schedule]:
        return (self._schedules[key] for key in sorted(self._schedules))

    def put_job(self, job: Job) -> None:
        self.jobs_kept[job.id] = job

    def delete_job(self, job_id: bytes) -> None:
        self.jobs_kept.pop(job_id, None)

    def put_waiting(self, workflow_id: bytes, coalesce_key: str, waiting: CoalesceIndex) -> None:
        self.waiting[workflow_id, coalesce_key] = waiting

    def delete_waiting(self, workflow_id: bytes, coalesce_key: str) -> None:
        self.waiting.pop((workflow_id, coalesce_key), None)

    def delete_workflow(self, workflow_id: bytes) -> None:
        del self.workflows[workflow_id]

    def delete_node(self, node_id: bytes) -> None:
        del self.nodes[node_id]

    def delete_chunk(self, node_id: bytes, number: int) -> None:
        del self.chunks[node_id, number]

    def put_removed(self, node_id: bytes, removed: SignalTombstone) -> None:
        self.removed[node_id] = removed

    def delete_removed(self, node_id: bytes) -> None:
        del self.removed[node_id]

    def put_due(self, due_at: int, workflow_id: bytes) -> None:
        self.due[due_at, workflow_id] = Due()

    def delete_due(self, due_at: int, workflow_id: bytes) -> None:
        del self.due[due_at, workflow_id]

    def set_timer(self, due: int, subject_id: bytes, kind: int, number: int) -> None:
        self.timers[due, subject_id, kind] = number

    def clear_timer(self, due: int, subject_id: bytes, kind: int) -> None:
        self.timers.pop((due, subject_id, kind), None)
