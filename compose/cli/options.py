"""Options that several commands share, and the connection that some of them describe."""

from __future__ import annotations

import functools
import os
import typing
from collections.abc import Callable
from typing import Any, TypeVar, cast

import click
from click.core import ParameterSource

from backbeat.compose.cli.connection import TIMEOUT_SECONDS, Connection
from backbeat.compose.cli.durations import Number
from backbeat.compose.cli.user.deeds import actor_of
from backbeat.schemas.kafka.security import PREFIX, Brokers, KafkaSecurity, Mechanism, Protocol

STATUS_PORT_DEFAULT = 9301
_PORT_MAX = 65_535


class StatusPort(click.ParamType):
    """A port, 0 for a free one, or `none`."""

    name = "port"

    def convert(self, value: object, parameter: click.Parameter | None, context: click.Context | None) -> int | None:
        """The port; None for `none`."""
        text = str(value)
        if not (text == "none" or (text.isdecimal() and int(text) <= _PORT_MAX)):
            self.fail(f"{text!r} is no port: give 0 to {_PORT_MAX}, or `none`", parameter, context)
        return None if text == "none" else int(text)


F = TypeVar("F", bound=Callable[..., Any])


class Option(typing.Protocol):
    """A decorator that adds an option to a command, or several."""

    def __call__(self, command: F, /) -> F:
        """The command with the option."""


def add_options(*options: Option) -> Option:
    """Add options to a command, in the order of its help."""

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def setting(flag: str, text: str, *, variable: str | None = None, **options: Any) -> Option:
    """An option that an environment variable gives, too: `--http-host` or BACKBEAT_HTTP_HOST, unless it has another."""
    name = variable or f"BACKBEAT_{flag.removeprefix('--').replace('-', '_').upper()}"
    options = {"show_default": "default" in options, "show_envvar": True, **options}
    return click.option(flag, envvar=name, help=text, **options)


def _kafka_option(name: str, text: str, **settings: Any) -> Option:
    """An option of Kafka's security; `schemas.kafka.security` knows it by the variable's name."""
    return setting(f"--kafka-{name.lower().replace('_', '-')}", text, show_envvar=False, **settings)


_FILE = click.Path(dir_okay=False)
_KAFKA = (
    setting("--bootstrap-servers", "The Kafka to use.", default="127.0.0.1:9092", metavar="HOST:PORT,…"),
    _kafka_option(
        "SECURITY_PROTOCOL",
        "What its listener speaks.  [default: SASL_SSL with a user, SSL with a certificate, else PLAINTEXT]",
        type=click.Choice([protocol.value for protocol in Protocol]),
    ),
    _kafka_option(
        "CA_FILE", "PEM: whom its certificates must come from.  [default: whom the system trusts]", type=_FILE
    ),
    _kafka_option("CERTIFICATE_FILE", "PEM: our own certificate, where Kafka asks for one.", type=_FILE),
    _kafka_option("KEY_FILE", "PEM: the key of that certificate.", type=_FILE),
    _kafka_option(
        "SASL_MECHANISM",
        "How the user proves to be one.  [default: SCRAM-SHA-512]",
        type=click.Choice([mechanism.value for mechanism in Mechanism]),
    ),
    _kafka_option("USER", "Whom we log in to Kafka as.", metavar="NAME"),
    _kafka_option(
        "PASSWORD_FILE", "Where that user's password is; or the variable BACKBEAT_KAFKA_PASSWORD.", type=_FILE
    ),
)


def bootstrap_option(command: F) -> F:
    """Add the options of the Kafka and its security; the command gets both as `bootstrap_servers`."""

    @functools.wraps(command)
    def run(*arguments: Any, bootstrap_servers: str, **options: Any) -> Any:
        security_options = {name: options.pop(name) for name in [*options] if name.startswith("kafka_")}
        texts = {name.removeprefix("kafka_").upper(): value for name, value in security_options.items()}
        # A password on a command line is everybody's: it has no flag.
        security = KafkaSecurity.of({"PASSWORD": os.environ.get(f"{PREFIX}PASSWORD"), **texts})
        return command(*arguments, bootstrap_servers=Brokers(bootstrap_servers, security), **options)

    return cast("F", add_options(*_KAFKA)(run))


client_option = setting(
    "--client", "The client application in whose name it is asked.", default="default", metavar="NAME"
)
gateway_option = setting(
    "--gateway",
    "The HTTP gateway: for searches; for everything where it is named and no Kafka is.",
    default="http://127.0.0.1:9292",
    metavar="URL",
)
token_option = setting("--token", "The client application's token, for a gateway that asks for it.", metavar="TOKEN")
timeout_option = setting(
    "--timeout-seconds", "How long an answer is awaited.", type=Number(min=0, min_open=True), default=10.0
)
person_option = setting(
    "--person",
    "Who asks, through the gateway (`backbeat person`): the token is that person's. Without --client: about all client "
    "applications.",
    metavar="NAME",
)
as_option = click.option(
    "--as",
    "actor",
    metavar="NAME",
    callback=lambda _, __, name: actor_of(name),
    help="Under which name the audit has it, where Kafka itself is asked; nobody checks it.  [default: $USER]",
)
#: Its name in the command is another: letters, and more, are filtered by a reason of their own.
reason_option = click.option(
    "--reason", "because", default="", metavar="TEXT", help="Why, for the audit. A person must say it."
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="For programs: JSON; a list as one line of JSON for each of its rows."
)
compensate_option = click.option("--compensate", is_flag=True, help="Undo what was done below first (undo=…).")
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask whether that is meant.")
application_option = setting(
    "--application-id", "The consumer group of the engines.", default="backbeat", metavar="GROUP"
)
development_option = setting(
    "--development",
    "Accept topics with one replica: where losing everything with one disk is acceptable.",
    is_flag=True,
    show_envvar=False,
)
replication_option = click.option(
    "--replication",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Replicas of each partition of the topics that are made.",
)
status_host_option = setting(
    "--status-host",
    "The address that the status is served on; 0.0.0.0 is every one.",
    default="127.0.0.1",
    metavar="HOST",
)
log_format_option = setting(
    "--log-format",
    "How the log is written to stderr; auto: text at a terminal, JSON elsewhere.",
    type=click.Choice(["auto", "json", "text"]),
    default="auto",
)
partitions_option = click.option(
    "--partitions",
    type=click.IntRange(min=1, max=4096),
    default=None,
    help="Partitions of commands, queries, state and history, fixed once made.  [default: what is there, else 8]",
)


def status_port_option(default: int | None) -> Option:
    """The option of the port of /metrics, /live and /ready."""
    return setting(
        "--status-port",
        "The port of /metrics, /live and /ready; 0: a free one; none: they are not served there.",
        type=StatusPort(),
        default="none" if default is None else str(default),
        metavar="PORT|none",
    )


_CONNECTION = (bootstrap_option, gateway_option, client_option, token_option, person_option, timeout_option)
_OPERATING = (bootstrap_option, gateway_option, token_option, person_option)
_NOT_NAMED = (ParameterSource.DEFAULT, None)


def connected(command: F) -> F:
    """Add the options of the connection; the command gets them as `connection`."""

    @functools.wraps(command)
    def run(
        *arguments: Any,
        bootstrap_servers: str,
        gateway: str,
        client: str,
        token: str | None,
        person: str | None,
        timeout_seconds: float,
        actor: str = "",
        because: str = "",
        **options: Any,
    ) -> Any:
        source = click.get_current_context().get_parameter_source
        is_of_all = person is not None and source("client") in _NOT_NAMED
        connection = Connection(
            bootstrap_servers=bootstrap_servers,
            gateway=gateway.rstrip("/"),
            client="" if is_of_all else client,
            token=token,
            person=person,
            actor=actor,
            reason=because,
            timeout_seconds=timeout_seconds,
            # A gateway that is named without a Kafka: there is none at hand.
            only_gateway=source("gateway") not in _NOT_NAMED and source("bootstrap_servers") in _NOT_NAMED,
        )
        return command(*arguments, connection=connection, **options)

    return cast("F", add_options(*_CONNECTION)(run))


def operating(command: F) -> F:
    """Add the options of a command about all client applications: over Kafka, or as a person through a gateway.

    The command gets them as `connection`.
    """

    @functools.wraps(command)
    def run(
        *arguments: Any,
        bootstrap_servers: str,
        gateway: str,
        token: str | None,
        person: str | None,
        actor: str = "",
        because: str = "",
        **options: Any,
    ) -> Any:
        connection = Connection(
            bootstrap_servers=bootstrap_servers,
            gateway=gateway.rstrip("/"),
            client="",
            token=token,
            person=person,
            actor=actor,
            reason=because,
            timeout_seconds=TIMEOUT_SECONDS,
            only_gateway=False,
        )
        return command(*arguments, connection=connection, **options)

    return cast("F", add_options(*_OPERATING)(run))


#: Options of a command that changes something: in whose name, and why.
acting = add_options(connected, as_option, reason_option)
