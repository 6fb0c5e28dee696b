"""Each part as a user of its own, with the rights that `backbeat acls` gives it: all works, and nothing else does.

Everything goes over TLS, the gateway's HTTP too; and no secret is said by anybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from backbeat import Client, Worker
from backbeat.compose.local.child_process import ChildProcess
from backbeat.compose.local.ports import free_port
from backbeat.schemas.kafka.security import PREFIX, connection
from backbeat.schemas.kafka.topics import COMMANDS, STATE, activities_topic, signals_topic
from tests.integration.secured_kafka import PASSWORD, USER, password_of, secured_kafka
from tests.waiting import until

PROGRAM = [sys.executable, "-m", "backbeat.compose"]
#: User -> what `backbeat acls` is told of it.
USERS = {
    "the-engine": ["engine"],
    "the-gateway": ["gateway"],
    "shop-worker": ["worker", "--client", "shop"],
    "shop-share": ["share-worker", "--client", "shop"],
    "shop-web": ["service", "--client", "shop"],
    "a-caller": ["caller"],
}


def variables(secured, user):
    """The environment of a process that connects as this user."""
    names = {"CA_FILE": str(secured.ca_file), "USER": user, "PASSWORD": password_of(user)}
    return {f"{PREFIX}{name}": value for name, value in names.items()}


class System:
    """Engine and gateway, each as its own user, and what everybody has said."""

    def __init__(self, secured, folder):
        self.kafka, self.folder = secured, folder
        self.said = []
        self.parts = {}
        self.tokens = {}

    def run(self, *words):
        """A command of the operator, to its end."""
        environment = {**os.environ, "BACKBEAT_BOOTSTRAP_SERVERS": self.kafka.who, **variables(self.kafka, USER)}
        done = subprocess.run(
            [*PROGRAM, *words], env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        self.said.append(done.stderr)
        return done.stdout

    def start(self, name, words, user):
        part = ChildProcess(
            name,
            [*PROGRAM, *words, "--bootstrap-servers", self.kafka.who],
            log_path=self.folder / f"{name}.log",
            pid_path=self.folder / f"{name}.pid",
            env={**variables(self.kafka, user), "BACKBEAT_LOG_FORMAT": "text"},
        )
        part.start()
        self.parts[name] = part
        return part


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rights")
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        for name in [*os.environ]:
            if name.startswith(PREFIX) and name != f"{PREFIX}JAVA_OPTIONS":
                patch.delenv(name)
        patch.chdir(folder)
        secured = stack.enter_context(secured_kafka(folder))
        system = System(secured, folder)
        system.run("topics", "create", "--partitions", "2", "--replication", "1", "--development")
        for client in ("shop", "bank"):
            system.tokens[client] = json.loads(system.run("user", "add", client, "--partitions", "1", "--json"))[
                "token"
            ]
        for user, words in USERS.items():
            secured.add_user(user)
            system.run("acls", *words, "--principal", f"User:{user}", "--apply")
        stack.callback(lambda: [part.stop() for part in system.parts.values()])
        words = ["engine", "--instance-id", "one", "--development", "--status-port", "0"]
        engine = system.start("engine", words, "the-engine")
        certificate, key = secured.authority.issue("gateway")
        system.port = free_port()
        words = ["gateway", "--http-port", str(system.port), "--http-certificate-file", str(certificate)]
        words += ["--http-key-file", str(key), "--require-auth-token=all"]
        gateway = system.start("gateway", words, "the-gateway")
        for part, line in ((engine, "backbeat engine ready"), (gateway, "backbeat gateway ready")):
            until(lambda part=part, line=line: line in part.output() or not part.running, f"{part} is ready")
            assert line in part.output(), part.output()
        yield system


@pytest.mark.parametrize("user", ["shop-worker", "shop-share"])
async def test_a_signal_of_a_service_goes_through_to_a_worker_and_is_read_over_https(system, user):
    secured = system.kafka
    worker = Worker(secured.brokers(user), client="shop", delivery="share" if user == "shop-share" else "group")
    bought = asyncio.Event()

    @worker.activity("Buy")
    def buy(**_):
        bought.set()

    working = asyncio.create_task(worker.run())
    publish(secured.brokers("shop-web"), signals_topic("shop"), {**SIGNAL, "subject": user})
    async with asyncio.timeout(180):
        await bought.wait()
    trusting = ssl.create_default_context(cafile=secured.ca_file)
    async with aiohttp.ClientSession() as session:
        url = f"https://127.0.0.1:{system.port}/v2/workflows"

        async def answers(token):
            headers = {"Authorization": f"Token {token}"} if token else {}
            async with session.get(url, headers=headers, ssl=trusting) as response:
                return response.status

        assert await answers(None) == 401
        assert await answers("not that") == 401
    async with Client(secured.brokers("a-caller"), client="shop", timeout=120) as client:
        node = await client.signal("Purchases", f"{user} again", "Buy")
        await node.result(timeout=120)
    worker.stop()
    await working


SIGNAL = {"workflow": "Purchases", "decider": "D", "signal": "Buy"}


def publish(brokers, topic, content):
    """Publish a record; KafkaException where that is refused."""
    producer = Producer({**connection(brokers), "log_level": 0})
    errors = []
    producer.produce(topic, json.dumps(content), on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(120) == 0
    if errors[0] is not None:
        raise KafkaException(errors[0])


def read(brokers, topic):
    """Read a partition's first record, in the group of a worker of the shop; KafkaException where that is refused."""
    group = {"group.id": "backbeat-worker-shop", "enable.auto.commit": False}
    consumer = Consumer({**connection(brokers), **group, "log_level": 0})
    try:
        if (error := consumer.list_topics(topic, 120).topics[topic].error) is not None:
            raise KafkaException(error)
        consumer.assign([TopicPartition(topic, 0, 0)])

        def answer():
            message = consumer.poll(0.2)
            if message is not None and message.error() is not None:
                raise KafkaException(message.error())
            return message

        until(answer, "it is read, or refused", 60)
    finally:
        consumer.close()


REFUSED = {
    "signal as another": lambda secured: publish(secured.brokers("shop-web"), signals_topic("bank"), SIGNAL),
    "signal as another, by a worker": lambda secured: publish(
        secured.brokers("shop-worker"), signals_topic("bank"), SIGNAL
    ),
    "command by a service": lambda secured: publish(secured.brokers("shop-web"), COMMANDS, SIGNAL),
    "activities of another": lambda secured: read(secured.brokers("shop-worker"), activities_topic("bank")),
    "activities of another, shared": lambda secured: read(secured.brokers("shop-share"), activities_topic("bank")),
    "the state": lambda secured: read(secured.brokers("shop-worker"), STATE),
    "commands": lambda secured: read(secured.brokers("shop-worker"), COMMANDS),
}


@pytest.mark.parametrize("attempt", REFUSED.values(), ids=REFUSED)
def test_nothing_else_is_allowed(system, attempt):
    with pytest.raises(KafkaException, match="TOPIC_AUTHORIZATION_FAILED"):
        attempt(system.kafka)


def test_a_worker_reads_what_is_its_own_and_a_service_nothing(system):
    read(system.kafka.brokers("shop-worker"), activities_topic("shop"))
    with pytest.raises(KafkaException, match="AUTHORIZATION_FAILED"):
        read(system.kafka.brokers("shop-web"), activities_topic("shop"))


def test_no_secret_is_in_a_log_an_error_a_report_or_the_list_of_processes(system):
    """Passwords and tokens, after all that the tests above did, and after what fails."""
    environment = {**os.environ, "BACKBEAT_BOOTSTRAP_SERVERS": system.kafka.who, **variables(system.kafka, "shop-web")}
    for words in (["topics", "check"], ["stats"], ["user", "list", "--json"], ["verify"]):
        done = subprocess.run(
            [*PROGRAM, *words], env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        system.said += [done.stdout, done.stderr]
    system.said += [system.run("user", "list", "--json"), system.run("topics", "check", "--development", "--json")]
    destination = system.folder / "backup"
    system.run("backup", str(destination))
    texts = {f"command {number}": text.encode() for number, text in enumerate(system.said)}
    texts |= {name: part.output().encode() for name, part in system.parts.items()}
    texts |= {str(path): path.read_bytes() for path in destination.rglob("*.json")}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            texts[str(path)] = path.read_bytes()
    secrets = {PASSWORD, *map(password_of, USERS), *system.tokens.values()}
    held = [(name, secret) for name, text in texts.items() for secret in secrets if secret.encode() in text]
    assert held == []
