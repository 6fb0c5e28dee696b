"""The whole on this machine, with a real Kafka and a stand-in for the engine."""

import os
import signal
import socket
import sys
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.local.kafka import KafkaBroker
from backbeat.compose.local.ports import port_is_free
from backbeat.compose.local.stack import Stack
from backbeat.schemas.kafka.client_registry import ClientRegistry
from backbeat.schemas.kafka.topics import check_topics
from backbeat.streams.kafka.registration import add_client
from tests.waiting import until

pytestmark = pytest.mark.integration
STAND_IN = Path(__file__).with_name("stand_in.py")


def engine(behaviour: str):
    return lambda *_: [sys.executable, str(STAND_IN), behaviour]


def test_everything_starts_on_a_port_of_its_own_survives_its_engine_and_stops(tmp_path, kafka, monkeypatch):
    # Another one took the port after it was found free.
    taken = int(kafka.rpartition(":")[2])
    monkeypatch.setattr("backbeat.compose.local.stack.choose_port", lambda *_: taken)
    # A shell of production's would have its gateways make that search anew.
    monkeypatch.setenv("BACKBEAT_DATABASE_URL", "postgresql://production/backbeat")
    lines = []
    with Stack(tmp_path, engines=2, partitions=3, say=lines.append, engine=engine("runs")) as stack:
        assert stack.kafka.port != taken
        assert stack.partitions == 3
        servers = stack.bootstrap_servers
        broker_process = psutil.Process(stack.kafka.pid)
        assert {topic.partitions for topic in check_topics(servers, 3, development=True).values()} == {1, 3, 8}
        with ClientRegistry(servers) as registry:
            assert registry.by_name("default").delivery == "topic"
        first, second = stack.engine_pids
        assert "BACKBEAT_DATABASE_URL" not in psutil.Process(second).environ()
        os.kill(first, signal.SIGKILL)
        until(lambda: stack.engine_pids[0] not in {0, first}, "another engine runs")
        stack.wait_ready(0)
        stack.kill_engine(1)
        stack.wait_ready(1)
        assert stack.engine_pids[1] not in {0, second}
        stack.stop_engine(1)
        assert stack.engine_pids[1] == 0
        stack.start_engine(1)
        stack.wait_ready(1)
        assert stack.add_engine() == 2
        stack.wait_ready(2)
        pids = stack.engine_pids

    assert lines == ["engine-1 died (signal SIGKILL); starting it again in 0.1 s."]
    assert not broker_process.is_running()
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []
    assert stack.failure is None
    assert (tmp_path / "log" / "engine-3.log").read_text().endswith("ended in order\n")


def test_state_survives_a_stop_a_kill_of_kafka_and_another_port(tmp_path):
    with Stack(tmp_path, partitions=2, engine=engine("runs")) as stack:
        client = add_client(stack.bootstrap_servers, "shop", partitions=2)
        topics = check_topics(stack.bootstrap_servers, development=True)
        port = stack.kafka.port
        stack.kafka.kill()
        assert stack.wait(120)
    assert stack.failure.startswith("Kafka died (signal SIGKILL); its last lines:\n    ")

    with (
        socket.create_server(("127.0.0.1", port)),
        Stack(tmp_path, engine=engine("runs")) as stack,
        ClientRegistry(stack.bootstrap_servers) as registry,
    ):
        assert registry.by_name("shop") == client
        assert stack.partitions == 2
        assert check_topics(stack.bootstrap_servers, development=True) == topics
        assert stack.kafka.port != port


def test_data_directory_in_use(tmp_path, kafka):
    with (
        Stack(tmp_path, bootstrap_servers=kafka, engine=engine("runs")),
        pytest.raises(SetupError, match=rf"is in use by another `backbeat dev` \(pid {os.getpid()}\)\. What to do: "),
    ):
        Stack(tmp_path, bootstrap_servers=kafka, engine=engine("runs")).start()


def test_data_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(SetupError, match=r"data directory .*file/below cannot be used: .*--data-dir"):
        Stack(tmp_path / "file" / "below", bootstrap_servers="127.0.0.1:1").start()


def test_throw_away_directory_is_gone_afterwards(kafka):
    with Stack(ephemeral=True, bootstrap_servers=kafka, engine=engine("runs")) as stack:
        assert (stack.data_dir / "log" / "engine-1.log").exists()

    assert not stack.data_dir.exists()


def test_engine_that_dies_again_and_again_stops_everything(tmp_path, kafka):
    lines = []
    with pytest.raises(SetupError, match=r"(?s)engine-1 died \(exit code 3\), for the 5th time .*    the disk is full"):
        Stack(tmp_path, bootstrap_servers=kafka, say=lines.append, engine=engine("dies")).start()

    assert len(lines) == 4


def test_engine_that_dies_later_stops_everything_too(tmp_path, kafka):
    with Stack(tmp_path, bootstrap_servers=kafka, engine=engine("runs")) as stack:
        stack._engine_command = engine("dies")
        stack._engines[0].process.command[-1] = "dies"
        os.kill(stack.engine_pids[0], signal.SIGKILL)
        assert stack.wait(120)

    assert "for the 5th time within 60 s" in stack.failure


def test_engine_that_is_never_ready(tmp_path, kafka):
    with pytest.raises(SetupError, match=r"(?s)engine-1 was not ready within .* its last lines .*    restoring"):
        Stack(tmp_path, bootstrap_servers=kafka, engine=engine("never-ready")).start(seconds=3)


def test_wrong_number_of_partitions(tmp_path, kafka):
    with pytest.raises(SetupError, match=r"topic backbeat.commands: found \d+ partitions, wanted 77\. What to do: "):
        Stack(tmp_path, bootstrap_servers=kafka, partitions=77, engine=engine("runs")).start()


def test_port_that_was_asked_for_and_is_taken(tmp_path, kafka):
    port = int(kafka.rpartition(":")[2])
    assert not port_is_free(port)

    with pytest.raises(SetupError, match=rf"port {port} \(--kafka-port\) is taken"):
        Stack(tmp_path, kafka_port=port, engine=engine("runs")).start()


def test_engines_on_a_shared_kafka_have_names_of_their_own(tmp_path, kafka):
    names = []

    def remember(_: str, name: str, folder: Path) -> list[str]:
        names.append(name)
        return [sys.executable, str(STAND_IN), "runs", str(folder)]

    for folder in ("one", "one", "other"):
        with Stack(tmp_path / folder, bootstrap_servers=kafka, engine=remember):
            pass

    assert names[0] == names[1] != names[2]


def test_kafka_left_over_is_stopped_by_the_next_start(tmp_path):
    lines = []
    first = KafkaBroker(tmp_path)
    first.start()
    pid_file = tmp_path / "kafka.pid"
    # As after a kill -9 of its parent on a system whose kernel does not end orphans.
    second = KafkaBroker(tmp_path, say=lines.append)
    assert pid_file.exists()

    with second:
        assert not first.running
        assert lines == [f"Stopped a Kafka that an earlier run had left behind (pid {first.pid})."]


def test_kafka_that_is_killed_leaves_nothing_in_the_systems_temporary_folder(tmp_path):
    broker, folder = KafkaBroker(tmp_path), tmp_path / "tmp"
    with broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "compression.type": "lz4"})
        admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
        admin.create_topics([NewTopic("t", 1, 1)])["t"].result()
        # The broker reads what it is sent, for which Java unpacks a library.
        producer.produce("t", b"x" * 1_000)
        producer.flush()
        assert any("lz4" in path.name for path in folder.iterdir())
        broker.kill()
        broker.prepare()
        assert list(folder.iterdir()) == []
