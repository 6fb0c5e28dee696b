"""Services discovered among the units of a real systemd, those that are shipped, and faults of them."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from backbeat.compose.cli.program import backbeat
from backbeat.compose.drill.capsule.order import make_key
from backbeat.compose.drill.capsule.remote import RemoteCapsule
from backbeat.compose.drill.topology.file import read_topology
from backbeat.compose.drill.topology.topology import TopologyError
from backbeat.compose.drill.topology.units import Unit, _role
from tests.compose.deploy.files import SYSTEMD
from tests.compose.drill.systemd import HOSTNAME, systemd
from tests.waiting import until

#: Sandboxes within the test's own namespaces are more than the kernel allows.
PLAIN = """[Service]
User=
Group=
PrivateUsers=no
PrivateTmp=no
PrivateDevices=no
ProtectSystem=no
ProtectHome=no
ProtectKernelLogs=no
ProtectKernelTunables=no
ProtectControlGroups=no
ProtectProc=default
"""
ROLES = {"engine@1": "engine", "engine@2": "engine", "gateway@9292": "gateway"}


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    units = {path.name: path.read_text() for path in SYSTEMD.glob("*.service")}
    units |= {f"{name}.d/plain.conf": PLAIN for name in list(units)}
    files = {
        # Who runs is of no matter to systemd; what its unit says is.
        "opt/backbeat/bin/backbeat": "#!/bin/sh\nexec sleep infinity\n",
        "etc/backbeat/backbeat.env": "BACKBEAT_BOOTSTRAP_SERVERS=kafka:9092\n",
        "etc/backbeat/engine-2.env": "BACKBEAT_STATUS_PORT=9399\n",
    }
    unit_names = [f"backbeat-{name}.service" for name in ROLES]
    with systemd(tmp_path_factory.mktemp("systemd"), units, unit_names, files) as machine:
        yield machine


@pytest.fixture
def file(tmp_path, machine):
    path = tmp_path / "staging.toml"
    program = f"PATH={Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"
    run = ", ".join(f'"{word}"' for word in (*machine.run, "env", program))
    path.write_text(
        f'[[host]]\nname = "app-1"\nhostname = "{HOSTNAME}"\nrun = [{run}]\n\n'
        '[[units]]\npattern = "backbeat-*"\nhost = "app-1"\n'
    )
    return path


@pytest.mark.parametrize("options", ["", "--profile staging ", "--config=/etc/backbeat/b.toml --profile staging "])
def test_the_role_is_the_subcommand(options):
    argv = f"/opt/backbeat/bin/backbeat {options}engine --development"
    start = f"{{ path=/opt/backbeat/bin/backbeat ; argv[]={argv} ; ignore_errors=no }}"
    assert _role(Unit("ours", {"ExecStart": start}, {})) == "engine"


def test_units_are_services(file, machine):
    topology = read_topology(file)
    assert {service.name: service.role for service in topology.services.values()} == {
        f"backbeat-{name}.app-1": role for name, role in ROLES.items()
    }
    first, second = topology.of_role("engine")
    assert (first.metrics_url, first.data_dir) == ("http://127.0.0.1:9301/metrics", "/var/lib/backbeat/engine-1")
    # What its file of settings says, which only its process knows.
    assert second.metrics_url == "http://127.0.0.1:9399/metrics"
    (gateway,) = topology.of_role("gateway")
    assert (gateway.metrics_url, gateway.depends_on) == ("http://127.0.0.1:9292/metrics", ("engine",))
    assert topology.dependents("backbeat-engine@1.app-1") == {gateway.name: 1}
    shown = CliRunner().invoke(backbeat, ["drill", "list", "--topology", str(file)])
    assert shown.exit_code == 0, shown.output
    assert "└─ backbeat-gateway@9292.app-1" in shown.output


def test_a_unit_that_was_stopped_is_no_part_of_the_installation(file, machine):
    machine.ask("systemctl", "stop", "backbeat-engine@2")
    try:
        assert [service.name for service in read_topology(file).of_role("engine")] == ["backbeat-engine@1.app-1"]
    finally:
        machine.ask("systemctl", "start", "backbeat-engine@2")


def test_nothing_that_fits_and_a_host_that_cannot_be_asked_are_said(file):
    text = file.read_text()
    file.write_text(text.replace("backbeat-*", "cellar-*"))
    with pytest.raises(TopologyError, match="no unit of app-1 that fits 'cellar-\\*' runs"):
        read_topology(file)
    file.write_text(text.replace("nsenter", "no-such-program"))
    with pytest.raises(TopologyError, match="the units of app-1 cannot be read by `no-such-program"):
        read_topology(file)


def test_a_capsule_there_kills_a_unit_and_keeps_one_away(file, machine, tmp_path_factory):
    folder = tmp_path_factory.mktemp("capsules")
    key_file = folder / "key"
    key = make_key(key_file)
    topology = read_topology(file)
    target = topology.services["backbeat-engine@1.app-1"]
    host = msgspec.structs.replace(topology.host(target), key_file=str(key_file))

    def capsule(fault, arguments, seconds):
        return RemoteCapsule(
            fault, [target], arguments, host=host, seconds=seconds, seed=1, key=key, key_file=key_file, folder=folder
        )

    def show(name):
        return machine.ask("systemctl", "show", f"--property={name}", "--value", "backbeat-engine@1")

    pid = show("MainPID")
    killing = capsule("kill", {"every_seconds": [60, 60]}, 1.0)
    killing.launch()
    state = killing.wait(120)
    assert (state.left, state.ended_by) == ([], "its time"), state
    assert state.notes == [f"{target.name} (pid {pid}): SIGKILL"]
    assert (show("ActiveState"), show("NRestarts")) == ("active", "1")
    away = capsule("away", {}, 600.0)
    away.launch()
    assert show("ActiveState") == "inactive"
    away.abort("the test", "it has seen enough")
    assert away.wait(120).left == []
    until(lambda: show("ActiveState") == "active", "it is started again")
