"""Several partitions of the core in memory, with the engine's rules of delivery between them.

A command goes to the partition of its route. What a command sends on (`Send`) waits in a queue for its source and
destination, and is delivered in that order, marked with `Source(partition, offset, index of the effect)`, as the
engine does it. `repeat` delivers an old one again: a crash between sending and committing does that.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from backbeat.schemas import routes
from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.limits import limit_key
from backbeat.schemas.messages.replies import Answer
from backbeat.schemas.messages.status import CLIENT_WORDS, CLOSED, SERVER_WORDS, ClientStatus, Mode, ServerStatus, word
from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.core import effects as e
from backbeat.streams.core import records
from backbeat.streams.core.coalesce import coalesce
from backbeat.streams.core.dispatch import apply
from backbeat.streams.core.retention import policies
from backbeat.streams.core.store import MemoryStore
from backbeat.streams.core.tables import (
    ARCHIVE_QUEUE,
    CHUNKS,
    COALESCE_INDEX,
    FAIRNESS_QUEUES,
    INBOXES,
    JOBS,
    LINES,
    LINKS,
    MESSAGES,
    NODES,
    POOLS,
    REFERENCES,
    SCHEDULES,
    SLOT_TICKETS,
    STORED_REPLIES,
    TOMBSTONES,
    WORKFLOWS,
)
from backbeat.streams.core.takes.records import ReferenceState
from backbeat.streams.core.tree import history, status
from backbeat.streams.core.tree.deactivation import belongs_to_removed_workflow, is_deactivated
from tests.streams.core.storing import encoded

USER = b"u" * 16
OTHER = b"o" * 16
TIMER_KINDS = {kind: kind.name.lower() for kind in TimerKind}
TIMER_NUMBERS = {name: kind for kind, name in TIMER_KINDS.items()}


@dataclass
class Happened:
    """What one command led to, everything that it sent on included."""

    effects: list[e.Effect] = field(default_factory=list)
    commands: int = 0  #: how many were applied

    def of(self, kind: type) -> list[Any]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    @property
    def replies(self) -> list[Answer]:
        return [effect.answer for effect in self.of(e.Reply)]

    @property
    def reply(self) -> Any:
        """The one answer; a refusal that nobody waits for counts as one."""
        answers = self.replies + [effect.rejection for effect in self.of(e.DeadLetter)]
        assert len(answers) == 1, answers
        return answers[0]

    @property
    def dispatches(self) -> list[tuple[bytes, int]]:
        return sorted((effect.node.id, effect.node.attempt) for effect in self.of(e.Dispatch))

    @property
    def dispatched(self) -> list[str]:
        """The names of the nodes that were sent, in order."""
        return [effect.node.name for effect in self.of(e.Dispatch)]


class World:
    """Partitions, and what is under way between them."""

    def __init__(
        self,
        partitions: int = 1,
        settings: Settings | None = None,
        make_store: Callable[[], MemoryStore] = MemoryStore,
    ) -> None:
        self.stores = [make_store() for _ in range(partitions)]
        for store in self.stores:
            store.meta.settings = settings or Settings()
        self.offsets = [0] * partitions
        self.now = 1_000_000
        self.under_way: dict[tuple[int, int], deque[c.AnyCommand]] = {}
        self.delivered: list[c.AnyCommand] = []  #: every command between partitions that was delivered
        self._ids = 0

    # --- sending -----------------------------------------------------------------------------------------------------

    def new_id(self) -> bytes:
        self._ids += 1
        return ids.command_id(b"test", self._ids.to_bytes(8, "big"))

    def partition(self, identity: bytes) -> int:
        return ids.partition_of(identity, len(self.stores))

    def store_of(self, identity: bytes) -> MemoryStore:
        return self.stores[self.partition(identity)]

    def send(self, command: c.AnyCommand, now: int | None = None) -> Happened:
        """Apply a command; what it sends on stays under way."""
        if now is not None:
            self.now = now
        happened = Happened()
        for number in self._partitions(command):
            self._apply(number, command, happened)
        return happened

    def _partitions(self, command: c.AnyCommand) -> list[int]:
        identity = routes.route(command)
        if identity is None:
            return list(range(len(self.stores)))
        if isinstance(command, c.TimerFired):  # comes from the partition that holds the timer
            for number, store in enumerate(self.stores):
                if any(subject == command.subject_id for _, subject, _ in store.timers):
                    return [number]
        return [self.partition(identity)]

    def _apply(self, number: int, command: c.AnyCommand, happened: Happened) -> None:
        store = self.stores[number]
        offset = self.offsets[number]
        self.offsets[number] += 1
        effects = apply(command, self.now, store)
        store.meta.next_offset = offset + 1
        happened.effects += effects
        happened.commands += 1
        for index, effect in enumerate(effects):
            if isinstance(effect, e.Send):
                source = c.Source(number, offset, index)
                marked = msgspec.structs.replace(effect.command, source=source)
                identity = routes.route(marked)
                assert identity is not None
                self.under_way.setdefault((number, self.partition(identity)), deque()).append(marked)
            elif isinstance(effect, e.Broadcast):
                marked = msgspec.structs.replace(effect.command, source=c.Source(number, offset, index))
                for to in range(len(self.stores)):
                    self.under_way.setdefault((number, to), deque()).append(marked)

    def deliver(self, happened: Happened, chance: random.Random | None = None) -> bool:
        """One of the commands that are under way. False: there was none."""
        waiting = [pair for pair, queue in sorted(self.under_way.items()) if queue]
        if not waiting:
            return False
        pair = waiting[0] if chance is None else chance.choice(waiting)
        command = self.under_way[pair].popleft()
        self.delivered.append(command)
        self._apply(pair[1], command, happened)
        return True

    def drain(self, happened: Happened | None = None, chance: random.Random | None = None) -> Happened:
        """Everything that is under way, and what comes of it."""
        happened = happened or Happened()
        for _ in range(100_000):
            if not self.deliver(happened, chance):
                return happened
        raise AssertionError("commands go on for ever")

    def do(self, command: c.AnyCommand, now: int | None = None, chance: random.Random | None = None) -> Happened:
        """Apply a command and everything that it sends on."""
        return self.drain(self.send(command, now), chance)

    def repeat(self, command: c.AnyCommand) -> Happened:
        """Deliver again what was delivered before, as after a crash."""
        happened = Happened()
        for number in self._partitions(command):
            self._apply(number, command, happened)
        return happened

    # --- reading -----------------------------------------------------------------------------------------------------

    def nodes(self) -> dict[bytes, records.Node]:
        """All nodes but those that a removal has left over for its next slices."""
        return {
            node.id: node
            for store in self.stores
            for node in store[NODES].values()
            if not belongs_to_removed_workflow(node, store[WORKFLOWS].get(node.workflow_id))
        }

    def workflows(self) -> dict[bytes, records.Workflow]:
        return {workflow.id: workflow for store in self.stores for workflow in store[WORKFLOWS].values()}

    def node(self, node_id: bytes) -> records.Node:
        return self.store_of(node_id)[NODES][node_id]

    def statuses(self, node_id: bytes) -> tuple[str, str]:
        """Server and client status as a reader sees them."""
        store = self.store_of(node_id)
        node = store[NODES][node_id]
        server = node.server
        if is_deactivated(store, node, store[WORKFLOWS][node.workflow_id]):
            server = ServerStatus.DEACTIVATED
        return word(server), word(node.client)

    def history(self, node_id: bytes) -> list[tuple[str, str, str, int, bytes | None]]:
        """The status changes of a node, oldest first."""
        store = self.store_of(node_id)
        node = store[NODES][node_id]
        chunks = [store[CHUNKS][node_id, number] for number in range(node.history_chunks)]
        return [
            (
                "server" if change.server else "client",
                word(change.from_status),
                word(change.to_status),
                change.at,
                change.response,
            )
            for change in history.unpack(b"".join(chunks) + node.history)
        ]

    def moves(self, node_id: bytes) -> list[str]:
        """The history in short: `server ready started`."""
        return [f"{which} {before} {to}" for which, before, to, _, _ in self.history(node_id)]

    def timers(self) -> dict[tuple[bytes, str], tuple[int, int]]:
        """(subject, kind) -> (due, number)."""
        return {
            (subject, TIMER_KINDS[kind]): (due, number)
            for store in self.stores
            for (due, subject, kind), number in store.timers.items()
        }

    def timer(self, subject_id: bytes) -> tuple[str, int] | None:
        """Kind and time of the one timer of a node."""
        timers = [(kind, due) for (subject, kind), (due, _) in self.timers().items() if subject == subject_id]
        assert len(timers) <= 1, timers
        return timers[0] if timers else None

    def fired(self, subject_id: bytes, kind: str | None = None, number: int | None = None) -> c.TimerFired:
        """The command of a timer that is due; by default of the one that stands."""
        for (subject, name), (_, standing) in self.timers().items():
            if subject == subject_id and kind in (None, name):
                return self.timer_fired(subject_id, TIMER_NUMBERS[name], standing if number is None else number)
        assert kind is not None and number is not None, "no such timer stands"  # noqa: PT018
        return self.timer_fired(subject_id, TIMER_NUMBERS[kind], number)

    def timer_fired(self, subject_id: bytes, kind: int, number: int) -> c.TimerFired:
        # As it comes out of a record: a number.
        return c.TimerFired(id=self.new_id(), subject_id=subject_id, kind=int(kind), number=number)  # type: ignore[arg-type]

    def fire(self, subject_id: bytes, now: int | None = None) -> Happened:
        """The node's timer fires, by default at its time."""
        command = self.fired(subject_id)
        if now is None:
            now = max(self.now, next(due for (s, _), (due, _) in self.timers().items() if s == subject_id))
        return self.do(command, now)

    def snapshot(self) -> bytes:
        """All records, byte for byte; positions and times of the partition left out."""
        return msgspec.msgpack.encode(
            [
                [
                    sorted(encoded(store).items()),
                    sorted(store.timers.items()),
                    [store.meta.settings, store.meta.retention, store.meta.limits],
                ]
                for store in self.stores
            ]
        )

    # --- invariants (style.md, section 3) ----------------------------------------------------------------------------

    def check(self) -> None:
        """What must hold whenever nothing is under way."""
        assert not any(self.under_way.values()), "commands are under way"
        nodes = self.nodes()
        assert len(nodes) == sum(len(store[NODES]) for store in self.stores), "nodes of a workflow that was removed"
        assert {key[0] for store in self.stores for key in store[CHUNKS]} <= set(nodes), "history of a removed node"
        parents: dict[bytes, records.Parent] = {**self.workflows(), **nodes}
        below: dict[bytes, list[records.Node]] = {identity: [] for identity in parents}
        for node in sorted(nodes.values(), key=lambda node: node.seq):
            below[node.parent_id or node.workflow_id].append(node)
        for identity, parent in parents.items():
            self._check_ledger(parent, below[identity])
        for node in nodes.values():
            self._check_node(node, below[node.id], nodes)
        for workflow in self.workflows().values():
            assert workflow.sweeps == 0
            assert workflow.continuations_pending == 0
            self._check_rest(workflow, nodes)
        self._check_waiting(nodes)
        self._check_references(nodes)
        self._check_messages(nodes)
        expected = {
            (row.timer_at, row.id, row.timer_kind): row.timer_number
            for row in [*nodes.values(), *(schedule for store in self.stores for schedule in store[SCHEDULES].values())]
            if row.timer_at is not None
        }
        expected |= {key: n for store in self.stores for key, n in store.timers.items() if key[2] == TimerKind.ANSWER}
        expected |= {
            (pool.timer_at, pool.id, TimerKind.SLOT): pool.timer_number
            for store in self.stores
            for pool in store[POOLS].values()
            if pool.timer_at is not None
        }
        expected |= {
            (job.forget_at, job.id, TimerKind.JOB): 0
            for store in self.stores
            for job in store[JOBS].values()
            if job.forget_at is not None
        }
        expected |= {
            (workflow.removal_at, workflow.id, TimerKind.RETENTION): workflow.removal_number
            for workflow in self.workflows().values()
            if workflow.removal_at is not None
        }
        expected |= {
            (removed.forget_at, node_id, TimerKind.REFUSAL): 0
            for store in self.stores
            for node_id, removed in store[TOMBSTONES].items()
        }
        assert {key: n for store in self.stores for key, n in store.timers.items()} == expected
        check_slots(self)
        for store in self.stores:
            assert store.meta.removed == len(store[TOMBSTONES])
            assert {identity for _, identity in store[ARCHIVE_QUEUE]} <= set(store[WORKFLOWS])
            answered = {subject for (_, subject, kind) in store.timers if kind == TimerKind.ANSWER}
            assert answered >= set(store[STORED_REPLIES])

    def _check_rest(self, workflow: records.Workflow, nodes: dict[bytes, records.Node]) -> None:
        """Whether anything is left to do is known from the workflow's record alone; what is planned for it fits."""
        own = [node for node in nodes.values() if node.workflow_id == workflow.id]
        loose = [
            node
            for node in own
            if node.server not in CLOSED
            and (
                node.mode is Mode.FIRE_AND_FORGET
                or (node.parent_id is not None and nodes[node.parent_id].server in CLOSED)
            )
        ]
        assert workflow.detached_open == len(loose), "detached_open and a recount differ"
        is_over = all(node.server in CLOSED for node in own)
        assert policies.is_finished(workflow) == is_over, "a workflow is finished when all of its nodes are closed"
        store = self.store_of(workflow.id)
        planned = (workflow.removal_at is not None, workflow.due_at is not None)
        under_policy = is_over and policies.policy_of(store, workflow) is not None
        assert sum(planned) == under_policy == (workflow.finished_at is not None), (planned, under_policy)
        due = [since for since, identity in store[ARCHIVE_QUEUE] if identity == workflow.id]
        assert due == ([] if workflow.due_at is None else [workflow.due_at])

    def _check_references(self, nodes: dict[bytes, records.Node]) -> None:
        """Each reference that waits is in the chain of a producer that is open; its taker knows how many there are."""
        references = {key: row for store in self.stores for key, row in store[REFERENCES].items()}
        for node in nodes.values():
            flow = node.flow or records.Flow()
            own = {slot: row for (taker, slot), row in references.items() if taker == node.id}
            assert sorted(own) == list(range(flow.taken)), "a reference for each slot"
            waiting = [row for row in own.values() if row.state is ReferenceState.WAITS]
            if node.server not in CLOSED:
                assert flow.missing == len(waiting), "missing and a recount differ"
                assert all(nodes[row.producer].server not in CLOSED for row in waiting), (
                    "a taker waits for what is over"
                )
            chain, key = [], (flow.first_taker, flow.first_slot)
            while key[0] is not None:
                chain.append(key)
                assert references[key].producer == node.id
                key = (references[key].next_taker, references[key].next_slot)
            assert not chain or chain[-1] == (flow.last_taker, flow.last_slot)
            assert len(chain) == len(set(chain))
            assert not chain or node.server not in CLOSED, "a closed node has told its takers"
            expected = {
                key
                for key, row in references.items()
                if row.producer == node.id and row.state is ReferenceState.WAITS and nodes[key[0]].server not in CLOSED
            }
            assert expected <= set(chain)
        assert {taker for taker, _ in references} <= set(nodes), "references of a removed node"

    def _check_messages(self, nodes: dict[bytes, records.Node]) -> None:
        """The nodes that wait for messages of a name are a line; where there is one, no such message is kept."""
        waiting = {node.id for node in nodes.values() if node.awaits and node.server is ServerStatus.SENT_TO_CLIENT}
        assert waiting == {node.id for node in nodes.values() if node.awaits and node.awaits.in_line}
        for store in self.stores:
            for (workflow_id, name), line in store[LINES].items():
                before, node_id = None, line.first
                while node_id is not None:
                    node = nodes[node_id]
                    waiting.remove(node_id)
                    assert (node.workflow_id, node.name, node.awaits.before) == (workflow_id, name, before)
                    before, node_id = node_id, node.awaits.after
                assert before == line.last
                inbox = store[INBOXES].get(workflow_id)
                assert inbox is None or name not in {kept for _, kept in inbox.kept}, "a message that is not given"
            kept = {(identity, number): name for identity, row in store[INBOXES].items() for number, name in row.kept}
            assert kept == {key: message.name for key, message in store[MESSAGES].items()}
            for identity, row in store[INBOXES].items():
                assert row.kept, "an inbox without a message"
                own = [message for (workflow_id, _), message in store[MESSAGES].items() if workflow_id == identity]
                assert row.size_bytes == sum(len(message.name.encode()) + len(message.payload) for message in own)
                assert identity in store[WORKFLOWS], "messages of a removed workflow"
        assert not waiting, "a node waits in no line"

    def _check_waiting(self, nodes: dict[bytes, records.Node]) -> None:
        """Under a coalesce_key stands the newest node of it, as long as that waits; and nothing else."""
        newest = {
            (node.workflow_id, node.coalesce_key): node
            for node in sorted(nodes.values(), key=lambda node: node.seq)
            if node.coalesce_key
        }
        expected = {key: node.id for key, node in newest.items() if coalesce.still_waits(node)}
        index = {key: row.node_id for store in self.stores for key, row in store[COALESCE_INDEX].items()}
        assert {key: row for key, row in index.items() if key in expected} == expected
        for key, node_id in index.items():
            assert newest[key].id == node_id, "an older signal stands under its key"

    def _check_ledger(self, parent: records.Parent, children: list[records.Node]) -> None:
        chain = []
        store = self.store_of(parent.id)  # type: ignore[attr-defined]
        child_id = parent.first_child
        while child_id is not None:
            chain.append(child_id)
            child_id = store[NODES][child_id].next_sibling
        assert chain == [child.id for child in children], "the chain of children"
        assert parent.last_child == (chain[-1] if chain else None)
        open_children = [
            child for child in children if child.server not in CLOSED and child.mode is not Mode.FIRE_AND_FORGET
        ]
        assert parent.children_open == len(open_children), "children_open and a recount differ"
        # A blocking sibling never lets a later one overtake it.
        in_the_way = False
        for child in children:
            if child.parent_id is None and child.follow_ups is not None and child.follow_ups.is_added:
                continue  # What follows a cancel starts at once.
            if in_the_way:
                never_started = ("pending", "ready", "deactivated", "errored")
                is_beside = child.parent_id is None and child.mode is Mode.NON_BLOCKING
                assert is_beside or word(child.server) in never_started or child.server is ServerStatus.DEACTIVATED, (
                    "a sibling overtook a blocking one"
                )
            if child.mode is Mode.BLOCKING and child.server not in CLOSED:
                in_the_way = True

    def _check_node(self, node: records.Node, children: list[records.Node], nodes: dict[bytes, records.Node]) -> None:
        store = self.store_of(node.id)
        waiting = [link for (target, _), link in store[LINKS].items() if target == node.id and link.open]
        assert node.links_open == len(waiting), "links_open and a recount differ"
        if node.server in CLOSED:
            assert not [1 for target, _ in store[LINKS] if target == node.id], (
                "links are kept until the target is final"
            )
        for link in waiting:
            assert link.child not in nodes or nodes[link.child].server not in CLOSED, "an open link to a closed node"
        if node.server is ServerStatus.COMPLETE:
            for child in children:
                assert child.server in CLOSED or child.mode is Mode.FIRE_AND_FORGET, "open below complete"
        timed = {
            ServerStatus.STARTED: {TimerKind.START},
            ServerStatus.RETRYING: {TimerKind.RETRY},
            ServerStatus.SENT_TO_CLIENT: {TimerKind.EXPIRY},
        }
        if node.timer_at is not None:
            assert node.timer_kind in timed.get(node.server, set()), "a timer of a node that does not wait"
        elif node.server in (ServerStatus.STARTED, ServerStatus.RETRYING) and node.slot is None:
            raise AssertionError("a node waits without a timer")
        entries = self.history(node.id)
        server, client = ServerStatus.PENDING, ClientStatus.PENDING
        for which, before, to, _, _ in entries:
            if which == "server":
                assert to in {word(s) for s in status.SERVER_TRANSITIONS[SERVER_WORDS[before]]}
                server = SERVER_WORDS[to]
            else:
                assert to in {word(s) for s in status.CLIENT_TRANSITIONS[CLIENT_WORDS[before]]}
                client = CLIENT_WORDS[to]
        if entries:
            assert server is node.server or not [1 for entry in entries if entry[0] == "server"]
            assert client is node.client or not [1 for entry in entries if entry[0] == "client"]


def check_slots(world: World) -> None:
    """Every node that asked has its place, and no other has; lines, rings and counts are whole."""
    places = {pair: (store, place) for store in world.stores for pair, place in store[SLOT_TICKETS].items()}
    for node in world.nodes().values():
        if node.slot is None:
            continue
        out = node.server is ServerStatus.SENT_TO_CLIENT
        assert out or node.server is ServerStatus.STARTED, "a slot of a node that neither waits nor runs"
        entry = places.pop((node.slot, node.id), None)
        if entry is None:
            assert out, "a node waits where nobody knows of it"
            continue  # Started while there was no limit where its pool is.
        assert (entry[1].number, entry[1].has_slot) == (node.slot_number, out), "a place and its node differ"
    assert not places, "places of nodes that neither wait nor run"
    for store in world.stores:
        chained = set()
        for key, first in store.meta.pools.items():
            before, pool_id = None, first
            while pool_id is not None:
                pool = store[POOLS][pool_id]
                assert pool.before == before
                assert limit_key(pool.client_id, pool.activity) == key
                chained.add(pool_id)
                before, pool_id = pool_id, pool.next
        assert chained == set(store[POOLS]), "a pool that no chain leads to"
        assert not store.meta.refill_cursors
        assert not store.meta.limits_ordered
        lanes = {pair for pool in store[POOLS].values() for pair in _check_line(store, pool)}
        assert lanes == set(store[FAIRNESS_QUEUES])


def _check_line(store: MemoryStore, pool: records.Pool) -> set[tuple[bytes, bytes]]:
    places = {node_id: place for (pool_id, node_id), place in store[SLOT_TICKETS].items() if pool_id == pool.id}
    assert pool.in_use == sum(place.has_slot for place in places.values()), "out and a recount differ"
    lanes: set[tuple[bytes, bytes]] = set()
    for at, level in enumerate(pool.bands):
        waiting = {n: p for n, p in places.items() if not p.has_slot and p.priority == at + 1}
        assert level.waiting == len(waiting), "waiting and a recount differ"
        chain, node_id = [], level.oldest
        while node_id is not None:
            assert waiting[node_id].older == (chain[-1] if chain else None)
            chain.append(node_id)
            node_id = waiting[node_id].younger
        assert sorted(chain) == sorted(waiting), "the chain by age"
        assert level.newest == (chain[-1] if chain else None)
        assert [waiting[n].asked_at for n in chain] == sorted(p.asked_at for p in waiting.values())
        ring, key = [], level.turn
        while key is not None and key not in ring:
            ring.append(key)
            lane = store[FAIRNESS_QUEUES][pool.id, key]
            assert store[FAIRNESS_QUEUES][pool.id, lane.next].before == key
            in_lane, node_id = [], lane.first
            while node_id is not None:
                assert waiting[node_id].queue == key
                assert waiting[node_id].before == (in_lane[-1] if in_lane else None)
                in_lane.append(node_id)
                node_id = waiting[node_id].next
            assert in_lane == [n for n in chain if waiting[n].queue == key], "a lane goes by age"
            assert lane.last == in_lane[-1], "an empty lane"
            key = lane.next
        assert {waiting[n].queue for n in chain} == set(ring)
        lanes |= {(pool.id, key) for key in ring}
    return lanes


def reply_to(number: int = 0) -> c.ReplyTo:
    return c.ReplyTo(0, b"a" * 16, number)
