"""Figures (f), (h) and (i): the services' signals, and the cost of much that is stored."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterator
from statistics import median

import psutil
from confluent_kafka import Consumer, Producer, TopicPartition

from backbeat.compose.bench.figure import Figure, medians
from backbeat.compose.bench.prepared_commands import Maker, subject_of
from backbeat.compose.bench.rig import ALONE, QUIET, Raw, Rig, Say, processor_seconds
from backbeat.compose.bench.store import Loaded, load, stored_subjects
from backbeat.compose.cli.errors import SetupError
from backbeat.schemas.codec import encode_signal
from backbeat.schemas.kafka.client_registry import ClientRegistry
from backbeat.schemas.kafka.security import connection
from backbeat.schemas.kafka.topics import ACTIVITIES_PREFIX, HISTORY, signals_topic
from backbeat.schemas.requests.signals import SignalRequest
from backbeat.streams.input.ingest import Ingest

_SIGNALS = 40_000
_COST_COMMANDS = 5_000
#: Children that share a signal, in (i).
_FANS = (10, 1_000, 100_000)
#: Workflows that are stored, in (i); the last of them is that of (h), too.
STORED = (1_000, 100_000)
_STORED_NODES_PER_WORKFLOW = 10
_RESTARTS_MAX = 3
_START_LOOK_SECONDS = 0.005


# --- (f) -------------------------------------------------------------------------------------------------------------


async def signals(runs: int, say: Say) -> Figure:
    """(f) Signals on a client's topic, acknowledged by the broker; then their ingest. No engine runs."""
    published, ingested, costs = [], [], []
    async with Rig(engine=False) as rig:
        for run in range(runs):
            rate = await asyncio.to_thread(_publish_signals, rig, run)
            published.append(rate)
            ingest_rate, cost = await _ingest(rig)
            ingested.append(ingest_rate)
            costs.append(cost)
            say(f"(f) run {run + 1}: {rate:,.0f} published/s; ingest {ingest_rate:,.0f}/s, {cost:.0f} µs CPU each")
    return medians(
        published_per_second=(published, 0), ingested_per_second=(ingested, 0), ingest_cpu_us_per_signal=(costs, 1)
    )


def _publish_signals(rig: Rig, run: int) -> float:
    producer = Producer(
        {
            **connection(rig.stack.bootstrap_servers),
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 5,
            "queue.buffering.max.messages": 1_000_000,
            "delivery.report.only.error": True,
            **QUIET,
        }
    )
    topic = signals_topic(ALONE)
    producer.list_topics(topic, timeout=20)
    began_at = time.monotonic()
    for number in range(_SIGNALS):
        request = SignalRequest(
            workflow="bench",
            subject=json.dumps(f"f-{run}-{number}").encode(),
            decider="bench",
            signal="Alone",
            id=None,
            tid=None,
            client_data=b'{"name":"Alone","params":[]}',
            metadata=b"{}",
            fires_at=None,
            retry=None,
            retry_interval=None,
            client_id=None,
            parent_link_id=None,
        )
        producer.produce(topic, encode_signal(request), key=request.subject)
        if number % 1_000 == 0:
            producer.poll(0)
    if producer.flush(60):
        raise SetupError("the broker did not acknowledge all signals within a minute")
    return _SIGNALS / (time.monotonic() - began_at)


async def _ingest(rig: Rig) -> tuple[float, float]:
    """Signals a second of one ingest once it has begun, and its processor time for each."""
    failures: list[Exception] = []
    process = psutil.Process()
    with ClientRegistry(rig.stack.bootstrap_servers) as registry:
        ingest = Ingest(rig.stack.bootstrap_servers, registry, failed=failures.append)
        ingest.start()
        try:
            await rig.until(lambda: ingest.forwarded > 0 or bool(failures), "the ingest")
            forwarded_before, began_at, cpu_before = ingest.forwarded, time.monotonic(), processor_seconds(process)
            await rig.until(lambda: ingest.forwarded >= _SIGNALS or bool(failures), "the ingest")
            seconds, cost = time.monotonic() - began_at, processor_seconds(process) - cpu_before
        finally:
            await asyncio.to_thread(ingest.stop)
    if failures:
        raise SetupError(f"the ingest failed: {failures[0]}")
    return (_SIGNALS - forwarded_before) / seconds, cost / (_SIGNALS - forwarded_before) * 1e6


# --- (i): one workflow with many nodes, and the restart ---------------------------------------------------------------


async def many_nodes(rig: Rig, runs: int, say: Say) -> dict[str, float]:
    """(i) The result of one of so many parallel children, in processor time of the engine."""
    maker = Maker(rig.user_id, rig.partitions)
    numbers = itertools.count()
    costs_by_leaves = {}
    for leaves in _FANS:
        results = _results(rig, maker, leaves, numbers, runs)
        costs = []
        async for records in results:
            _, cpu_seconds = await rig.hold_and_release(records)
            costs.append(cpu_seconds / len(records) * 1e6)
        costs_by_leaves[str(leaves)] = round(median(costs[1:]), 1)
        say(f"(i) {leaves:,} nodes in the workflow: {costs_by_leaves[str(leaves)]:.0f} µs CPU a command")
    return costs_by_leaves


async def _results(rig: Rig, maker: Maker, leaves: int, numbers: Iterator[int], runs: int) -> AsyncIterator[list[Raw]]:
    """Results of children that are in work, in as many portions as there are runs and one to warm up."""
    portion_size = _COST_COMMANDS
    pending: list[bytes] = []
    for _ in range(runs + 1):
        while len(pending) < portion_size:
            count = min(max(1, portion_size // leaves), portion_size)
            fans = [maker.fan(subject_of(next(numbers), "fan"), leaves) for _ in range(count)]
            await _run_until_dispatched(rig, [record for fan in fans for record in fan.commands], count * (leaves + 1))
            # The last child of each stays open: completing the parent is a command of another kind.
            pending += [child for fan in fans for child in fan.children[:-1]]
        yield maker.results(pending[:portion_size])
        pending = pending[portion_size:]


async def _run_until_dispatched(rig: Rig, records: list[Raw], dispatches: int) -> None:
    topic = f"{ACTIVITIES_PREFIX}{ALONE}"
    records_wanted = rig.count(topic) + dispatches
    await asyncio.to_thread(rig.publish, records)
    await rig.until(lambda: rig.count(topic) >= records_wanted, "the children")


async def restarts(rig: Rig, runs: int, say: Say) -> Figure:
    """(i) kill -9, and the time from the new start until the engine has processed a command that was sent meanwhile."""
    maker = Maker(rig.user_id, rig.partitions)
    from_start, from_kill = [], []
    for run in range(min(runs, _RESTARTS_MAX)):
        await rig.until_committed()
        start_seconds, kill_seconds = await _restart(rig, maker, subject_of(run, "restart"))
        from_start.append(start_seconds)
        from_kill.append(kill_seconds)
        say(f"(i) killed: first command {start_seconds:.2f} s after the new start, {kill_seconds:.2f} s after the kill")
        await asyncio.to_thread(rig.stack.wait_ready)
    return medians(seconds_from_start=(from_start, 2), seconds_from_kill=(from_kill, 2))


async def _restart(rig: Rig, maker: Maker, subject: bytes) -> tuple[float, float]:
    consumer = Consumer({**connection(rig.stack.bootstrap_servers), "group.id": "bench-restart", **QUIET})
    consumer.assign([TopicPartition(HISTORY, number, end) for number, end in rig.ends(HISTORY).items()])
    old_pid = rig.stack.engine_pids[0]
    killed_at = time.time()
    rig.stack.kill_engine()
    await asyncio.to_thread(rig.publish, maker.workflow(subject)[:1])
    # The process tells only to the second when it was started.
    # The stack has no event for it either.
    while rig.stack.engine_pids[0] in (0, old_pid):  # noqa: ASYNC110
        await asyncio.sleep(_START_LOOK_SECONDS)
    started_at = time.time()
    identity = maker.workflow_id(subject)
    times: list[float] = []

    def has_come() -> bool:
        messages = [
            message for message in consumer.consume(1_000, 0.0) if message.error() is None and message.key() == identity
        ]
        times.extend(message.timestamp()[1] / 1000 for message in messages)
        return bool(times)

    await rig.until(has_come, "the first command after the kill")
    consumer.close()
    return times[0] - started_at, times[0] - killed_at


# --- (h) and (i): many workflows -------------------------------------------------------------------------------------


async def stored(workflows: int, runs: int, say: Say) -> tuple[float, Figure]:
    """(i), (h) Signals to stored workflows and their effects; the engine's cost, and the memory of all."""
    loads: list[Loaded] = []

    def fill(rig: Rig) -> None:
        loads.append(load(rig, workflows, _STORED_NODES_PER_WORKFLOW))
        say(f"(h) {loads[0].nodes:,} nodes of {workflows:,} workflows loaded in {loads[0].seconds:.0f} s")

    began_at = time.monotonic()
    async with Rig(before_engine=fill) as rig:
        restore_seconds = time.monotonic() - began_at - loads[0].seconds
        mb_after_restore = rig.memory()["engine"]
        say(f"(h) engine ready; {mb_after_restore:.0f} MB")
        maker = Maker(rig.user_id, rig.partitions)
        subjects = itertools.cycle(stored_subjects(workflows))
        costs = []
        for _ in range(runs + 1):
            records: list[Raw] = []
            while len(records) < _COST_COMMANDS:
                records += maker.workflow(next(subjects))
            _, cpu_seconds = await rig.hold_and_release(records)
            costs.append(cpu_seconds / len(records) * 1e6)
        cost = round(median(costs[1:]), 1)
        say(f"(i) {workflows:,} workflows stored: {cost:.0f} µs CPU a command")
        memory = rig.memory()
        figure = {
            "nodes": loads[0].nodes,
            "engine_mb": round(memory["engine"]),
            "engine_mb_after_restore": round(mb_after_restore),
            "broker_mb": round(memory["broker"]),
            "load_seconds": round(loads[0].seconds, 1),
            "start_and_restore_seconds": round(restore_seconds, 1),
        }
    return cost, figure
