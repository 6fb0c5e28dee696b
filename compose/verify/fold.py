"""The fold of one partition's log: record after record, by the rules, into the state that must be."""

from __future__ import annotations

from backbeat.compose.verify.avro import Command, Commands, UnreadableError
from backbeat.compose.verify.partition import Partition
from backbeat.compose.verify.rules import jobs, operators, progress, removal, schedules, slots
from backbeat.compose.verify.rules.checks import INVALID, LIMIT, Refused, check_record, check_size
from backbeat.compose.verify.rules.links import child_of
from backbeat.compose.verify.rules.results import RESULT_RULES, is_running
from backbeat.compose.verify.rules.signals import SIGNAL_RULES
from backbeat.compose.verify.rules.tree import ANSWER, EXPIRY, JOB, REFUSAL, RETENTION, RETRY, SLOT, START
from backbeat.compose.verify.rules.work import Rule, Work


class Fold:
    """The log of a partition, applied to it."""

    def __init__(self, partition: Partition, reader: Commands) -> None:
        self._partition = partition
        self._reader = reader

    def take(self, offset: int, timestamp: int, value: bytes | None) -> None:
        """The next record of the log. Of transaction markers and removed records nothing comes."""
        partition, state = self._partition, self._partition.state
        partition.offset = offset
        state.next_offset = offset + 1
        partition.counts["records"] += 1
        try:
            name, command = self._reader.read(value)
            check_record(name, command, partition.number, offset, partition.partitions_count)
        except UnreadableError:
            partition.counts["unreadable records"] += 1
            return
        except Refused:
            partition.counts["refusals"] += 1
            return
        source = command["source"]
        place = None if source is None else (source["offset"], source["index"])
        if place is not None:
            partition.note_source(name, command)
            if place <= state.high_water.get(source["partition"], (-1, -1)):
                partition.counts["repeats"] += 1
                return
        state.now = max(state.now, timestamp)
        self._apply(name, command)
        if place is not None:
            state.high_water[source["partition"]] = place
        partition.write_sends()

    def look(self, value: bytes | None) -> None:
        """A record behind the position: only where it comes from counts."""
        try:
            name, command = self._reader.read(value)
        except UnreadableError:
            return
        if command["source"] is not None:
            self._partition.note_source(name, command)

    def _apply(self, name: str, command: Command) -> None:
        partition = self._partition
        if command["body_hash"] is not None and partition.answer_of(command["id"]) is not None:
            return
        rule = _RULES.get(name)
        if rule is None:
            partition.unjudged[name] += 1
            return
        work = Work(partition, name, command)
        try:
            check_size(len(command["tid"].encode()), partition.settings["name_bytes_max"])
            if removal.is_late_result(work):
                return
            rule(work, command)
        except Refused as refused:
            partition.counts["refusals"] += 1
            self._refuse(name, command, refused.reason)
        else:
            operators.run_tasks(work)
            removal.review(work)
            work.finish()

    def _refuse(self, name: str, command: Command, reason: str) -> None:
        """A refusal: nothing is changed, but for a link that waits for it, and the running attempt that asked."""
        partition = self._partition
        partition.drop_sends()
        if command["body_hash"] is not None:
            partition.remember(command["id"], command["body_hash"], "rejection")
        work = Work(partition, name, {**command, "body_hash": None, "reply_to": None})
        signal = command if name == "Signal" else command["signal"] if name == "OpenLink" and command["waits"] else None
        link = None if signal is None or not signal["link_open"] else signal["node"]["parent_link_id"]
        if signal is not None and link is not None:
            work.send("CloseLink", {"target_id": link, "child_id": child_of(signal)})
        if reason not in (LIMIT, INVALID):
            return
        attempt = None
        if name in ("ChangeNode", "AddChildren") and command["attempt"] is not None:
            node_id, attempt = command.get("attempt_of") or command["node_id"], command["attempt"]
        elif name == "OpenLink" and command["user_id"] is not None and command["signal"] is not None:
            node_id = command["target_id"]
        else:
            return
        node = work.enter_node(node_id)
        if node is not None and is_running(node, node.attempt if attempt is None else attempt):
            progress.client_error(work, node, None, is_refusal=True)
            operators.run_tasks(work)
            work.finish()


def _on_timer_fired(work: Work, command: Command) -> None:
    """A timer is due, unless it comes too early: then it stands again."""
    kind, subject_id = command["kind"], command["subject_id"]
    timer = work.partition.timer_of(kind, subject_id)
    if timer is not None and timer[1] in (0, command["number"]) and work.now < timer[0]:
        return
    _TIMERS[kind](work, command)


def _on_continue(work: Work, command: Command) -> None:
    if command["tasks"][0]["kind"] in removal.TASKS:
        removal.on_continue(work, command)
    else:
        operators.on_continue(work, command)


def _forget_answer(work: Work, command: Command) -> None:
    work.partition.forget_answer(command["subject_id"])


_TIMERS: dict[int, Rule] = {
    START: operators.on_node_timer,
    RETRY: operators.on_node_timer,
    EXPIRY: operators.on_node_timer,
    ANSWER: _forget_answer,
    SLOT: slots.on_timer,
    JOB: jobs.on_forget,
    RETENTION: removal.on_timer,
    REFUSAL: removal.on_forget,
}
_RULES: dict[str, Rule] = {
    **RESULT_RULES,
    **SIGNAL_RULES,
    **operators.OPERATOR_RULES,
    **slots.SLOT_RULES,
    **schedules.SCHEDULE_RULES,
    **jobs.JOB_RULES,
    **removal.RETENTION_RULES,
    "TimerFired": _on_timer_fired,
    "Continue": _on_continue,
}
