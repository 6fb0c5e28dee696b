"""Topologies: what depends on what, targets by role, host and share, and those of a file."""

from __future__ import annotations

import os
import random
import socket

import psutil
import pytest
from click.testing import CliRunner

from backbeat.compose.cli.program import backbeat
from backbeat.compose.drill.topology.file import read_topology
from backbeat.compose.drill.topology.service import Service
from backbeat.compose.drill.topology.topology import Host, Topology, TopologyError

FILE = """
bootstrap_servers = "kafka-1:9092"

[[host]]
name = "kafka-1"
run = ["ssh", "kafka-1"]
address = "10.0.0.1"
key_file = "/etc/backbeat/drill.key"

[[service]]
name = "broker-1"
role = "broker"
host = "kafka-1"
pid_command = ["systemctl", "show", "-P", "MainPID", "kafka"]
stop = ["systemctl", "stop", "kafka"]
start = ["systemctl", "start", "kafka"]

[[service]]
name = "engine-1"
role = "engine"
metrics_url = "http://127.0.0.1:9301/metrics"
depends_on = ["broker"]

[[service]]
name = "gateway-1"
role = "gateway"
depends_on = ["engine", "broker"]

[[service]]
name = "shop"
role = "shop"
depends_on = ["gateway-1"]
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "staging.toml"
    path.write_text(FILE)
    return path


def engines(*hosts):
    return Topology(
        [Service(name=f"engine-{number}", role="engine", host=host) for number, host in enumerate(hosts, 1)],
        [Host(name=host) for host in set(hosts)],
    )


def test_what_depends_on_a_service_by_levels(file):
    topology = read_topology(file)
    assert topology.dependents("broker-1") == {"engine-1": 1, "gateway-1": 1, "shop": 2}
    assert topology.dependents("engine") == {"gateway-1": 1, "shop": 2}
    assert topology.dependents("broker", 1) == {"engine-1": 1, "gateway-1": 1}
    assert list(topology.graph()) == [
        "broker-1",
        "├─ engine-1",
        "│  └─ gateway-1",
        "│     └─ shop",
        "└─ gateway-1",
        "   └─ shop",
    ]
    with pytest.raises(TopologyError, match="no service or role 'cellar'"):
        topology.dependents("cellar")


def test_a_process_that_has_begun_after_its_id_was_written_is_another(tmp_path):
    pid_file = tmp_path / "pid"
    pid_file.write_text(str(os.getpid()))
    service = Service(name="engine-1", role="engine", pid_file=str(pid_file))
    assert service.process() == psutil.Process()
    before = psutil.Process().create_time() - 5
    os.utime(pid_file, (before, before))
    assert service.process() is None


def test_targets_by_role_share_and_host():
    topology = engines("a", "a", "b", "b", "b", "c")
    chance = random.Random(7)
    assert len(topology.choose("engine", chance)) == 1
    assert len(topology.choose("engine:1/3", chance)) == 2
    assert len(topology.choose("engine:all", chance)) == 6
    assert [service.name for service in topology.choose("engine-4", chance)] == ["engine-4"]
    for _ in range(20):
        third = topology.choose("engine:1/3@one-host", chance)
        assert len(third) == 2
        assert len({service.host for service in third}) == 1
    assert [service.name for service in topology.choose("engine:all@b", chance)] == ["engine-3", "engine-4", "engine-5"]
    assert len(topology.choose("engine:1/2@b", chance)) == 2
    assert [service.name for service in topology.choose("engine@c", chance)] == ["engine-6"]
    here = Topology([Service(name="engine-1", role="engine")])
    assert here.choose(f"engine@{socket.gethostname()}", chance) == here.of_role("engine")
    with pytest.raises(TopologyError, match=r"engine@cellar: none of them is on a host 'cellar'.*name one of a, b, c"):
        topology.choose("engine@cellar", chance)
    with pytest.raises(TopologyError, match="no host has 4"):
        topology.choose("engine:4@one-host", chance)
    with pytest.raises(TopologyError, match="roles here: engine"):
        topology.choose("cellar", chance)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('depends_on = ["engine", "broker"]', 'depends_on = ["cellar"]', "neither a service nor a role"),
        ('host = "kafka-1"', 'host = "kafka-2"', "has no \\[\\[host\\]\\]"),
        ('role = "shop"', "", "missing required field `role`"),
        ('role = "shop"', 'role = "shop"\ncolour = "red"', "unknown field `colour`"),
        ("[[host]]", "[[host", "is no topology"),
    ],
)
def test_a_file_that_cannot_be_one_says_where(file, old, new, message):
    file.write_text(FILE.replace(old, new, 1))
    with pytest.raises(TopologyError, match=message):
        read_topology(file)


def test_a_service_that_is_named_as_one_of_the_loads_is_refused(file, tmp_path):
    file.write_text(FILE.replace('"shop"', '"worker-2"').replace('run = ["ssh", "kafka-1"]', ""))
    words = ["drill", "run", "1", "--topology", str(file), "--folder", str(tmp_path / "runs")]
    refused = CliRunner().invoke(backbeat, words)
    assert refused.exit_code == 2, refused.output
    assert "named as the drill's own: worker-2. What to do: give them other names" in refused.output
    assert not (tmp_path / "runs").exists()


def test_no_service_takes_the_place_of_another():
    topology = engines("a")
    with pytest.raises(TopologyError, match="more than one service 'engine-1'"):
        topology.with_services([*topology.services.values(), *topology.services.values()])


def test_it_is_shown_as_table_and_graph(file):
    shown = CliRunner().invoke(backbeat, ["drill", "list", "--topology", str(file)])
    assert shown.exit_code == 0, shown.output
    assert "broker-1   broker   kafka-1" in shown.output
    assert "└─ gateway-1" in shown.output
    asked = CliRunner().invoke(backbeat, ["drill", "list", "--topology", str(file), "--depends-on", "engine"])
    assert asked.output == "1  gateway-1\n2  shop\n"
    missing = CliRunner().invoke(backbeat, ["drill", "list", "--topology", str(file.with_name("other.toml"))])
    assert missing.exit_code == 2
    assert "cannot be read" in missing.output


def test_hosts_that_are_reached_by_a_command_need_a_key_of_which_they_have_a_copy(file, tmp_path):
    words = ["drill", "run", "1", "--topology", str(file), "--folder", str(tmp_path / "runs")]
    refused = CliRunner().invoke(backbeat, words)
    assert (refused.exit_code, "--key-file" in refused.output) == (2, True), refused.output
    key = tmp_path / "key"
    key.write_text("k" * 64)
    key.chmod(0o644)
    refused = CliRunner().invoke(backbeat, [*words, "--key-file", str(key)])
    assert (refused.exit_code, "chmod 600" in refused.output) == (2, True), refused.output
    assert not (tmp_path / "runs").exists()
