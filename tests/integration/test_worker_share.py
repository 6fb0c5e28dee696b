"""Workers of a share group on a real Kafka. There is no engine: activities are put on the topic as one would."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from backbeat import BackbeatError, Worker
from backbeat.compose.local.kafka import KafkaBroker, Membership
from backbeat.compose.local.ports import free_port
from backbeat.compose.local.storage import make_id
from backbeat.delivery.share.member import Member
from backbeat.delivery.share.session import AcquiredRecord
from backbeat.schemas.kafka.topics import DEAD_LETTERS, activities_topic, ensure_topics
from backbeat.streams.kafka.registration import add_client
from tests.integration.at_work import committed, put, running, work_record
from tests.integration.topic import read_whole
from tests.waiting import until_async

PROGRAM = Path(__file__).with_name("share_worker.py")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    # Locks of a second: what happens to them is seen soon.
    settings = {"group.share.min.record.lock.duration.ms": "1000", "group.share.record.lock.duration.ms": "1000"}
    membership = Membership(cluster_id=make_id(), controller_ports={1: free_port()}, node_id=1, settings=settings)
    with KafkaBroker(tmp_path_factory.mktemp("kafka"), membership=membership) as broker:
        ensure_topics(broker.bootstrap_servers, 1, 1, development=True)
        yield broker
        broker.kill()


@pytest.fixture
def bootstrap(broker: KafkaBroker) -> str:
    return broker.bootstrap_servers


@pytest.fixture
def name(bootstrap: str, unique: str) -> str:
    """A client application of this test's own, with one partition: of a consumer group one worker alone would work."""
    return add_client(bootstrap, unique, partitions=1).name


def make(bootstrap: str, name: str, concurrency: int = 10, delivery: str = "share") -> Worker:
    return Worker(bootstrap, name, concurrency, delivery=delivery)


class Notes:
    """What workers have begun and ended, and a gate that a handler can be held at."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.gate = asyncio.Event()

    def register(self, worker: Worker, *held: int, **options: int) -> Worker:
        @worker.activity("Work", **options)
        async def work(number: int) -> None:
            self.begun.append(number)
            if number in held:
                await self.gate.wait()
            self.ended.append(number)

        return worker


def records(*numbers: int) -> list[bytes]:
    return [work_record(number) for number in numbers]


async def test_more_workers_than_partitions_all_have_work(bootstrap: str, name: str) -> None:
    workers = [make(bootstrap, name, concurrency=1) for _ in range(3)]
    together = asyncio.Barrier(3)
    ended: list[int] = []
    for worker in workers:

        @worker.activity("Work")
        async def work(number: int) -> None:
            # Ends only when all three have one.
            await together.wait()
            ended.append(number)

    # One batch of a producer.
    put(bootstrap, name, *records(*range(6)))
    async with running(*workers):
        await until_async(lambda: sorted(ended) == list(range(6)))


async def test_a_slow_activity_holds_up_none_behind_it(bootstrap: str, name: str) -> None:
    notes = Notes()
    workers = [notes.register(make(bootstrap, name, concurrency=1), 0) for _ in range(2)]
    put(bootstrap, name, *records(*range(20)))
    async with running(*workers):
        await until_async(lambda: set(notes.ended) == set(range(1, 20)))
        assert notes.begun.count(0) == 1
        notes.gate.set()
    assert sorted(notes.ended) == list(range(20))


async def test_an_activity_that_runs_for_longer_than_its_lock_stays_with_its_worker(bootstrap: str, name: str) -> None:
    notes, other = Notes(), Notes()
    worker = notes.register(make(bootstrap, name), 1)
    put(bootstrap, name, *records(1))
    async with running(worker):
        await until_async(lambda: notes.begun == [1])
        async with running(other.register(make(bootstrap, name))):
            (delivery,) = worker._consumer._intake.held.values()
            for _ in range(4):
                before = delivery.receipts[0].renew_at
                # Half a lock each.
                await until_async(lambda before=before: delivery.receipts[0].renew_at > before)
            assert not delivery.revoked
            notes.gate.set()
            await until_async(lambda: notes.ended == [1])
    assert (notes.begun, other.begun) == ([1], [])


def start(bootstrap: str, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, PROGRAM, bootstrap, name], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hanging"])
async def test_what_a_worker_had_goes_to_another(bootstrap: str, name: str, number: int) -> None:
    put(bootstrap, name, *records(*range(6)))
    process = start(bootstrap, name)
    try:
        assert process.stdout is not None
        begun = {int(await asyncio.to_thread(process.stdout.readline)) for _ in range(3)}
        assert len(begun) == 3
        os.kill(process.pid, number)
        notes = Notes()
        async with running(notes.register(make(bootstrap, name))):
            await until_async(lambda: set(notes.ended) == set(range(6)))
        assert len(notes.ended) == 6
    finally:
        process.kill()
        process.communicate()


async def test_a_worker_that_stops_gives_back_at_once_what_it_has_not_begun(bootstrap: str, name: str) -> None:
    notes, other = Notes(), Notes()
    worker = notes.register(make(bootstrap, name, concurrency=3), *range(3), max_concurrent=1)
    put(bootstrap, name, *records(0, 1, 2))
    run = asyncio.create_task(worker.run(handle_signals=False))
    # One runs, the others wait for their turn.
    await until_async(lambda: len(notes.begun) == 1 and len(worker._consumer._intake.held) == 3)
    async with running(other.register(make(bootstrap, name))):
        worker.stop()
        await until_async(lambda: sorted(other.ended) == [1, 2])
        notes.gate.set()
        await run
    assert (notes.ended, sorted(other.begun)) == ([0], [1, 2])


async def test_what_was_taken_too_often_is_put_back_before_the_broker_takes_it_out(bootstrap: str, name: str) -> None:
    worker = make(bootstrap, name)
    async with running(worker):
        # The group is set up by its first worker.
        await until_async(lambda: worker._watcher.came_round_at)
    put(bootstrap, name, *records(1, 2))
    taken: list[AcquiredRecord] = []
    member = Member(
        bootstrap,
        f"backbeat-worker-{name}-share",
        activities_topic(name),
        room=lambda: 2 - len(taken) % 2,
        accept=taken.extend,
        fail=pytest.fail,
    )
    await member.join()
    for times in range(1, 4):
        await until_async(lambda times=times: len(taken) == 2 * times)
        assert [record.delivery_count for record in taken[-2:]] == [times, times]
        for record in taken[-2:]:
            record.lock.release()
        if times == 3:
            member.leaving = True
    await member.leave()
    await member.cluster.close()

    notes = Notes()
    async with running(notes.register(make(bootstrap, name))):
        await until_async(lambda: sorted(notes.ended) == [1, 2])
    assert sorted(notes.ended) == [1, 2]
    # The two, and the two that were put back.
    assert committed(bootstrap, name) == 4


async def test_a_repeat_runs_once_and_nonsense_goes_to_the_dead_letters(bootstrap: str, name: str) -> None:
    notes = Notes()
    put(bootstrap, name, *records(1), b"nonsense", *records(1, 2, 1))
    async with running(notes.register(make(bootstrap, name), 1)):
        await until_async(lambda: notes.ended == [2])
        notes.gate.set()
        await until_async(lambda: sorted(notes.ended) == [1, 2])
        put(bootstrap, name, *records(2, 1, 3))
        await until_async(lambda: 3 in notes.ended)
    assert sorted(notes.begun) == [1, 2, 3]
    # All of them are done, with the repeats.
    assert committed(bootstrap, name) == 8
    letters = [message.value() for message in read_whole(bootstrap, DEAD_LETTERS)]
    assert b"nonsense" in letters


async def test_a_change_of_delivery_runs_nothing_again_and_leaves_nothing_out(bootstrap: str, name: str) -> None:
    notes = Notes()
    for delivery, numbers in (("group", (1, 2)), ("share", (3, 4)), ("group", (5, 6)), ("share", (7, 8))):
        # Half before it starts, half while it runs.
        put(bootstrap, name, *records(numbers[0]))
        async with running(notes.register(make(bootstrap, name, delivery=delivery))):
            await until_async(lambda numbers=numbers: numbers[0] in notes.ended)
            put(bootstrap, name, *records(numbers[1]))
            await until_async(lambda numbers=numbers: numbers[1] in notes.ended)
    assert notes.begun == [1, 2, 3, 4, 5, 6, 7, 8]


async def test_both_deliveries_at_once_are_refused(bootstrap: str, name: str) -> None:
    put(bootstrap, name, *records(1))
    notes = Notes()
    async with running(notes.register(make(bootstrap, name, delivery="group"))):
        await until_async(lambda: notes.ended == [1])
        with pytest.raises(BackbeatError, match='workers with delivery="group" run'):
            await make(bootstrap, name).run(handle_signals=False)


def configure(bootstrap: str, kind: ConfigResource.Type, which: str, name: str, value: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    (future,) = admin.incremental_alter_configs([ConfigResource(kind, which, incremental_configs=[entry])]).values()
    future.result(120)


async def test_what_cannot_work_is_refused_with_what_to_do(bootstrap: str, name: str) -> None:
    configure(bootstrap, ConfigResource.Type.TOPIC, activities_topic(name), "compression.type", "lz4")
    with pytest.raises(BackbeatError, match=r"is compressed with lz4.* pip install 'aiokafka\[lz4\]'"):
        await make(bootstrap, name).run(handle_signals=False)
    group = f"backbeat-worker-{name}-share"
    configure(bootstrap, ConfigResource.Type.GROUP, group, "share.renew.acknowledge.enable", "false")
    with pytest.raises(BackbeatError, match=r"set share\.renew\.acknowledge\.enable=true"):
        await make(bootstrap, name).run(handle_signals=False)


async def test_work_goes_on_after_the_broker_was_away(broker: KafkaBroker, bootstrap: str, name: str) -> None:
    notes = Notes()
    worker = notes.register(make(bootstrap, name), 1)
    put(bootstrap, name, *records(1, 2))
    async with running(worker):
        await until_async(lambda: notes.ended == [2] and notes.begun.count(1) == 1)
        await asyncio.to_thread(broker.stop)
        await until_async(lambda: all(delivery.revoked for delivery in worker._consumer._intake.held.values()))
        # The thread that starts a broker must stay.
        broker.start()
        put(bootstrap, name, *records(3))
        await until_async(lambda: 3 in notes.ended)
        # It came again, and was known.
        await until_async(lambda: not any(delivery.revoked for delivery in worker._consumer._intake.held.values()))
        notes.gate.set()
        await until_async(lambda: sorted(notes.ended) == [1, 2, 3])
    assert sorted(notes.begun) == [1, 2, 3]
    assert committed(bootstrap, name) == 3
