"""Options that several commands share, and the connection that some of them describe."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from backbeat.compose.cli.connection import Connection
from backbeat.compose.cli.durations import Number
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


def _kafka_option(name: str, text: str, **settings: Any) -> Callable[[F], F]:
    """An option of Kafka's security; `schemas.kafka.security` knows it by the variable's name."""
    flag = name.lower().replace("_", "-")
    return click.option(f"--kafka-{flag}", envvar=f"{PREFIX}{name}", help=text, **settings)


_FILE = click.Path(dir_okay=False)
_KAFKA = (
    click.option(
        "--bootstrap-servers",
        envvar="BACKBEAT_BOOTSTRAP_SERVERS",
        default="127.0.0.1:9092",
        show_default=True,
        show_envvar=True,
        metavar="HOST:PORT,…",
        help="The Kafka to use.",
    ),
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

    with_options: Any = run
    for option in reversed(_KAFKA):
        with_options = option(with_options)
    return with_options  # type: ignore[no-any-return]  # the wrapper stands where the command stood


client_option = click.option(
    "--client",
    envvar="BACKBEAT_CLIENT",
    default="default",
    show_default=True,
    show_envvar=True,
    metavar="NAME",
    help="The client application in whose name it is asked.",
)
gateway_option = click.option(
    "--gateway",
    envvar="BACKBEAT_GATEWAY",
    default="http://127.0.0.1:9292",
    show_default=True,
    show_envvar=True,
    metavar="URL",
    help="The HTTP gateway: for searches; for everything where it is named and no Kafka is.",
)
token_option = click.option(
    "--token",
    envvar="BACKBEAT_TOKEN",
    show_envvar=True,
    metavar="TOKEN",
    help="The client application's token, for a gateway that asks for it.",
)
timeout_option = click.option(
    "--timeout-seconds",
    type=Number(min=0, min_open=True),
    envvar="BACKBEAT_TIMEOUT_SECONDS",
    default=10.0,
    show_default=True,
    show_envvar=True,
    help="How long an answer is awaited.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="For programs: JSON; a list as one line of JSON for each of its rows."
)
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask whether that is meant.")
application_option = click.option(
    "--application-id",
    envvar="BACKBEAT_APPLICATION_ID",
    default="backbeat",
    show_default=True,
    show_envvar=True,
    metavar="GROUP",
    help="The consumer group of the engines.",
)
development_option = click.option(
    "--development",
    envvar="BACKBEAT_DEVELOPMENT",
    is_flag=True,
    help="Accept topics with one replica: where losing everything with one disk is acceptable.",
)
replication_option = click.option(
    "--replication",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Replicas of each partition of the topics that are made.",
)
status_host_option = click.option(
    "--status-host",
    envvar="BACKBEAT_STATUS_HOST",
    default="127.0.0.1",
    show_default=True,
    show_envvar=True,
    metavar="HOST",
    help="The address that the status is served on; 0.0.0.0 is every one.",
)
log_format_option = click.option(
    "--log-format",
    type=click.Choice(["auto", "json", "text"]),
    envvar="BACKBEAT_LOG_FORMAT",
    default="auto",
    show_default=True,
    show_envvar=True,
    help="How the log is written to stderr; auto: text at a terminal, JSON elsewhere.",
)
partitions_option = click.option(
    "--partitions",
    type=click.IntRange(min=1, max=4096),
    default=None,
    help="Partitions of commands, queries, state and history, fixed once made.  [default: what is there, else 8]",
)


def status_port_option(default: int | None) -> Callable[[F], F]:
    """The option of the port of /metrics, /live and /ready."""
    return click.option(
        "--status-port",
        type=StatusPort(),
        envvar="BACKBEAT_STATUS_PORT",
        default="none" if default is None else str(default),
        show_default=True,
        show_envvar=True,
        metavar="PORT|none",
        help="The port of /metrics, /live and /ready; 0: a free one; none: they are not served there.",
    )


_CONNECTION = (bootstrap_option, gateway_option, client_option, token_option, timeout_option)
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
        timeout_seconds: float,
        **options: Any,
    ) -> Any:
        source = click.get_current_context().get_parameter_source
        connection = Connection(
            bootstrap_servers=bootstrap_servers,
            gateway=gateway.rstrip("/"),
            client=client,
            token=token,
            timeout_seconds=timeout_seconds,
            # A gateway that is named without a Kafka: there is none at hand.
            only_gateway=source("gateway") not in _NOT_NAMED and source("bootstrap_servers") in _NOT_NAMED,
        )
        return command(*arguments, connection=connection, **options)

    with_options: Any = run
    for option in reversed(_CONNECTION):
        with_options = option(with_options)
    return with_options  # type: ignore[no-any-return]  # the wrapper stands where the command stood
