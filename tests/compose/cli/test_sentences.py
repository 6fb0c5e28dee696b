"""Whatever the command line is given, it answers with a sentence: never with a traceback."""

import errno
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from backbeat.client.signals import SIGNAL_WORDS
from backbeat.compose.cli.commands.signal import Line, _read_line
from backbeat.compose.cli.connection import Connection
from backbeat.compose.cli.durations import SECONDS_MAX, Length, Moment, Number
from backbeat.compose.cli.exit_codes import _EXPLAINED, CommandError, explain
from backbeat.compose.cli.program import backbeat as group

DEEP = "[" * 100_000
NODE = "5b0c6a52-9a3d-8e71-a5d0-77c1e2f30415"


def run(*arguments: str | bytes, **env: str | bytes) -> subprocess.CompletedProcess[bytes]:
    ours = {key: value for key, value in os.environ.items() if not key.startswith("BACKBEAT_")}
    command = [sys.executable, "-m", "backbeat.compose", *arguments]
    return subprocess.run(command, capture_output=True, check=False, timeout=120, env={**ours, **env}, input=b"")


def sentence(done: subprocess.CompletedProcess[bytes], code: int) -> str:
    stderr = done.stderr.decode()
    assert done.returncode == code, stderr
    assert "Traceback" not in stderr
    (line,) = [line for line in stderr.splitlines() if line.startswith("Error: ")]
    return line


def invoked(*arguments: str, code: int = 2, **env: str) -> str:
    done = CliRunner().invoke(group, arguments, env=env)
    assert done.exit_code == code, f"{done.output}\n{done.exception!r}"
    assert isinstance(done.exception, SystemExit)
    return done.output


# --- errors of the parts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("module", "name"), sorted(_EXPLAINED))
def test_every_error_that_is_explained_exists_where_it_is_looked_for(module, name):
    error = getattr(importlib.import_module(module), name)
    explained = explain(error.__new__(error))
    assert explained is not None
    assert explained.exit_code == _EXPLAINED[module, name]


# --- what is no text, no number, no time -----------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [
    ("signal", "W", "s", "Go", "--arg", b"caf\xe9"), ("workflow", "tree", "W", b"\xff"), ("user", "add", b"\xff"),
    ("--profile", b"\xff", "workflow", "list"), (b"\xff",),
], ids=lambda arguments: str(arguments[0]))  # fmt: skip
def test_bytes_that_are_no_utf8(arguments):
    assert sentence(run(*arguments), 2).endswith("in the command line is no UTF-8.")


def test_a_variable_that_is_no_utf8():
    assert sentence(run("workflow", "list", BACKBEAT_CLIENT=b"\xff"), 2).endswith(
        "in the variable BACKBEAT_CLIENT is no UTF-8."
    )


def options(command: click.Command = group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Option]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from options(command.get_command(context, name), (*path, name))
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            yield " ".join((*path, *parameter.opts)), parameter


def test_every_option_that_is_a_number_refuses_what_is_none():
    numbers = {name: option for name, option in options() if isinstance(option.type, click.types.FloatParamType)}
    # The benchmarks measure; nothing waits for what they are told.
    ours = {name: option for name, option in numbers.items() if not name.startswith("bench")}
    assert len({name.split()[-1] for name in ours}) > 5
    assert [name for name, option in ours.items() if not isinstance(option.type, Number)] == []
    for text in ("nan", "inf", "-inf", "1e300"):
        for option in ours.values():
            with pytest.raises(click.BadParameter):
                option.type.convert(text, None, None)
    assert Number(0).convert(str(SECONDS_MAX), None, None) == SECONDS_MAX


@pytest.mark.parametrize("text", ["nan", "inf", "NaN", "-1", "0"])
def test_a_wait_that_is_none(text):
    assert "BACKBEAT_TIMEOUT_SECONDS" in invoked("workflow", "list", BACKBEAT_TIMEOUT_SECONDS=text)
    assert "--timeout-seconds" in invoked("workflow", "list", "--timeout-seconds", text)


@pytest.mark.parametrize("text", [
    "999999d", "99999999999999999999d", "1" * 400 + "d", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
    "2026-02-30", "soon",
])  # fmt: skip
def test_a_time_that_there_is_not(text):
    for kind in (Moment(), Length()):
        with pytest.raises(click.BadParameter):
            kind.convert(text, None, None) if kind.name == "time" else kind.convert(f"{text}!", None, None)
    assert "--since" in invoked("search", "nodes", "--since", text)


@pytest.mark.parametrize("arguments", [
    ("signal", "W", DEEP, "Go", "--arg", DEEP), ("signal", "W", "s", "Go", "--args", DEEP),
    ("signal", "W", "s", "Go", "--metadata", DEEP), ("node", "resolve", NODE, "--response", DEEP),
], ids=lambda arguments: arguments[-2])  # fmt: skip
def test_json_without_an_end(arguments):
    assert "Error: " in invoked(*arguments)


# --- lines of signals ------------------------------------------------------------------------------------------------


def test_a_line_has_what_a_signal_has():
    assert set(Line.__struct_fields__) == {"workflow", "subject", "name", *SIGNAL_WORDS}


@pytest.mark.parametrize(("line", "says"), [
    (b'{"workflow": "W", "subject": 1, "name": "Go", "idempotencey_key": "k"}', "did you mean `idempotency_key`?"),
    (b'{"workflow": "W", "subject": 1, "name": "Go", "fires_at": "1h"}', "knows no 'fires_at': did you mean `at`?"),
    (b'{"workflow": "W", "subject": 1}', "'name' is missing"),
    (b'{"workflow": "W", "subject": 1, "name": "Go", "retries": "many"}', "Expected `int | null`, got `str`"),
    (b'{"workflow": "W", "subject": 1, "name": "Go", "retries": 1.5}', "Expected `int | null`"),
    (b'{"workflow": 5, "subject": 1, "name": "Go"}', "Expected `str`, got `int` - at `$.workflow`"),
    (b'{"workflow": "W", "subject": 1, "name": "Go", "args": "Ann"}', "got `str` - at `$.args`"),
    (b'{"workflow": "W", "subject": 1, "name": "caf\xe9"}', "this is no JSON object"),
    (b'{"workflow": "W", "subject": NaN, "name": "Go"}', "this is no JSON object"),
    (b'{"workflow": "W", "subject": ' + DEEP.encode() + b"}", "this is no JSON object"),
    (b"[1]", "this is no JSON object"),
], ids=range(11))  # fmt: skip
def test_a_line_that_is_no_signal(line, says):
    with pytest.raises(CommandError) as refused:
        _read_line(7, line)
    assert str(refused.value).startswith("standard input, line 7: ")
    assert says in str(refused.value)


def test_a_null_in_a_line_is_as_absent():
    line = {"workflow": "W", "subject": None, "name": "Go", **dict.fromkeys(SIGNAL_WORDS)}
    assert _read_line(1, json.dumps(line).encode()) == (("W", None, "Go"), {})


# --- other words -----------------------------------------------------------------------------------------------------


def test_words_of_settings_users_and_conditions(tmp_path):
    assert "did you mean `children_max`?" in invoked("settings", "set", "childern_max=5", code=1)
    assert "given twice" in invoked("settings", "set", "children_max=5", "children_max=6", code=1)
    users = tmp_path / "users.json"
    users.write_text(json.dumps([{"name": "shop", "activityEndpoint": "http://shop"}]))
    assert "client 'shop': there is no 'activityEndpoint': did you mean `activity_endpoint`?" in invoked(
        "user", "import", str(users), code=1
    )
    for text in (b"\xff", b'[{"name": "\xff"}]', DEEP.encode(), b'{"name": "shop"}', b"[5]"):
        users.write_bytes(text)
        assert "Error: this is no list of clients" in invoked("user", "import", str(users), code=1)
    assert "did you mean `name`?" in invoked("retry", "--where", "nmae=x", "--yes")


@pytest.mark.parametrize("arguments", [("retry",), ("resolve", "--where", "client=shop"), ("job", "start", "pause")])
def test_a_job_over_everything_must_say_so(arguments):
    assert "or --all if every one is meant" in invoked(*arguments, "--yes")
    assert "contradict each other" in invoked(*arguments, "--yes", "--all", "--where", "name=x")


# --- the surroundings ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("error", "says"), [
    (PermissionError(errno.EACCES, "Permission denied", "/etc/shadow"), "Error: /etc/shadow: Permission denied."),
    (OSError(errno.ENOSPC, "No space left on device"), "Error: No space left on device."),
    (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "Error: What was read is no UTF-8"),
    (UnicodeEncodeError("ascii", "é", 0, 1, "ordinal not in range"), "Error: '\\xe9' cannot be written in ascii."),
    (RecursionError("maximum recursion depth exceeded"), "Error: What was read is nested too deep."),
], ids=lambda value: type(value).__name__)  # fmt: skip
def test_an_error_of_the_system_is_a_sentence(monkeypatch, error, says):
    def fail(*_):
        raise error

    monkeypatch.setattr(Connection, "run", fail)
    assert says in invoked("workflow", "names", code=1)


def test_a_defect_is_a_sentence_and_its_traceback_is_kept(defects, monkeypatch, tmp_path):
    def fail(*_):
        return {}["no such key"]

    monkeypatch.setattr(Connection, "run", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    output = invoked("workflow", "names", code=1)
    (kept,) = tmp_path.iterdir()
    assert output == (
        "Error: This is a defect of Backbeat's: KeyError: 'no such key'. "
        f"What to do: report it, with {kept}, which says where it was met.\n"
    )
    assert 'return {}["no such key"]' in kept.read_text()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    assert "report it; it was met at" in invoked("workflow", "names", code=1)
    assert list(map(type, defects)) == [KeyError, KeyError]
    defects.clear()


@pytest.mark.parametrize("arguments", [("--help",), ("signal", "--help"), ("completion", "bash")])
def test_a_reader_that_has_seen_enough(arguments):
    command = [sys.executable, "-m", "backbeat.compose", *arguments]
    reader, writer = os.pipe()
    os.close(reader)
    with subprocess.Popen(command, stdout=writer, stderr=subprocess.PIPE) as process:
        os.close(writer)
        stderr = process.stderr.read()
    assert stderr == b""
    assert process.returncode == 1


def test_a_file_of_profiles_that_cannot_be_read(tmp_path):
    file = Path(tmp_path, "backbeat.toml")
    file.write_bytes(b"\xff")
    assert "is no TOML" in invoked("--config", str(file), "workflow", "list", code=1)
    file.write_text('[profiles.default]\nclinet = "shop"\n')
    assert "did you mean `client`?" in invoked("--config", str(file), "workflow", "list", code=1)
