"""A whole run: a steady load over two engines in a storm, then the comparison with what the log says must be."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import msgspec

from backbeat.compose.local.stack import CLIENT_DEFAULT, Stack
from backbeat.schemas.kafka.topics import COMMANDS, DEAD_LETTERS, HISTORY, REPLIES, STATE, activities_topic
from backbeat.schemas.messages.status import word
from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.core import effects
from backbeat.streams.core.effects import node_view
from backbeat.streams.core.records import Meta, Node
from backbeat.streams.core.tables import NODES, WORKFLOWS
from tests.empty_kafka import stack_on
from tests.integration.caller import Caller
from tests.integration.hand import Hand
from tests.integration.ledger import Ledger
from tests.integration.load import Load
from tests.integration.rig import PARTITIONS, running, user_of
from tests.integration.storm import ENGINE_ENV, Storm
from tests.integration.topic import ends, state
from tests.waiting import until

#: How long all of it may take to come to rest after the storm.
REST_SECONDS_MAX = 180.0


def run(kafka: str, data_dir: Path, seed: int, *, count: int, per_second: float, subjects: int) -> None:
    """Asserts that state and effects are exact; prints what was compared."""
    print(f"\nchaos: seed {seed}", flush=True)
    with running(
        stack_on(kafka, data_dir=data_dir, engines=2, partitions=PARTITIONS, env=ENGINE_ENV, say=print)
    ) as stack:
        user = user_of(kafka)
        caller, asking = (Caller(kafka, user, PARTITIONS) for _ in range(2))
        began = time.monotonic()
        load = Load(caller, asking, seed, subjects=subjects, count=count, per_second=per_second)
        hand = Hand(caller, CLIENT_DEFAULT, load.behave)
        ledger = Ledger(kafka, {user: activities_topic(CLIENT_DEFAULT)})
        storm = Storm(stack, seed)
        try:
            load.join()
            storm.end()
            loaded = time.monotonic() - began
            wait_until_done(stack, ledger)
            print(f"{caller.sent} commands in {loaded:.0f} s, at rest {time.monotonic() - began:.0f} s after the start")
            settle(asking, ledger, stack)
            compare(ledger, asking, caller, load)
            print(f"faults: {dict(storm.faults)}; read after write: {load.reads}")
            print(_reasons(stack))
        finally:
            load.end()
            storm.end()
            load.join()
            hand.close()
            for part in (caller, asking, ledger):
                part.close()


def wait_until_done(stack: Stack, ledger: Ledger) -> None:
    """By the log, every node is closed, and every engine runs."""

    def is_done() -> bool:
        ledger.fold()
        assert stack.failure is None, _reasons(stack)
        return not ledger.open_nodes

    try:
        until(is_done, "every node is closed", REST_SECONDS_MAX)
    except AssertionError as error:
        raise AssertionError(f"{_of_open(ledger.open_nodes)}; {_positions(ledger)}; {_reasons(stack)}") from error


def _of_open(nodes: list[Node]) -> str:
    """What nodes that should be closed wait for."""
    kinds = Counter(
        (word(node.server), word(node.client), TimerKind(node.timer_kind).name if node.timer_at else "no timer")
        for node in nodes
    )
    newest = max(nodes, key=lambda node: node.timer_at or 0)
    return f"{len(nodes)} nodes are open: {dict(kinds)}, e.g. {newest}"


def _positions(ledger: Ledger) -> str:
    """How far the engines are in each partition, by the changelog, and how far the log is."""
    metas = [records.get(b"m") for records in state(ledger.kafka, STATE)]
    positions = [msgspec.msgpack.decode(meta, type=Meta).next_offset if meta else 0 for meta in metas]
    return f"committed {positions} of {ends(ledger.kafka, COMMANDS)}"


def _reasons(stack: Stack) -> str:
    """Why engines ended themselves, in their words."""
    logs = [path.read_text(errors="replace") for path in stack.engine_logs]
    lines = [line for log in logs for line in log.splitlines() if "the engine ends" in line]
    return "\n    ".join([stack.failure or "engines that ended themselves:", *lines])


def settle(asking: Caller, ledger: Ledger, stack: Stack) -> None:
    """Everything is committed: the changelog says the end of the log, in every partition."""
    deadline = time.monotonic() + REST_SECONDS_MAX
    while True:
        ledger.fold()
        for partition in range(PARTITIONS):
            asking.commit(partition)
        wrong = [difference for difference in ledger.differences(STATE) if "meta" in difference or "Meta" in difference]
        if not wrong and not ledger.fold():
            return
        assert time.monotonic() < deadline, f"{wrong[:3]}; {_reasons(stack)}"


def compare(ledger: Ledger, asking: Caller, caller: Caller, load: Load) -> None:
    differences = ledger.differences(STATE)
    assert not differences, f"{len(differences)} records differ: " + "\n".join(differences[:5])
    for topic in (HISTORY, activities_topic(CLIENT_DEFAULT), COMMANDS, DEAD_LETTERS):
        count, repeats = ledger.check_effects(topic)
        print(f"{topic}: {count} sent, {repeats} of them again")
    count, repeats = ledger.check_effects(REPLIES, [caller.asker])
    print(f"{REPLIES}: {count} sent, {repeats} of them again")
    assert not load.unread, load.unread
    nodes = 0
    for store in ledger.stores:
        for workflow in store[WORKFLOWS].values():
            wanted_nodes = {
                node.id: node_view(node, workflow) for node in store[NODES].values() if node.workflow_id == workflow.id
            }
            nodes += len(wanted_nodes)
            tree = asking.tree(workflow.id)
            assert {node.id: node for node in tree} == wanted_nodes
            assert len(tree) == len(wanted_nodes)
            assert asking.workflow(workflow.id) == effects.workflow_view(workflow)
    print(f"{nodes} nodes, {sum(map(len, (s[WORKFLOWS] for s in ledger.stores)))} workflows; {dict(ledger.commands)}")
    total = sum(ends(ledger.kafka, COMMANDS).values())
    assert total == ledger.commands.total()
