"""Results that are taken: references of new nodes, and the end of the nodes that they are of.

A taker has a record for each result that it takes (`REFERENCES`, by taker and slot). Those that still wait for the
same producer are a chain, in the order in which they were added; the producer has its ends (`Flow`). When it is closed,
a task goes through the chain, slice by slice: each taker gets the result, or its default, or is deactivated. The
children whose results are taken are looked through before that, once.
"""

from __future__ import annotations

from msgspec.structs import replace

from backbeat.schemas.messages.replies import Reason
from backbeat.schemas.messages.status import CLOSED, ServerStatus
from backbeat.schemas.messages.values import Take, Task, TaskKind
from backbeat.streams.core.checks import check_json, check_size
from backbeat.streams.core.records import Flow, Node
from backbeat.streams.core.step import Step, refuse
from backbeat.streams.core.tables import NODES, REFERENCES
from backbeat.streams.core.takes.allowance import is_allowed_failure
from backbeat.streams.core.takes.position import check_position
from backbeat.streams.core.takes.produced import has_result, is_counted
from backbeat.streams.core.takes.records import Reference, ReferenceState
from backbeat.streams.core.tree import progress, status
from backbeat.streams.core.tree.deactivation import belongs_to_removed_workflow

_NO_FLOW = Flow()


def take(step: Step, taker: Node, takes: tuple[Take, ...]) -> None:
    """Add the references of a new node."""
    limit = step.settings.children_max
    step.references_added += len(takes)
    if step.references_added > limit:
        message = (
            f"{step.references_added} results are taken in one command; children_max is {limit}. Take the results of a "
            "group together, or add the nodes in further commands"
        )
        raise refuse(Reason.LIMIT_EXCEEDED, message, found=str(step.references_added), wanted=f"children_max {limit}")
    is_closed = taker.server in CLOSED  # born so, below a deactivated node
    for slot, row in enumerate(takes):
        if row.default is not None:
            check_size("default", row.default, step.settings.payload_bytes_max)
            check_json(step, "default", row.default)
        producer = step.get_node(row.node_id)
        # The old nodes of a workflow that begins anew while it is removed are none of it.
        if (
            producer is None
            or producer.workflow_id != taker.workflow_id
            or belongs_to_removed_workflow(producer, step.workflow)
        ):
            message = f"{taker.name!r} takes the result of {row.node_id.hex()}, which is no node of its workflow"
            raise refuse(Reason.INVALID_PARAMETERS, message, found="no such node", wanted="a node of the workflow")
        check_position(step, taker, producer)
        if not is_closed:
            _chain(step, step.node(producer.id), taker, slot, row)
    if not is_closed:
        taker.flow = replace(taker.flow or _NO_FLOW, taken=len(takes), missing=len(takes))


def _chain(step: Step, producer: Node, taker: Node, slot: int, row: Take) -> None:
    reference = Reference(row.node_id, row.of_children, row.default)
    step.transaction.add(REFERENCES, (taker.id, slot), reference)
    flow = producer.flow or _NO_FLOW
    was_empty = flow.first_taker is None
    if flow.last_taker is not None and not was_empty:
        last = step.transaction.edit(REFERENCES, (flow.last_taker, flow.last_slot))
        assert last is not None, "a chain of references with a hole"
        last.next_taker, last.next_slot = taker.id, slot
    producer.flow = replace(
        flow,
        first_taker=taker.id if was_empty else flow.first_taker,
        first_slot=slot if was_empty else flow.first_slot,
        last_taker=taker.id,
        last_slot=slot,
        of_children=flow.of_children or row.of_children,
    )
    if was_empty and producer.server in CLOSED:
        _give_later(step, producer)


def closed(step: Step, producer: Node, before: ServerStatus) -> None:
    """A node is closed: its takers are told."""
    if before not in CLOSED and producer.flow is not None and producer.flow.first_taker is not None:
        _give_later(step, producer)


def _give_later(step: Step, producer: Node) -> None:
    """Tell the takers of a closed producer, ahead of the other tasks: what is deactivated must not become ready."""
    flow = producer.flow
    if flow is not None and flow.of_children and flow.failed is None and producer.server is status.COMPLETE:
        _count_later(step, producer)
    else:
        step.tasks.appendleft(Task(TaskKind.GIVE_RESULTS, producer.id))


def _count_later(step: Step, producer: Node) -> None:
    """Count from the first child on that is of no earlier attempt."""
    flow = producer.flow or _NO_FLOW
    begin = flow.counted_from or producer.first_active_child
    producer.flow = replace(flow, counted_from=begin)
    step.tasks.appendleft(Task(TaskKind.COUNT_RESULTS, producer.id, begin))


def count(step: Step, task: Task) -> None:
    """Count the children of a producer that have no result; then tell the takers."""
    producer, cursor, failed = step.node(task.id), task.cursor, task.mark
    flow = producer.flow or _NO_FLOW
    counted = flow.counted if cursor != flow.counted_from else 0
    while cursor is not None:
        if step.budget <= 0:
            producer.flow = replace(flow, counted=counted)
            step.tasks.appendleft(Task(task.kind, task.id, cursor, failed))
            return
        step.budget -= 1
        child = step.transaction.get(NODES, cursor)
        assert child is not None, "a pointer to a node that is not stored"
        if is_counted(child):
            if is_allowed_failure(child) or has_result(step.transaction, child):
                counted += 1
            else:
                failed += 1
        cursor = child.next_sibling
    producer.flow = replace(flow, failed=failed, counted=counted)
    step.tasks.appendleft(Task(TaskKind.GIVE_RESULTS, producer.id))


def give(step: Step, task: Task) -> None:
    """Tell the takers of a closed producer, in the order in which they were added."""
    producer = step.node(task.id)
    own_result = has_result(step.transaction, producer)
    while (flow := producer.flow) is not None and flow.first_taker is not None:
        if not step.may_go_on(task):
            return
        taker_id, slot = flow.first_taker, flow.first_slot
        reference = step.transaction.edit(REFERENCES, (taker_id, slot))
        assert reference is not None, "a chain of references with a hole"
        if reference.of_children and own_result and flow.failed is None:
            # It was added behind a count that is over: the count comes first, and goes on here.
            _count_later(step, producer)
            return
        producer.flow = replace(
            flow,
            first_taker=reference.next_taker,
            first_slot=reference.next_slot,
            last_taker=None if reference.next_taker is None else flow.last_taker,
        )
        reference.next_taker, reference.next_slot = None, 0
        is_there = own_result and not (reference.of_children and flow.failed)
        _settle(step, step.node(taker_id), reference, is_there=is_there)


def _settle(step: Step, taker: Node, reference: Reference, *, is_there: bool) -> None:
    """A reference waits no longer."""
    if taker.server in CLOSED:
        return
    if not is_there and reference.default is None:
        step.deactivate(taker)
        progress.schedule_later(step, step.parent(taker))
        progress.reset(step, taker)
        return
    reference.state = ReferenceState.THERE if is_there else ReferenceState.DEFAULT
    flow = taker.flow
    assert flow is not None, "a taker without its references"
    taker.flow = replace(flow, missing=flow.missing - 1)
    if flow.missing == 1:
        progress.start_again(step, taker)
