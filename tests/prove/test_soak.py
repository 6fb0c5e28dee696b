"""An hour of mixed load under random kills: memory, handles, threads and disk stay flat, and the judge agrees.

SECONDS says how long (90 is a small one), SEED repeats one. Finished workflows are removed after some seconds, so what
is stored has no reason to grow; the log of commands is kept for ever, and is not counted.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
import uuid
from collections import defaultdict, deque

import psutil
import pytest
from click.testing import CliRunner
from confluent_kafka import Producer

from backbeat.compose.cli.program import backbeat
from backbeat.compose.drill.watch.footprint import bytes_in, fifths_of, grown
from backbeat.compose.local.stack import CLIENT_DEFAULT, Stack
from backbeat.schemas.kafka.topics import signals_topic
from backbeat.schemas.messages.commands import ChangeRetention
from backbeat.schemas.messages.retention import RetentionPolicy
from backbeat.schemas.messages.values import NewNode
from tests.empty_kafka import stack_on
from tests.gateway.api.door import Door
from tests.integration.caller import Caller, node_of, result
from tests.integration.hand import Hand
from tests.integration.rig import PARTITIONS, running, user_of
from tests.integration.storm import ENGINE_ENV, Storm
from tests.waiting import until

pytestmark = [pytest.mark.prove, pytest.mark.integration]

KEEP_SECONDS = 10.0
SIGNALS_PER_SECOND = 15.0
SAMPLES = 100


def answers(activity):
    """What a worker says: some first attempts fail, signals have children."""
    node = activity.node
    dice = random.Random(node.id)
    if node.attempt == 1 and dice.random() < 0.2:
        return [result(node, "errored")]
    children = [NewNode(name="child", user_id=node.user_id, retry_interval_seconds=0.5)] * dice.randrange(4)
    return [result(node, children=tuple(children) if node.depth == 1 else (), response=b'{"result":1}')]


class Load:
    """Signals of new subjects, by commands, by topic and by HTTP, which it waits for; some hold earlier ones up."""

    def __init__(self, kafka: str, caller: Caller, door: Door, seed: int) -> None:
        self._caller, self._door = caller, door
        self._producer = Producer({"bootstrap.servers": kafka})
        self._random = random.Random(seed)
        self._newest: deque[bytes] = deque(maxlen=20)
        self._ending = threading.Event()
        self.sent = 0
        self.refused = 0
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._send, name="load")
        self._thread.start()

    def _send(self) -> None:
        try:
            while not self._ending.wait(self._random.expovariate(SIGNALS_PER_SECOND)):
                self.sent += 1
                self._signal(f"Camera {self.sent}")
        except BaseException as error:  # noqa: BLE001 - `end` raises it
            self.error = error

    def _signal(self, subject: str) -> None:
        way = self._random.choice(("command", "topic", "http"))
        if way == "topic":
            content = {
                "workflow": "Purchases",
                "subject": subject,
                "decider": "D",
                "signal": "Buy",
                "retry_interval": 0.5,
            }
            self._producer.produce(signals_topic(CLIENT_DEFAULT), json.dumps(content))
            self._producer.poll(0)
            return
        link = self._random.choice(self._newest) if self._newest and self._random.random() < 0.2 else None
        signal = self._caller.signal(
            json.dumps(subject).encode(), identity=uuid.uuid4().bytes, retry_interval_seconds=0.5, parent_link_id=link
        )
        if way == "http":
            # While engines are killed some calls are not answered in time; the command may be applied all the same.
            self.refused += self._door.record(signal).status != 200
        else:
            self._caller.send(signal)
        self._newest.append(node_of(signal))

    def end(self) -> None:
        """Send no more."""
        self._ending.set()
        self._thread.join()
        assert self._producer.flush(120) == 0
        if self.error is not None:
            raise self.error


class Figures:
    """Memory, handles and threads of processes, and the bytes of their folders."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.series: dict[str, list[int]] = defaultdict(list)

    def take(self) -> None:
        """Note how it is now; what has just died is left out."""
        for part, pids in (("engine", self._stack.engine_pids), ("gateway", self._stack.gateway_pids)):
            for process in (psutil.Process(pid) for pid in pids if psutil.pid_exists(pid) and pid):
                try:
                    with process.oneshot():
                        memory, handles, threads = process.memory_info().rss, process.num_fds(), process.num_threads()
                except psutil.Error:
                    continue
                self.series[f"{part} bytes of memory"].append(memory)
                self.series[f"{part} handles"].append(handles)
                self.series[f"{part} threads"].append(threads)
        for folder in self._stack.data_dir.iterdir():
            if folder.name.startswith(("engine-", "gateway")) and folder.is_dir():
                self.series[f"{folder.name} bytes of disk"].append(bytes_in(folder))

    def growth(self) -> list[str]:
        """What has more in the last fifth than it may."""
        fifths = fifths_of(self.series)
        assert fifths.keys() == self.series.keys()
        for name, parts in fifths.items():
            print(f"median of each fifth: {name}: {parts}, most: {max(self.series[name])}", flush=True)
        return grown(fifths)


def test_an_hour_of_load_and_kills_leaves_everything_flat_and_right(kafka, tmp_path):
    seconds = float(os.environ.get("SECONDS") or 3_600)
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(2**32))
    print(f"\nsoak: {seconds:.0f} s, seed {seed}", flush=True)
    words = {"engines": 2, "gateways": [[]], "partitions": PARTITIONS, "env": ENGINE_ENV}
    with running(stack_on(kafka, data_dir=tmp_path, **words)) as stack:
        user = user_of(kafka)
        caller = Caller(kafka, user, PARTITIONS)
        # Nobody archives here; what waits for it would be kept for ever.
        policy = RetentionPolicy(
            owner_id=user, name="Purchases", keep_seconds=KEEP_SECONDS, archive=False, refuse_seconds=KEEP_SECONDS
        )
        for partition in range(PARTITIONS):
            caller.ask(ChangeRetention(id=uuid.uuid4().bytes, policy=policy), partition=partition)
        hand = Hand(caller, CLIENT_DEFAULT, answers)
        door = Door(stack.http_urls[0], str(uuid.UUID(bytes=user)))
        until(lambda: door.get("/ready").status == 200, "the gateway is ready")
        load = Load(kafka, caller, door, seed)
        pause = min(60.0, seconds / 12)
        storm = Storm(stack, seed, pause_seconds=(pause / 2, pause))
        figures = Figures(stack)
        ending = threading.Event()
        try:
            began = time.monotonic()
            while time.monotonic() - began < seconds:
                ending.wait(seconds / SAMPLES)
                assert stack.failure is None
                figures.take()
                hand.seen.clear()  # the test's own memory
        finally:
            load.end()
            storm.end()
            hand.close()
            caller.close()
        print(f"{load.sent} signals, {load.refused} calls without an answer; faults: {dict(storm.faults)}")
        verdict = CliRunner().invoke(backbeat, ["verify", "--bootstrap-servers", kafka])
        print(verdict.stdout)
        assert verdict.exit_code == 0, verdict.output
        assert figures.growth() == []
