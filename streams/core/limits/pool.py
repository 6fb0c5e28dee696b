"""Slots: the concurrency and the rate of an activity type.

Theory of operation. A limit belongs to one client and activity type (`messages.limits.Limit`); every partition has it.
Each value of its key has a pool of slots, in the partition of the pool's id. A node that is to start acquires a slot of
its pool (`AskSlot`) and waits, started; when there is room the pool grants it (`GrantSlot`), and the node is sent to
its client; when its attempt ends in any way, or it will not start, its partition releases it (`ReleaseSlot`). Each of
the three has the node and the number of its request, and goes from partition to partition as all commands do, so that
a repeat changes nothing.

`slots` is the node's side, `wait_queue` the order of waiting nodes, this the pool's side. An idle pool has no record.
"""

from __future__ import annotations

from backbeat.schemas.messages.commands import AskSlot, FillPool, GrantSlot, ReleaseSlot, SpreadLimit, TimerFired
from backbeat.schemas.messages.limits import Limit
from backbeat.streams.core.effects import Send
from backbeat.streams.core.limits.pool_records import PoolRecords
from backbeat.streams.core.limits.records import Pool, SlotTicket
from backbeat.streams.core.limits.wait_queue import enqueue, is_empty, next_in_line, queue_key, remove
from backbeat.streams.core.step import Step

PoolCommand = AskSlot | ReleaseSlot | FillPool | SpreadLimit | TimerFired


def do(step: Step, command: PoolCommand) -> None:
    """Apply one command on pools. None is ever refused."""
    work = _Work(step)
    match command:
        case AskSlot():
            work.acquire(command)
        case ReleaseSlot():
            work.release(command)
        case FillPool():
            work.go_on(command)
        case SpreadLimit():
            work.replicate(command)
        case TimerFired():
            work.fired(command)


class _Work:
    """The work of one command on pools."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._records = PoolRecords(step.transaction)
        self._command = step.command
        self._now = step.now

    def acquire(self, command: AskSlot) -> None:
        """Enqueue a node; grant its slot at once where there is room."""
        records = self._records
        pool = records.find(command.pool_id)
        if pool is None:
            if records.limit_of(command.client_id, command.activity) is None:
                self._grant(command.pool_id, command.node_id, command.number)  # The limit was removed meanwhile.
                return
            pool = Pool(id=command.pool_id, client_id=command.client_id, activity=command.activity, key=command.key)
            records.add(pool)
        assert records.find_ticket(pool, command.node_id) is None, "a node asks once it has given back what it had"
        ticket = SlotTicket(number=command.number, has_slot=False, asked_at=self._now, priority=command.priority)
        records.add_ticket(pool, command.node_id, ticket)
        limit = self._limit_of(pool)
        if is_empty(pool) and self._has_room(pool, limit):
            # The queue is empty, and need not be touched.
            self._hand_out(pool, command.node_id, ticket, limit)
            self._forget_if_idle(pool, limit)
            return
        ticket.queue = queue_key(command.priority, command.fairness_key)
        enqueue(records, pool, command.node_id, ticket)
        self._fill(pool, limit)

    def release(self, command: ReleaseSlot) -> None:
        """Take a slot back, or remove a node from the queue."""
        records = self._records
        pool = records.find(command.pool_id)
        ticket = None if pool is None else records.find_ticket(pool, command.node_id)
        if pool is None or ticket is None or ticket.number != command.number:
            self._step.ignore("the release of a slot that is not out")
            return
        if ticket.has_slot:
            pool.in_use -= 1
            assert pool.in_use >= 0, "more slots came back than were given"
        else:
            remove(records, pool, ticket, by_turn=False)
        records.drop_ticket(pool, command.node_id)
        self._fill(pool, self._limit_of(pool))

    def fired(self, command: TimerFired) -> None:
        """Grant the next slots: the pool's rate allows them now."""
        pool = self._records.find(command.subject_id)
        if pool is None or pool.timer_at is None or pool.timer_number != command.number:
            self._step.ignore("a timer that no longer stands")
            return
        self._records.clear_timer(pool)
        self._fill(pool, self._limit_of(pool))

    def replicate(self, command: SpreadLimit) -> None:
        """Store a changed limit, and grant slots of its pools again."""
        limit = command.limit
        self._records.change_limit(limit)
        self._fill_chain(limit.client_id, limit.activity)

    def go_on(self, command: FillPool) -> None:
        """Continue grants that exceeded one command's budget."""
        pool = self._records.find(command.pool_id)
        if command.chain:
            self._fill_chain(command.client_id, command.activity)
        elif pool is not None:
            self._fill(pool, self._limit_of(pool))

    # --- grants ------------------------------------------------------------------------------------------------------

    def _fill_chain(self, client_id: bytes, activity: str) -> None:
        """Grant slots in all pools of a limit, one pool after the other."""
        records = self._records
        while (pool_id := records.refill_cursor(client_id, activity)) is not None:
            pool = records.pool(pool_id)
            if self._step.budget <= 0:
                self._go_on(pool, chain=True)
                return
            behind = pool.next
            limit = self._limit_of(pool)
            _adapt(pool, limit, self._now)
            if not self._give(pool, limit):
                self._go_on(pool, chain=True)
                return
            self._step.budget -= 1
            records.set_refill_cursor(pool, behind)

    def _fill(self, pool: Pool, limit: Limit | None) -> None:
        if not self._give(pool, limit):
            self._go_on(pool, chain=False)

    def _limit_of(self, pool: Pool) -> Limit | None:
        return self._records.limit_of(pool.client_id, pool.activity)

    def _go_on(self, pool: Pool, *, chain: bool) -> None:
        command = self._command
        fill_command = FillPool(
            id=command.id,
            tid=command.tid,
            pool_id=pool.id,
            client_id=pool.client_id,
            activity=pool.activity,
            chain=chain,
        )
        self._step.effects.append(Send(fill_command))

    def _give(self, pool: Pool, limit: Limit | None) -> bool:
        """Grant the free slots of a pool. False: the command's budget ended before."""
        records = self._records
        aging_seconds = None if limit is None else limit.values.aging_seconds
        while not is_empty(pool) and self._has_room(pool, limit):
            served = next_in_line(records, pool, self._now, aging_seconds)
            if self._step.budget <= 0:
                return False
            self._step.budget -= 1
            remove(records, pool, served.ticket, by_turn=served.by_turn)
            self._hand_out(pool, served.node_id, served.ticket, limit)
        self._forget_if_idle(pool, limit)
        return True

    def _has_room(self, pool: Pool, limit: Limit | None) -> bool:
        if limit is None:
            return True
        values = limit.values
        if limit.paused or (values.concurrency is not None and pool.in_use >= values.concurrency):
            return False
        if values.rate_count is None:
            return True
        earliest_us = pool.due_us - _interval_us(limit) * (values.rate_burst - 1)
        if self._now * 1000 >= earliest_us:
            return True
        self._records.set_timer(pool, _ms(earliest_us))
        return False

    def _hand_out(self, pool: Pool, node_id: bytes, ticket: SlotTicket, limit: Limit | None) -> None:
        self._grant(pool.id, node_id, ticket.number)
        if limit is None:
            self._records.drop_ticket(pool, node_id)
            return
        ticket.has_slot = True
        pool.in_use += 1
        self._spend(pool, limit)

    def _spend(self, pool: Pool, limit: Limit) -> None:
        """The rate, as GCRA: starts come evenly, and a burst may be ahead of that by all but one of its starts."""
        if limit.values.rate_count is not None:
            pool.due_us = max(self._now * 1000, pool.due_us) + _interval_us(limit)

    def _grant(self, pool_id: bytes, node_id: bytes, number: int) -> None:
        command = self._command
        grant = GrantSlot(id=command.id, tid=command.tid, pool_id=pool_id, node_id=node_id, number=number)
        self._step.effects.append(Send(grant))

    def _forget_if_idle(self, pool: Pool, limit: Limit | None) -> None:
        """Delete an idle pool once its rate window has passed."""
        if pool.in_use or not is_empty(pool):
            return
        if limit is not None and limit.values.rate_count is not None and pool.due_us > self._now * 1000:
            self._records.set_timer(pool, _ms(pool.due_us))
        else:
            self._records.drop(pool)


def _adapt(pool: Pool, limit: Limit | None, now: int) -> None:
    """Bring a pool's next start within a changed rate: by a slower one it may be hours away."""
    if limit is not None and limit.values.rate_count is not None:
        pool.due_us = min(pool.due_us, now * 1000 + _interval_us(limit) * limit.values.rate_burst)


def _interval_us(limit: Limit) -> int:
    assert limit.values.rate_count is not None, "a limit without a rate"
    return int(limit.values.rate_period_seconds * 1_000_000 / limit.values.rate_count)


def _ms(microseconds: int) -> int:
    """Milliseconds, rounded up."""
    return -(-microseconds // 1000)
