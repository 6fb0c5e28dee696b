"""Profiles: which file counts, what it may say, and that flags and environment come before it."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.cli.options import connected
from backbeat.compose.cli.profile import Section, find_file, load_profile
from backbeat.compose.cli.program import backbeat

FILE = """
profile = "near"

[profiles.near]
client = "shop"
timeout_seconds = 3

[profiles.far]
bootstrap-servers = "kafka-1:9092"
gateway = "https://backbeat.example/"
token = "secret"

[profiles.far.commands.node.show]
limit = 7
"""


@click.group()
@click.option("--profile")
@click.pass_context
def program(context, profile):
    loaded = load_profile(find_file(Path.cwd(), Path.home()), profile)
    context.default_map = Section(context.command, context, loaded, loaded.commands)


@program.group()
def node():
    pass


@node.command()
@connected
@click.option("--limit", type=int, default=1)
def show(connection, limit):
    click.echo(f"{connection} {limit=}")


@program.command()
@click.option("--bootstrap-servers")
def dev(bootstrap_servers):
    click.echo(f"{bootstrap_servers=}")


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """What a command was told, in a directory below the one with the file."""
    (tmp_path / "backbeat.toml").write_text(FILE)
    (tmp_path / "below" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "below" / "deep")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def ask(*arguments, **env):
        done = CliRunner().invoke(program, arguments, env=env)
        assert done.exit_code == 0, done.output + repr(done.exception)
        return done.output

    return ask


def test_the_file_says_which_profile_counts(asked):
    options = asked("node", "show")

    assert "client='shop'" in options
    assert "timeout_seconds=3.0" in options
    assert "bootstrap_servers='127.0.0.1:9092'" in options
    assert "only_gateway=False" in options


def test_another_profile(asked):
    options = asked("--profile", "far", "node", "show")

    assert "bootstrap_servers='kafka-1:9092'" in options
    assert "gateway='https://backbeat.example'" in options
    assert "client='default'" in options
    assert "limit=7" in options


def test_the_environment_comes_before_the_file_and_flags_before_both(asked):
    by_environment = asked("--profile", "far", "node", "show", BACKBEAT_CLIENT="env", BACKBEAT_TOKEN="other")
    by_flag = asked("--profile", "far", "node", "show", "--client", "flag", BACKBEAT_CLIENT="env")

    assert "client='env'" in by_environment
    assert "token='other'" in by_environment
    assert "client='flag'" in by_flag


def test_what_all_share_is_not_for_flags_that_mean_something_else(asked):
    assert "bootstrap_servers=None" in asked("--profile", "far", "dev")


@pytest.mark.parametrize(
    ("arguments", "only"),
    [
        ((), False),
        (("--gateway", "http://x"), True),
        (("--gateway", "http://x", "--bootstrap-servers", "k:1"), False),
        (("--bootstrap-servers", "k:1"), False),
    ],
    ids=["neither", "gateway", "both", "kafka"],
)
def test_who_names_only_a_gateway_has_no_kafka(asked, arguments, only):
    assert f"only_gateway={only}" in asked("node", "show", *arguments)


def test_the_nearest_file_counts_then_the_home_directory(tmp_path):
    home = tmp_path / "home"
    for folder in (home / ".config" / "backbeat", tmp_path / "a"):
        folder.mkdir(parents=True)
    (tmp_path / "a" / "b").mkdir()
    assert find_file(tmp_path / "a" / "b", home) is None

    (home / ".config" / "backbeat" / "backbeat.toml").touch()
    assert find_file(tmp_path / "a" / "b", home) == home / ".config" / "backbeat" / "backbeat.toml"

    (tmp_path / "a" / "backbeat.toml").touch()
    assert find_file(tmp_path / "a" / "b", home) == tmp_path / "a" / "backbeat.toml"


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("profile = ", None, "is no TOML"),
        ("[profiles.a]", "b", "there is no profile 'b' (there are: a)"),
        ('profile = "b"', None, "there is no profile 'b' (there are: none)"),
        ('[profiles.default]\nclinet = "x"', None, "there is no setting 'clinet' here"),
        ("profiles = 3", None, "must be a table"),
        ("[profile.default]", None, "profile must be a name"),
        ('[profiles.default]\ninstance-id = "x"', None, "[profiles.NAME.commands.COMMAND]"),
        ('client = "x"', None, "there is no setting 'client' here"),
    ],
)
def test_a_profile_with_a_wrong_entry_is_refused(tmp_path, content, name, message):
    path = tmp_path / "backbeat.toml"
    path.write_text(content)

    with pytest.raises(SetupError) as raised:
        load_profile(path, name)

    assert message in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_profile_without_a_file_is_refused():
    with pytest.raises(SetupError, match=r"no backbeat\.toml was found"):
        load_profile(None, "production")

    assert load_profile(None, None).shared == {}


def test_a_wrong_key_of_a_real_command_is_said(tmp_path):
    path = tmp_path / "backbeat.toml"
    path.write_text('[profiles.default.commands.engine]\ninstance-idd = "x"\n')

    done = CliRunner().invoke(backbeat, ["--config", str(path), "engine", "--help"])

    assert done.exit_code == 1
    assert "there is no setting 'instance-idd' here" in done.output
    assert "instance-id" in done.output
