import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from backbeat import Client, PlainClient, Unavailable, Worker
from backbeat.client.signals import SignalOptions, change_hash, make_signal, make_workflow
from backbeat.client.views import NodeValue, Tree, Workflow
from backbeat.client.waiting import _not_done
from backbeat.errors import InvalidParameters, InvalidStatus, NotFound, Rejected, Timeout, rejected
from backbeat.payload.values import id_text, to_id
from backbeat.schemas.messages.commands import ChangeNode, RestartNode, Signal
from backbeat.schemas.messages.replies import Reason, Rejection
from backbeat.schemas.messages.status import ServerStatus, word
from backbeat.schemas.messages.views import NodeView, WorkflowView
from backbeat.testing import Backbeat

USER = b"u" * 16


def signal(name: str = "Buy", subject: Any = "Camera 703", **options: Any) -> Signal:
    given = SignalOptions(**options)
    workflow = make_workflow(USER, "Sale", subject, given.get("decider"))
    return make_signal(
        user_id=USER,
        runs_it=USER,
        command_id=b"c" * 16,
        tid="t",
        workflow=workflow,
        name=name,
        options=given,
        now=time.time(),
    )


def test_without_an_address_kafka_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def places(*address: str) -> set[str]:
        clients = (Client(*address), PlainClient(*address)._original)
        transports: list[Any] = [client._session.transport for client in clients]
        return {Worker(*address).bootstrap_servers, *(transport._bootstrap_servers for transport in transports)}

    monkeypatch.delenv("BACKBEAT_BOOTSTRAP_SERVERS", raising=False)
    assert places() == {"127.0.0.1:9092"}
    monkeypatch.setenv("BACKBEAT_BOOTSTRAP_SERVERS", "kafka-1:9092")
    assert places() == {"kafka-1:9092"}
    assert places("kafka-2:9092") == {"kafka-2:9092"}


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (ServerStatus.SENT_TO_CLIENT, "no worker has answered: does one of the client application that runs it run?"),
        (ServerStatus.PROCESSING_CHILDREN, "something below it is not: `backbeat workflow tree` shows what"),
        (ServerStatus.RETRYING, "its last attempt failed: `backbeat node errors` shows why"),
    ],
)
def test_a_node_that_is_not_done_says_what_keeps_it(
    view: Callable[..., NodeView], status: ServerStatus, advice: str
) -> None:
    message = _not_done(USER, view(server=status), 5.0)
    assert message.startswith(f"Make Purchase {id_text(USER)} was not complete within 5 s: it is {word(status)}")
    assert message.endswith(advice)
    assert _not_done(USER, None, 5.0).endswith("does an engine run?")


def test_a_signal_says_what_was_said() -> None:
    command = signal(args={"a": 1}, metadata={"m": 1}, retries=2, backoff=timedelta(minutes=1))
    assert command.node.client_data == b'{"name":"Buy","params":{"a":1}}'
    assert (command.node.metadata, command.node.retries, command.node.retry_interval_seconds) == (b'{"m":1}', 2, 60.0)
    assert command.workflow is not None
    assert (command.workflow.subject, command.workflow.decider) == (b'"Camera 703"', "Sale")
    # The engine's own defaults hold for what is left out.
    assert (signal().node.retries, signal().node.retry_interval_seconds, signal().body_hash) == (6, 1200.0, None)


def test_a_repeat_by_an_earlier_release_has_the_same_hash() -> None:
    """Values of before nodes took results, and of before retries had a rule."""
    change = ChangeNode(id=b"c" * 16, node_id=b"n" * 16, status="resolved")

    assert signal(idempotency_key="k").body_hash == bytes.fromhex("b57db6170291acd40d92812a7bf9feac")
    assert change_hash(change) == bytes.fromhex("2ee6eb23f728fbd4ccbcfb032cb298a6")


def test_the_same_change_has_the_same_hash_and_another_has_not() -> None:
    def change(command_id: bytes = b"c" * 16, **words: Any) -> bytes:
        return change_hash(ChangeNode(**{"id": command_id, "node_id": b"n" * 16, "status": "resolved", **words}))

    assert change(b"d" * 16, tid="another") == change()
    others = [change(status="canceled"), change(node_id=b"m" * 16), change(response=b"1")]
    others.append(change_hash(RestartNode(id=b"c" * 16, node_id=b"n" * 16)))
    assert len({change(), *others}) == 5


def test_the_same_request_has_the_same_hash_and_another_has_not() -> None:
    later = timedelta(hours=1)
    first = signal(idempotency_key="k", at=later)
    assert signal(idempotency_key="k", at=later).body_hash == first.body_hash
    for other in ({"name": "Sell"}, {"subject": "Camera 704"}, {"args": [1]}, {"at": timedelta(hours=2)}):
        assert signal(**{"idempotency_key": "k", "at": later, **other}).body_hash != first.body_hash


@pytest.mark.parametrize("subject", [None, "", " ", False, {}, []])
def test_an_empty_subject_is_refused(subject: Any) -> None:
    with pytest.raises(InvalidParameters, match="subject is empty"):
        signal(subject=subject)


def test_text_is_no_list_of_arguments() -> None:
    with pytest.raises(InvalidParameters, match="put it into a list"):
        signal(args="Ann")


def test_ids_are_uuids_at_the_edge() -> None:
    identity = uuid.uuid4()
    assert to_id(identity) == to_id(str(identity)) == to_id(identity.bytes) == identity.bytes
    assert id_text(identity.bytes) == str(identity)
    for wrong in ("", "abc", b"abc"):
        with pytest.raises(InvalidParameters, match="is no id"):
            to_id(wrong)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_refusal_is_an_exception_that_says_why(reason: Reason) -> None:
    error = rejected(Rejection(reason, "No", found="this", wanted="that"))
    assert isinstance(error, Rejected)
    assert (error.reason, str(error), error.found, error.wanted) == (reason, "No", "this", "that")
    assert isinstance(error, NotFound) is (reason is Reason.NOT_FOUND)
    assert type(error) is not Rejected


def test_timeouts_are_pythons_own_too() -> None:
    assert issubclass(Timeout, TimeoutError)
    assert issubclass(Unavailable, ConnectionError)


async def test_a_client_that_is_not_connected_says_so() -> None:
    client = Client()
    with pytest.raises(Unavailable, match="async with"):
        await client.signal("Sale", "A", "Buy")
    with pytest.raises(Unavailable, match="async with"):
        await client.node(uuid.uuid4())
    await client.stop()


async def test_a_kafka_that_is_not_there_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backbeat.schemas.kafka.brokers.REACH_SECONDS_MAX", 0.5)
    with pytest.raises(Unavailable, match="does not answer"):
        async with Client("127.0.0.1:1"):
            pass


def test_a_tree_is_nested_by_parents(view: Any) -> None:
    workflow = Workflow(
        WorkflowView(
            id=b"w" * 16,
            user_id=USER,
            name="Sale",
            subject=b'"A"',
            decider="Shop",
            created_at=0,
            updated_at=0,
            complete=False,
            paused=None,
        )
    )

    def node(number: int, parent: int | None) -> NodeValue:
        made: NodeView = view(
            id=bytes([number]) * 16,
            parent_id=None if parent is None else bytes([parent]) * 16,
            name=str(number),
            server=ServerStatus.COMPLETE,
        )
        return NodeValue(made)

    tree = Tree(workflow, [node(1, None), node(2, 1), node(3, 2), node(4, 1), node(5, None)])
    assert [(depth, below.name) for depth, below in tree.walk()] == [(0, "1"), (1, "2"), (2, "3"), (1, "4"), (0, "5")]
    assert str(tree).splitlines()[:2] == ["Sale 'A'", "   |-- 1: complete"]


async def test_what_never_runs_again_takes_no_change() -> None:
    async with Backbeat() as backbeat:
        client = backbeat.client()
        node = await client.signal("Sale", "Camera 703", "Buy")
        await node.cancel()
        changes_before = len(backbeat.history)
        for change in (
            node.retry(),
            node.retry(idempotency_key="k"),
            node.retry(idempotency_key="k"),
            node.reset(),
            node.resolve(),
            node.shutdown(),
            node.deactivate_previous(),
            node.answer(result=1),
            node.answer(error="no"),
            client.start_next(node.id),
        ):
            with pytest.raises(InvalidStatus, match=f"{node.id} is deactivated: .* never runs again"):
                await change
        # It is canceled, as was asked.
        await node.cancel()
        assert len(backbeat.history) == changes_before


async def test_a_wait_without_time_still_asks() -> None:
    async with Backbeat() as backbeat:
        node = await backbeat.client().signal("Sale", "Camera 703", "Approve")
        await node.answer(result="by Ann")
        assert await node.result(timeout=0) == "by Ann"
