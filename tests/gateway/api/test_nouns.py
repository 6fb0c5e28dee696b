"""Each noun as JSON of the HTTP API and of `--json`, from one record: as it was when the file beside was written.

python -m tests.gateway.api.test_nouns    # writes it anew, where a noun is to have another field
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backbeat import Unavailable
from backbeat.client.jobs.views import Job
from backbeat.client.limits.views import ActivityLimit, merged, read_limits
from backbeat.client.schedules.views import Schedule
from backbeat.client.views import NodeValue, StatusChange, Tree, Workflow
from backbeat.client.waits import Child, Wait
from backbeat.compose.cli.show import rows
from backbeat.compose.cli.show.tree import TreeOptions
from backbeat.gateway.http import presentation
from backbeat.gateway.openapi.document import SCHEMAS
from backbeat.payload.nouns import json_names, json_writer, noun_of, record_fields
from backbeat.schemas.messages.limits import Limits, LimitView, PoolView
from backbeat.schemas.messages.status import ClientStatus, ServerStatus
from backbeat.schemas.messages.views import NodeView, WorkflowView
from backbeat.transport import http_nouns
from backbeat.transport.http_values import read_nodes
from tests.schemas import examples
from tests.schemas.examples import JOB, LIMIT, SCHEDULE, WORKFLOW, identity

GOLDEN = Path(__file__).with_name("nouns.json")

_with = msgspec.structs.replace
NODE = _with(examples.NODE, client_data=b'{"a":1.0,"B_c":1e5}', subject=WORKFLOW.subject)
RETRYING = _with(
    NODE,
    parent_id=None,
    server=ServerStatus.RETRYING,
    client=ClientStatus.ERRORED,
    fires_at=1_790_000_000_777,
    complete_by=1_790_000_000_001,
    granted_at=1_790_000_000_002,
    parent_link_id=identity(3),
)
CHANGES = (*examples.CHANGES[:2], _with(examples.CHANGES[0], response=b'{"b":1.50,"a":null}'))
POOLS = (PoolView('"a"', 2, (0, 1, 2, 0, 0), 1_790_000_000_123, None), PoolView("", 0, (0,) * 5, None, 5))
VIEWS = (LimitView(LIMIT, POOLS, more=True), LimitView(_with(LIMIT, revision=3, paused=False)))
DUE = _with(SCHEDULE, paused=False, problem="", after=1_790_000_000_000, next_at=1_790_000_000_500)
TREE = [
    _with(RETRYING, id=identity(1), depth=1),
    _with(NODE, id=identity(2), parent_id=identity(1), depth=2),
    _with(RETRYING, id=identity(3), depth=1),
]


def _tree() -> Tree[Any]:
    return Tree(Workflow(WORKFLOW), [NodeValue(view) for view in TREE])


def made() -> dict[str, Any]:
    """Every noun, as JSON text."""
    nouns = {
        "workflow": presentation.workflow_json(WORKFLOW),
        "paused workflow": presentation.workflow_json(_with(WORKFLOW, paused=True)),
        "error row": presentation.error_row_json(WORKFLOW),
        "node": presentation.node_json(NODE),
        "whole node": presentation.whole_node_json(RETRYING),
        "status changes": [presentation.status_change_json(identity(5), change) for change in CHANGES],
        "tree": presentation.tree_json(WORKFLOW, TREE),
        "printed tree": presentation.tree_text(WORKFLOW, TREE),
        "limit": json_writer(ActivityLimit)(merged(VIEWS)),
        "job": json_writer(Job)(JOB),
        "schedule": json_writer(Schedule)(SCHEDULE),
        "child": json_writer(Child)(examples.CHILD),
        "wait": json_writer(Wait)(examples.WAIT),
        "--json child": rows.child_row(noun_of(Child, examples.CHILD)),
        "due schedule": json_writer(Schedule)(DUE),
        "--json workflow": rows.workflow_row(Workflow(WORKFLOW)),
        "--json node": rows.node_row(NodeValue(RETRYING)),
        "--json status changes": [rows.change_row(StatusChange(change)) for change in CHANGES],
        "--json tree": rows.tree_row(_tree(), TreeOptions()),
        "--json folded tree": rows.tree_row(_tree(), TreeOptions(depth=1, children_max=1)),
        "--json limits": [rows.limit_row(limit) for limit in read_limits([Limits(VIEWS[:1]), Limits(VIEWS[1:])])],
        "--json job": rows.job_row(noun_of(Job, JOB)),
        "--json schedule": rows.schedule_row(noun_of(Schedule, DUE)),
    }
    return {name: msgspec.json.encode(noun).decode() for name, noun in nouns.items()}


@pytest.mark.parametrize("name", made())
def test_a_noun_is_as_it_was(name: str) -> None:
    assert made()[name] == json.loads(GOLDEN.read_text())[name]


NOUNS: dict[str, tuple[type[msgspec.Struct], Any]] = {
    "Workflow": (http_nouns.Workflow, WORKFLOW),
    "Node": (http_nouns.Node, NODE),
    "ErrorRow": (presentation.ErrorRow, WORKFLOW),
    "Branch": (presentation.Branch, RETRYING),
    "Tree": (presentation.Tree, WORKFLOW),
    "Limit": (ActivityLimit, merged(VIEWS)),
    "Job": (Job, JOB),
    "Schedule": (Schedule, DUE),
    "Child": (Child, examples.CHILD),
    "Wait": (Wait, examples.WAIT),
}


@pytest.mark.parametrize("name", NOUNS)
def test_a_noun_is_described_as_it_is_written(name: str) -> None:
    kind, record = NOUNS[name]
    written = json_writer(kind)(record)
    assert list(written) == list(SCHEMAS[name]["properties"]) == SCHEMAS[name]["required"] == json_names(kind)


def test_what_a_client_reads_is_the_record_that_was_written() -> None:
    for kind, views, record in (
        (http_nouns.WholeNode, NodeView, RETRYING),
        (http_nouns.Workflow, WorkflowView, WORKFLOW),
    ):
        text = msgspec.json.encode(json_writer(kind)(record))
        read = views(**record_fields(msgspec.json.decode(text, type=kind)))
        # Old clients are told of no third value.
        assert read == (_with(record, paused=False) if kind is http_nouns.Workflow else record)


def test_a_field_that_a_newer_gateway_has_is_passed_over() -> None:
    text = msgspec.json.encode({**presentation.workflow_json(WORKFLOW), "color": "green"})
    assert msgspec.json.decode(text, type=http_nouns.Workflow).name == WORKFLOW.name


def test_a_word_that_only_a_newer_gateway_has_is_said_to_be_one() -> None:
    text = msgspec.json.encode([{**presentation.whole_node_json(NODE), "currentServerStatus": "asleep"}])
    with pytest.raises(Unavailable, match="another version wrote it: 'asleep'"):
        read_nodes(text)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(made(), indent=1, ensure_ascii=False) + "\n")
