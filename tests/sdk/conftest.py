"""Nodes as the engine sends them, and a worker's side without a Kafka."""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from backbeat.activities.context import Activity
from backbeat.activities.retry import Retry
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.activities import ActivityKind, ActivityRecord
from backbeat.schemas.messages.status import ClientStatus, Mode, ServerStatus
from backbeat.schemas.messages.views import NodeView

USER = b"u" * 16
WORKFLOW = ids.workflow_id(USER, "Camera sale", b'"Camera 703"')
VIEW = NodeView(
    id=ids.node_id(WORKFLOW, b"c" * 16, 0),
    workflow_id=WORKFLOW,
    parent_id=None,
    user_id=USER,
    name="Make Purchase",
    mode=Mode.BLOCKING,
    type="decision",
    client_data=b'{"name":"Make Purchase","params":["Ann"]}',
    metadata=b'{"shop":1}',
    subject=b'"Camera 703"',
    decider="Shop",
    workflow_name="Camera sale",
    server=ServerStatus.SENT_TO_CLIENT,
    client=ClientStatus.RECEIVED,
    created_at=1_700_000_000_000,
    fires_at=1_700_000_000_000,
    attempt=2,
    complete_by=None,
    retries_remaining=4,
    retry_interval_seconds=1200.0,
    parent_link_id=None,
    depth=1,
    seq=1,
    tid="tid-1",
)


class Environment:
    """What an activity asks of its worker."""

    def __init__(self, **known: Any) -> None:
        self.known = known

    def defaults(self, activity: str | Callable[..., Any]) -> Any:
        return self.known.get(activity if isinstance(activity, str) else activity.__name__)

    def user_id(self, client: str | None) -> bytes:
        return USER if client is None else client.encode().ljust(16, b"-")

    def pack(self, side: str, value: Any) -> Any:
        return value

    def now(self) -> float:
        return time.time()


@pytest.fixture
def view() -> Callable[..., NodeView]:
    def make(**changes: Any) -> NodeView:
        return msgspec.structs.replace(VIEW, **changes)

    return make


@pytest.fixture
def activity(view: Callable[..., NodeView]) -> Callable[..., Activity]:
    """An activity; what its worker has registered is given by name."""

    def make(known: dict[str, dict[str, Any]] | None = None, **changes: Any) -> Activity:
        defaults = {"mode": "blocking", "retry": Retry(), "timeout": None}
        defaults |= dict.fromkeys(("on_failure", "undo", "on_cancel"))
        registered = {name: SimpleNamespace(**{"name": name, **defaults, **own}) for name, own in (known or {}).items()}
        return Activity(ActivityRecord(view(**changes), ActivityKind.ACTIVITY), Environment(**registered))

    return make
