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
from backbeat.compose.drill.security.broker import ADMIN, SecuredBroker
from backbeat.compose.local.child_process import ChildProcess
from backbeat.compose.local.ports import free_port
from backbeat.schemas.kafka.brokers import reach
from backbeat.schemas.kafka.security import PREFIX, Brokers, Mechanism
from tests.gateway.api.door import Door
from tests.waiting import until

PROGRAM = [sys.executable, "-m", "backbeat.compose"]


@pytest.fixture(scope="module")
def kafka_of_its_own(tmp_path_factory):
    with SecuredBroker(tmp_path_factory.mktemp("secured")) as secured:
        yield secured


@pytest.fixture
def folder(kafka_of_its_own, tmp_path, monkeypatch):
    """Where the programs run: their profile is there and nothing else says how one gets in."""
    for name in [*os.environ]:
        if name.startswith(PREFIX) and name != f"{PREFIX}JAVA_OPTIONS":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "password").write_text(f"{kafka_of_its_own.passwords[ADMIN]}\n")
    return tmp_path


def run(*words):
    """A command, to its end: exit code and what it said."""
    done = subprocess.run([*PROGRAM, *words], capture_output=True, text=True, timeout=120, check=False)
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
        f'[profiles.default]\nbootstrap-servers = "{secured.users_at}"\nkafka-ca-file = "{secured.authority.ca_file}"\n'
        f'kafka-user = "{ADMIN}"\nkafka-password-file = "password"\n'
    )
    code, output = run("topics", "create", "--partitions", "2", "--replication", "1", "--development")
    assert code == 0, output
    code, output = run("user", "add", "default", "--partitions", "2")
    assert code == 0, output
    (folder / "backbeat.toml").unlink()
    flags = ["--bootstrap-servers", secured.users_at, "--kafka-ca-file", str(secured.authority.ca_file)]
    flags += ["--kafka-user", ADMIN, "--kafka-password-file", "password", "--kafka-sasl-mechanism", "SCRAM-SHA-512"]
    variables = {**secured.variables(ADMIN), f"{PREFIX}SECURITY_PROTOCOL": "SASL_SSL"}
    port = free_port()
    parts = {
        "engine": (["engine", *flags, "--instance-id", "one", "--development", "--status-port", "0"], {}),
        "gateway": (["gateway", "--bootstrap-servers", secured.users_at, "--http-port", str(port)], variables),
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
            assert await purchase(Worker(secured.users_at, delivery=delivery), secured.users_at) == "Ann has it"
        door = Door(f"http://127.0.0.1:{port}")
        until(lambda: door.get("/ready").status == 200, "the gateway is ready")
        until(lambda: "backbeat_projection_whole 1.0" in door.get("/metrics").text, "its projection is whole")
        for part in parts.values():
            assert part.running, part.output()
            assert secured.passwords[ADMIN] not in part.output()


@pytest.mark.parametrize(
    ("wrong", "why_commands"),
    [
        ({"PASSWORD": "not that"}, ("invalid credentials", ["topics", "engine", "gateway", "projection"])),
        # All of them ask in the same way.
        ({"CA_FILE": "{secured.stranger.ca_file}"}, ("certificate verify failed", ["engine"])),
    ],
    ids=["password", "authority"],
)
def test_who_does_not_get_in_is_told_why_in_one_line(kafka_of_its_own, folder, monkeypatch, wrong, why_commands):
    why, commands_told = why_commands
    secured = kafka_of_its_own
    wrong = {f"{PREFIX}{name}": value.format(secured=secured) for name, value in wrong.items()}
    for name, value in {**secured.variables(ADMIN), **wrong}.items():
        monkeypatch.setenv(name, value)
    commands = {
        "topics": ["topics", "check"],
        "engine": ["engine", "--instance-id", "one", "--status-port", "0"],
        "gateway": ["gateway", "--http-port", str(free_port())],
        "projection": ["projection", "follow", "--status-port", "none"],
    }
    running = {
        name: subprocess.Popen(
            [*PROGRAM, *words, "--bootstrap-servers", secured.users_at],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, words in commands.items()
        if name in commands_told
    }
    with pytest.raises(Unavailable, match=why):
        asyncio.run(Client(secured.users_at).start())
    for name, process in running.items():
        out, error_output = process.communicate(timeout=90)
        assert (process.returncode, out, len(error_output.splitlines())) == (3, "", 1), (name, error_output)
        assert f"Kafka at {secured.users_at} cannot be entered: " in error_output
        assert why in error_output
        assert "What to do:" in error_output
        assert secured.passwords[ADMIN] not in error_output


@pytest.mark.parametrize("mechanism", [Mechanism.SCRAM_SHA_512, Mechanism.PLAIN])
def test_a_user_is_known_by_either_mechanism(kafka_of_its_own, mechanism):
    secured = kafka_of_its_own
    security = replace(secured.security(ADMIN), mechanism=mechanism)
    assert reach(Brokers(secured.users_at, security)).list_topics(timeout=120).brokers
