"""How one gets into Kafka: what flags, environment and profile say, and that every client is made of that."""

from __future__ import annotations

import copy
import re
import ssl
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from backbeat.compose.cli.options import bootstrap_option, connected
from backbeat.compose.cli.program import backbeat
from backbeat.compose.local.kafka import KafkaBroker
from backbeat.compose.local.stack import Stack
from backbeat.schemas.kafka.security import (
    IN_THE_CLEAR,
    PREFIX,
    Brokers,
    KafkaSecurity,
    Mechanism,
    Protocol,
    SecurityError,
    connection,
    security_of,
)

ROOT = Path(__file__).parents[3]
SERVERS = "kafka-1:9093,kafka-2:9093"


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch, tmp_path):
    """The environment and the profiles of this machine say nothing."""
    for name in ("SECURITY_PROTOCOL", "CA_FILE", "CERTIFICATE_FILE", "KEY_FILE", "USER", "PASSWORD", "PASSWORD_FILE"):
        monkeypatch.delenv(f"{PREFIX}{name}", raising=False)
    monkeypatch.chdir(tmp_path)


def pem(path: Path) -> Path:
    path.write_text("of an authority")
    return path


def test_without_a_word_it_is_plain_text():
    assert connection(SERVERS) == {"bootstrap.servers": SERVERS}
    assert security_of(SERVERS).ssl_context() is None


@pytest.mark.parametrize(
    ("settings", "protocol"),
    [
        ({}, Protocol.PLAINTEXT),
        ({"USER": "me", "PASSWORD": "x"}, Protocol.SASL_SSL),
        ({"CA_FILE": "ca.pem"}, Protocol.SSL),
        ({"USER": "me", "PASSWORD": "x", "SECURITY_PROTOCOL": "SASL_PLAINTEXT"}, Protocol.SASL_PLAINTEXT),
        # A Kafka of this machine's own, whatever there is for another.
        ({"USER": "me", "CA_FILE": "gone.pem", "SECURITY_PROTOCOL": "PLAINTEXT"}, Protocol.PLAINTEXT),
        ({"USER": "", "CA_FILE": None}, Protocol.PLAINTEXT),
    ],
)
def test_a_password_never_goes_over_an_open_line_by_mistake(tmp_path, settings, protocol):
    pem(tmp_path / "ca.pem")
    assert KafkaSecurity.of(settings).protocol is protocol


def test_everything_that_is_said_reaches_librdkafka(tmp_path):
    names = {"ca_file": "ca.pem", "certificate_file": "own.crt", "key_file": "own.key"}
    paths = {name: pem(tmp_path / file) for name, file in names.items()}
    (tmp_path / "password").write_text("of the file\n")
    texts = {name.upper(): str(path) for name, path in paths.items()}
    settings = {**texts, "USER": "me", "PASSWORD_FILE": "password", "PASSWORD": "of the environment"}
    security = KafkaSecurity.of({**settings, "SASL_MECHANISM": "SCRAM-SHA-256"})

    assert connection(Brokers(SERVERS, security)) == {
        "bootstrap.servers": SERVERS,
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(paths["ca_file"]),
        "ssl.certificate.location": str(paths["certificate_file"]),
        "ssl.key.location": str(paths["key_file"]),
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": "me",
        "sasl.password": "of the file",
    }
    assert "of the file" not in repr(security)


def test_an_address_keeps_what_belongs_to_it(monkeypatch):
    monkeypatch.setenv(f"{PREFIX}USER", "of the environment")
    monkeypatch.setenv(f"{PREFIX}PASSWORD", "x")
    assert security_of(SERVERS).user == "of the environment"
    assert security_of(Brokers(SERVERS)).protocol is Protocol.PLAINTEXT
    mine = Brokers(SERVERS, KafkaSecurity(protocol=Protocol.SASL_PLAINTEXT, user="me", password="y"))
    assert mine == SERVERS
    assert security_of(copy.deepcopy(mine)).user == "me"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"USER": "me"}, "needs a user and a password. What to do: set BACKBEAT_KAFKA_USER"),
        ({"SECURITY_PROTOCOL": "SASL_SSL", "PASSWORD": "x"}, "needs a user and a password"),
        ({"SECURITY_PROTOCOL": "TLS"}, "BACKBEAT_KAFKA_SECURITY_PROTOCOL is 'TLS'. What to do: give one of PLAINTEXT"),
        ({"USER": "me", "PASSWORD": "x", "SASL_MECHANISM": "GSSAPI"}, "BACKBEAT_KAFKA_SASL_MECHANISM is 'GSSAPI'"),
        ({"CERTIFICATE_FILE": "own.crt"}, "belong together. What to do: set both BACKBEAT_KAFKA_CERTIFICATE_FILE"),
        ({"CA_FILE": "gone.pem"}, "gone.pem cannot be read: No such file or directory. What to do:"),
        ({"USER": "me", "PASSWORD_FILE": "gone"}, "gone cannot be read: No such file or directory. What to do:"),
    ],
)
def test_security_settings_that_contradict_are_refused_before_a_broker_is_asked(settings, why):
    with pytest.raises(SecurityError) as caught:
        KafkaSecurity.of(settings)
    assert why in str(caught.value)
    environment = {f"{PREFIX}{name}": value for name, value in settings.items()}
    done = CliRunner().invoke(backbeat, ["topics", "check"], env=environment)
    assert done.exit_code in {1, 2}
    if done.exit_code == 1:
        assert why in done.output


def test_flags_come_before_the_environment_and_that_before_the_profile(tmp_path, monkeypatch):
    brokers = []

    @click.command()
    @bootstrap_option
    def direct(bootstrap_servers):
        brokers.append(bootstrap_servers)

    @click.command()
    @connected
    def through(connection):
        brokers.append(connection.bootstrap_servers)

    for name in ("flag", "variable", "profile"):
        (tmp_path / name).write_text(f"of the {name}")
    profile = {"kafka_user": "of the profile", "kafka_password_file": "profile", "kafka_sasl_mechanism": "PLAIN"}
    variables = {f"{PREFIX}USER": "of the variable", f"{PREFIX}PASSWORD_FILE": "variable"}
    for command in (direct, through):
        run = CliRunner().invoke
        assert run(command, ["--bootstrap-servers", SERVERS], default_map=profile).exit_code == 0
        assert run(command, [], default_map=profile, env=variables).exit_code == 0
        words = ["--kafka-user", "of the flag", "--kafka-password-file", "flag"]
        assert run(command, words, default_map=profile, env=variables).exit_code == 0
        securities = [security_of(security) for security in brokers]
        assert [security.user for security in securities] == ["of the profile", "of the variable", "of the flag"]
        assert [security.password for security in securities] == ["of the profile", "of the variable", "of the flag"]
        assert {security.mechanism for security in securities} == {Mechanism.PLAIN}
        assert brokers[0] == SERVERS
        brokers.clear()


def test_no_command_takes_a_password_on_its_command_line():
    assert CliRunner().invoke(backbeat, ["topics", "check", "--kafka-password", "x"]).exit_code == 2


def test_pythons_own_tls_checks_who_answers():
    context = KafkaSecurity(protocol=Protocol.SSL).ssl_context()
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("security", "expected"),
    [
        (KafkaSecurity(), {"security_protocol": "PLAINTEXT"}),
        (KafkaSecurity(protocol=Protocol.SSL), {"security_protocol": "SSL"}),
        (
            KafkaSecurity(protocol=Protocol.SASL_SSL, mechanism=Mechanism.PLAIN, user="me", password="x"),
            {
                "security_protocol": "SASL_SSL",
                "sasl_mechanism": "PLAIN",
                "sasl_plain_username": "me",
                "sasl_plain_password": "x",
            },
        ),
    ],
)
def test_everything_that_is_said_reaches_aiokafka(security, expected):
    from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

    from backbeat.streams.process.faust_app import _credentials

    settings = dict(credentials_to_aiokafka_auth(_credentials(security)))
    context = settings.pop("ssl_context", None)
    assert settings == expected
    assert (context is not None) is security.protocol.encrypts


def test_a_kafka_of_this_machines_own_is_entered_in_the_clear(tmp_path, monkeypatch):
    monkeypatch.setenv(f"{PREFIX}USER", "of another Kafka")
    monkeypatch.setenv(f"{PREFIX}PASSWORD", "x")
    own = KafkaBroker(tmp_path).bootstrap_servers
    assert connection(own) == {"bootstrap.servers": own}
    assert Stack(ephemeral=True)._env.items() >= IN_THE_CLEAR.items()
    assert not Stack(ephemeral=True, bootstrap_servers=SERVERS)._env.keys() & IN_THE_CLEAR.keys()


def test_every_client_is_made_of_the_same_room():
    paths = [
        path for folder in ("schemas", "sdk", "streams", "gateway", "compose") for path in (ROOT / folder).rglob("*.py")
    ]
    texts = {path.relative_to(ROOT).as_posix(): path.read_text() for path in paths}
    assert [name for name, text in texts.items() if '"bootstrap.servers"' in text] == ["schemas/kafka/security.py"]
    made = re.compile(r"\b(?:AdminClient|Producer|Consumer|AIOKafka\w+)\(")
    # Settings of the ingest's clients are in a module of their own.
    connected = re.compile(r"\bconnection\(|\.aiokafka\(\)|from backbeat.streams.input.signal_connections import")
    assert [name for name, text in texts.items() if made.search(text) and not connected.search(text)] == []
