"""Validation between decoding and applying: a decoded command is within bounds, or is refused.

These checks need no state: partition, sender, bounds of numbers and times. Checks by a partition's settings (sizes,
depths, JSON texts) are the rules'. Both raise Refused, and an answer or a dead letter has the reason. The result
follows from the record alone, so every replay on every machine repeats it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids, queries
from backbeat.schemas.messages.bounds import SETTINGS, TIME_MAX, TIME_MIN
from backbeat.schemas.messages.jobs import ACTOR_CHARACTERS_MAX, NOTE_CHARACTERS_MAX
from backbeat.schemas.messages.replies import Reason
from backbeat.schemas.messages.values import PRIORITY_FIRST, PRIORITY_LAST, ReplyTo, Source, Task, TaskKind, TimerKind
from backbeat.schemas.routes import ROUTES
from backbeat.streams.core.limits.slots import check_values
from backbeat.streams.core.links.cycles import FOLLOWED_MAX
from backbeat.streams.core.step import Refused, refuse

#: Times in one ScheduleDue: an engine sends no more than a slice's nodes.
_TIMES_MAX = 10_000
#: Kinds of a TimerFired: a schedule's timer is a command of its own.
_TIMERS = frozenset(TimerKind) - {TimerKind.SCHEDULE}
_TASKS = frozenset(TaskKind)
#: Tasks whose cursor may be another workflow's: a link's child, and the walk over all workflows.
_TASKS_BEYOND = frozenset({TaskKind.FORGET_LINKS, TaskKind.RETAIN})


#: Nodes that are asked for at once.
_NODES_MAX = 1_000


class _Rules(NamedTuple):
    """The checks of one kind of command."""

    #: the id that gives its partition; null: its own `partition`, or every partition
    route: Callable[[Any], bytes | None]
    check: Callable[[Any], None] | None = None
    #: only engines send it, with the record of the log that it comes from
    needs_source: bool = False


def check_command(command: c.AnyCommand, partition: int, offset: int, partitions_count: int) -> None:
    """Refuse an invalid command. `partition`, `offset`: of its record. Raises Refused."""
    route, check, needs_source = _RULES[type(command)]
    identity = route(command)
    if identity is not None:
        own_partition = (int.from_bytes(identity[:4], "big") & 0x7FFFFFFF) % partitions_count
        if own_partition != partition:
            raise _misrouted(own_partition, partition, "command")
    elif isinstance(command, _OF_PARTITIONS) and command.partition != partition:
        raise _misrouted(command.partition, partition, "command")
    source = command.source
    if source is not None:
        _check_source(source, partition, offset, partitions_count)
    elif needs_source:
        raise _invalid(f"{type(command).__name__} without a source: only engines send it", "none", "a source")
    if command.reply_to is not None:
        _check_reply_to(command.reply_to)
    if check is not None:
        check(command)


def check_query(query: queries.AnyQuery, partition: int, partitions_count: int) -> None:
    """Refuse an invalid query. `partition`: of its record. Raises Refused."""
    _check_reply_to(query.reply_to)
    own_partition = getattr(query, "partition", None)
    if own_partition is None:
        own_partition = ids.partition_of(queries.query_route(query), partitions_count)
    if own_partition != partition:
        raise _misrouted(own_partition, partition, "query")
    if isinstance(query, queries.GetDue) and query.after_due_at is not None:
        _check_time("after_due_at", query.after_due_at, least=0)
    if isinstance(query, queries.GetNodes) and len(query.node_ids) > _NODES_MAX:
        raise _invalid("More nodes than are asked for at once", str(len(query.node_ids)), f"{_NODES_MAX} at most")


def _check_reply_to(reply_to: ReplyTo) -> None:
    if reply_to.partition < 0:
        raise _invalid("The partition of reply_to is below 0", str(reply_to.partition), "0 or more")


def _check_source(source: Source, partition: int, offset: int, partitions_count: int) -> None:
    """Refuse an impossible source: repeats are recognized by it, so a wrong one would hide other commands."""
    if not 0 <= source.partition < partitions_count or source.offset < 0 or source.index < 0:
        raise _invalid("The source is no place in the log", str(source), "a record of the commands topic")
    if source.partition == partition and source.offset >= offset:
        raise _invalid(
            "The source is not before the record itself", f"offset {source.offset}", f"an offset below {offset}"
        )


def _invalid(message: str, found: str, wanted: str) -> Refused:
    return refuse(Reason.INVALID_PARAMETERS, message, found=found, wanted=wanted)


def _misrouted(own_partition: int, partition: int, kind: str) -> Refused:
    message = f"a {kind} for partition {own_partition} was sent to partition {partition}"
    return _invalid(message, f"partition {partition}", f"partition {own_partition}")


# --- kinds of commands -----------------------------------------------------------------------------------------------


def _check_time(name: str, at: int, *, least: int = TIME_MIN) -> None:
    if not least <= at <= TIME_MAX:
        raise _invalid(f"{name} is no time that can be written", str(at), "milliseconds up to the year 9999")


def _check_timer(command: c.TimerFired) -> None:
    if command.kind not in _TIMERS:
        raise _invalid(f"No timer has the kind {command.kind}", str(command.kind), "a kind of timer")


def _check_tasks(workflow_id: bytes, tasks: tuple[Task, ...]) -> None:
    """Refuse tasks on nodes of another workflow: its own share its prefix."""
    prefix = workflow_id[: ids.PREFIX_BYTES]
    for task in tasks:
        if task.kind not in _TASKS:
            raise _invalid(f"No task has the kind {task.kind}", str(task.kind), "a kind of task")
        if not task.id.startswith(prefix):
            raise _invalid("A task is not about the workflow of its command", task.id.hex(), "a node of the workflow")
        cursor = task.cursor
        if cursor is not None and task.kind not in _TASKS_BEYOND and not cursor.startswith(prefix):
            raise _invalid("A task goes on at another workflow's node", cursor.hex(), "one of its own")
        if task.kind == TaskKind.REMOVE:
            _check_time("the mark of a removal", task.mark, least=0)


def _check_continue(command: c.Continue) -> None:
    if not command.tasks:
        raise _invalid("Continue without a task", "none", "a task")
    _check_tasks(command.workflow_id, command.tasks)


def _check_work_job(command: c.WorkJob) -> None:
    if (command.workflow_id is None) is bool(command.tasks):
        raise _invalid("Tasks belong to a workflow, and a workflow has some", "one of both", "both or neither")
    if command.workflow_id is not None:
        _check_tasks(command.workflow_id, command.tasks)


def _check_start_job(command: c.StartJob) -> None:
    for word, text, most in (
        ("note", command.note, NOTE_CHARACTERS_MAX),
        ("actor", command.actor, ACTOR_CHARACTERS_MAX),
    ):
        if len(text) > most:
            raise _invalid(f"The {word} of a job has {len(text)} characters", str(len(text)), f"{most} at most")
    for name in ("status_start", "status_end", "created_start", "created_end"):
        at = getattr(command.filter, name)
        if at is not None:
            _check_time(name, at)


def _check_schedule_due(command: c.ScheduleDue) -> None:
    if len(command.times) > _TIMES_MAX:
        raise _invalid("More times than one command deals with", str(len(command.times)), f"{_TIMES_MAX} at most")
    for earlier, later in zip((-1, *command.times), command.times, strict=False):
        if later <= earlier:
            raise _invalid("The times of a schedule are in order, each once", str(later), "ascending times")
    for at in (*command.times[-1:], *(() if command.next_at is None else (command.next_at,))):
        _check_time("A schedule's time", at, least=0)


def _check_ask_slot(command: c.AskSlot) -> None:
    if ids.pool_id(command.client_id, command.activity, command.key) != command.pool_id:
        raise _invalid("The pool's id is not that of its client, activity and key", command.pool_id.hex(), "its id")
    if not PRIORITY_FIRST <= command.priority <= PRIORITY_LAST:
        raise _invalid("priority is out of bounds", str(command.priority), f"{PRIORITY_FIRST} to {PRIORITY_LAST}")


def _check_open_link(command: c.OpenLink) -> None:
    signal = command.signal
    if signal is None:
        if command.waits:
            raise _invalid("Waits are followed for a signal", "none", "a signal")
        return
    # A signal that is refused only in its workflow's partition would leave its target waiting.
    if signal.reply_to is not None:
        _check_reply_to(signal.reply_to)
    if ids.node_id(signal.workflow_id, signal.id, 0) != command.child_id:
        raise _invalid("The child is not the node that the signal makes", command.child_id.hex(), "the signal's node")
    if command.waits:
        _check_waits(command, signal)


def _check_waits(command: c.OpenLink, signal: c.Signal) -> None:
    """Refuse an impossible way of a signal."""
    waits, at = command.waits, command.waits_at
    if command.source is None:
        raise _invalid("Waits without a source: only engines send them", "none", "a source")
    if len(waits) > FOLLOWED_MAX + 1:
        raise _invalid("More waits than a signal is followed along", str(len(waits)), f"{FOLLOWED_MAX} at most")
    if not 0 <= at <= len(waits) or signal.node.parent_link_id is None or not signal.link_open:
        raise _invalid("The place is not on the signal's way, or it has none", str(at), f"0 to {len(waits)}")
    if command.target_id != (command.child_id if at == len(waits) else waits[at].child_id):
        raise _invalid("The target is not what is looked at next", command.target_id.hex(), "the next on the way")
    for place, wait in enumerate(waits):
        if not -1 <= wait.before < place or wait.workflow_id[: ids.PREFIX_BYTES] != wait.child_id[: ids.PREFIX_BYTES]:
            raise _invalid("A wait on the way is none", str(place), "a child of its workflow, after the one before it")


def _check_spread_limit(command: c.SpreadLimit) -> None:
    if len(command.limit.activity.encode()) > SETTINGS["name_bytes_max"][1]:
        raise _invalid("An activity's name is longer than any may be", "a limit", "a shorter name")
    check_values(command.limit.values)


def _check_fail_node(_: c.FailNode) -> None:
    raise _invalid("FailNode is never sent: an engine applies it where it fails", "FailNode", "another command")


def _of_partition(_: c.AnyCommand) -> None:
    """No id: the command says its partition itself."""


#: Checks beyond those of all commands.
_CHECKS: dict[type, Callable[[Any], None]] = {
    c.SpreadLimit: _check_spread_limit,
    c.AskSlot: _check_ask_slot,
    c.ScheduleDue: _check_schedule_due,
    c.StartJob: _check_start_job,
    c.TimerFired: _check_timer,
    c.OpenLink: _check_open_link,
    c.FailNode: _check_fail_node,
    c.Continue: _check_continue,
    c.WorkJob: _check_work_job,
}
_OF_ENGINES = frozenset(
    {c.SpreadLimit, c.AskSlot, c.GrantSlot, c.ReleaseSlot, c.FillPool, c.CloseLink, c.Continue, c.WorkJob}
)
_OF_PARTITIONS = (c.StartJob, c.StopJob, c.WorkJob)

_RULES: dict[type, _Rules] = {
    kind: _Rules(_of_partition if kind in _OF_PARTITIONS else route, _CHECKS.get(kind), kind in _OF_ENGINES)
    for kind, route in ROUTES.items()
}
