"""Through TLS and a password, from end to end; and what is said to who does not get in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from backbeat import Client, Unavailable, Worker
from backbeat.compose.local.child_process import ChildProcess
from backbeat.compose.local.ports import free_port
from backbeat.schemas.kafka.brokers import RefusedError, reach
from backbeat.schemas.kafka.security import PREFIX, Brokers, KafkaSecurity, Mechanism, Protocol
from tests.gateway.api.door import Door
from tests.integration.secured_kafka import PASSWORD, USER, secured_kafka
from tests.waiting import until

PROGRAM = [sys.executable, "-m", "backbeat.compose"]


@pytest.fixture(scope="module")
def kafka_of_its_own(tmp_path_factory):
    with secured_kafka(tmp_path_factory.mktemp("secured")) as secured:
        yield secured


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the programs run: their profile is there and nothing else says how one gets in."""
    for name in [*os.environ]:
        if name.startswith(PREFIX) and name != f"{PREFIX}JAVA_OPTIONS":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    return tmp_path


def run(*words, **environment):
    """A command, to its end: exit code and what it said."""
    given = {**os.environ, **environment}
    done = subprocess.run([*PROGRAM, *words], env=given, capture_output=True, text=True, timeout=120, check=False)
    assert PASSWORD not in done.stdout + done.stderr
    return done.returncode, done.stderr if done.returncode else done.stdout


async def purchase(worker, bootstrap_servers):
    """One workflow through this worker: what came of it."""

    @worker.activity("Make Purchase")
    def make_purchase(buyer):
        return f"{buyer} has it"

    working = asyncio.create_task(worker.run(handle_signals=False))
    async with Client(bootstrap_servers, timeout=120) as client:
        node = await client.signal("Camera sale", "Camera 703", "Make Purchase", args=["Ann"])
        result = await node.result(timeout=120)
    worker.stop()
    await working
    return result


async def test_a_workflow_goes_through_engine_gateway_and_worker(kafka_of_its_own, folder, monkeypatch):
    secured = kafka_of_its_own
    # Each by another way: a profile, flags, the environment.
    (folder / "backbeat.toml").write_text(
        f'[profiles.default]\nbootstrap-servers = "{secured.who}"\nkafka-ca-file = "{secured.ca_file}"\n'
        f'kafka-user = "{USER}"\nkafka-password-file = "password"\n'
    )
    code, output = run("topics", "create", "--partitions", "2", "--replication", "1", "--development")
    assert code == 0, output
    code, output = run("user", "add", "default", "--partitions", "2")
    assert code == 0, output
    (folder / "backbeat.toml").unlink()
    flags = ["--bootstrap-servers", secured.who, "--kafka-ca-file", str(secured.ca_file), "--kafka-user", USER]
    flags += ["--kafka-password-file", "password", "--kafka-sasl-mechanism", "SCRAM-SHA-512"]
    variables = {"CA_FILE": str(secured.ca_file), "USER": USER, "PASSWORD": PASSWORD, "SECURITY_PROTOCOL": "SASL_SSL"}
    variables = {f"{PREFIX}{name}": value for name, value in variables.items()}
    port = free_port()
    parts = {
        "engine": (["engine", *flags, "--instance-id", "one", "--development", "--status-port", "0"], {}),
        "gateway": (["gateway", "--bootstrap-servers", secured.who, "--http-port", str(port)], variables),
    }
    with contextlib.ExitStack() as stack:
        for name, (words, environment) in parts.items():
            part = ChildProcess(
                name,
                [*PROGRAM, *words],
                log_path=folder / f"{name}.log",
                pid_path=folder / f"{name}.pid",
                env=environment,
            )
            part.start()
            stack.callback(part.stop)
            parts[name] = part
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        for delivery in ("group", "share"):
            assert await purchase(Worker(secured.who, delivery=delivery), secured.who) == "Ann has it"
        door = Door(f"http://127.0.0.1:{port}")
        until(lambda: door.get("/ready").status == 200, "the gateway is ready")
        until(lambda: "backbeat_projection_whole 1.0" in door.get("/metrics").text, "its projection is whole")
        for part in parts.values():
            assert part.running, part.output()
            assert PASSWORD not in part.output()


@pytest.mark.parametrize(
    ("wrong", "why_commands"),
    [
        ({"PASSWORD": "not that"}, ("invalid credentials", ["topics", "engine", "gateway", "projection"])),
        # All of them ask in the same way.
        ({"CA_FILE": "{secured.other_ca_file}"}, ("certificate verify failed", ["engine"])),
    ],
    ids=["password", "authority"],
)
def test_who_does_not_get_in_is_told_why_in_one_line(kafka_of_its_own, folder, monkeypatch, wrong, why_commands):
    why, commands_told = why_commands
    secured = kafka_of_its_own
    given = {"CA_FILE": str(secured.ca_file), "USER": USER, "PASSWORD": PASSWORD, **wrong}
    for name, value in given.items():
        monkeypatch.setenv(f"{PREFIX}{name}", value.format(secured=secured))
    commands = {
        "topics": ["topics", "check"],
        "engine": ["engine", "--instance-id", "one", "--status-port", "0"],
        "gateway": ["gateway", "--http-port", str(free_port())],
        "projection": ["projection", "follow", "--status-port", "none"],
    }
    running = {
        name: subprocess.Popen(
            [*PROGRAM, *words, "--bootstrap-servers", secured.who],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, words in commands.items()
        if name in commands_told
    }
    with pytest.raises(Unavailable, match=why):
        asyncio.run(Client(secured.who).start())
    for name, process in running.items():
        out, error_output = process.communicate(timeout=90)
        assert (process.returncode, out, len(error_output.splitlines())) == (3, "", 1), (name, error_output)
        assert f"Kafka at {secured.who} cannot be entered: " in error_output
        assert why in error_output
        assert "What to do:" in error_output
        assert PASSWORD not in error_output


@pytest.mark.parametrize("mechanism", [Mechanism.SCRAM_SHA_512, Mechanism.PLAIN])
def test_a_user_is_known_by_either_mechanism(kafka_of_its_own, mechanism):
    secured = kafka_of_its_own
    security = KafkaSecurity(
        protocol=Protocol.SASL_SSL, ca_file=secured.ca_file, mechanism=mechanism, user=USER, password=PASSWORD
    )
    assert reach(Brokers(secured.who, security)).list_topics(timeout=120).brokers


def test_a_certificate_opens_a_listener_that_asks_for_one(kafka_of_its_own):
    secured = kafka_of_its_own
    without = KafkaSecurity(protocol=Protocol.SSL, ca_file=secured.ca_file)
    with pytest.raises(RefusedError, match=r"alert (bad certificate|certificate required)"):
        reach(Brokers(secured.certified, without))
    security = replace(without, certificate_file=secured.certificate_file, key_file=secured.key_file)
    assert reach(Brokers(secured.certified, security)).list_topics(timeout=120).brokers
