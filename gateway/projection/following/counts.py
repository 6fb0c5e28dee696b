"""Counts that a batch changes: nodes of a workflow and of all by state, results by day."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from backbeat.gateway.projection.following.deactivation import Transition
from backbeat.gateway.projection.following.statements import Rows, Statements
from backbeat.gateway.projection.following.table_rows import WorkflowRow
from backbeat.gateway.projection.storage import states


class Counts:
    """Changes of counts, written once a batch."""

    def __init__(self) -> None:
        #: (workflow's number, state) -> change of its number of nodes.
        self.nodes: dict[tuple[int, int], int] = defaultdict(int)
        #: Workflow's number -> its id and row, of those in `nodes`.
        self.owners: dict[int, tuple[bytes, WorkflowRow]] = {}
        #: State -> number of nodes that were deleted with their workflow.
        self.deleted_states: Counter[int] = Counter()
        completed: dict[int, int] = defaultdict(int)
        errored: dict[int, int] = defaultdict(int)
        #: Code of a status change -> day -> number of such changes.
        self.days_of = {states.COMPLETE_CODE: completed, states.ERRORED_CODE: errored}

    def move(self, transitions: Iterable[Transition]) -> None:
        """Count nodes in another state than before."""
        for transition in transitions:
            self.nodes[transition.workflow_no, transition.state_before] -= 1
            self.nodes[transition.workflow_no, transition.state_after] += 1

    def write(self, statements: Statements) -> None:
        """Add the changes to the tables' counts."""
        increments: Rows = []
        decrements: Rows = []
        total: Counter[int] = Counter({state: -count for state, count in self.deleted_states.items()})
        for (workflow_no, state), count in self.nodes.items():
            if not count:
                continue
            total[state] += count
            identity, workflow = self.owners[workflow_no]
            increments.append(
                {
                    "workflow_no": workflow_no,
                    "state": state,
                    "nodes": count,
                    "user_key": workflow.user_key,
                    "name_key": workflow.name_key,
                    "created": workflow.created,
                    "id": identity,
                }
            )
            if count < 0:
                decrements.append({"b_workflow_no": workflow_no, "b_state": state})
        statements.run(statements.add_workflow_states, increments)
        statements.run(statements.drop_workflow_states, decrements)
        statements.run(
            statements.add_node_states,
            [{"state": state, "nodes": count} for state, count in sorted(total.items()) if count],
        )
        completed, errored = self.days_of[states.COMPLETE_CODE], self.days_of[states.ERRORED_CODE]
        statements.run(
            statements.add_days,
            [
                {"day": day, "completed": completed[day], "errored": errored[day]}
                for day in sorted({*completed, *errored})
            ],
        )
