"""`backbeat gateway`: the HTTP gateway. Any number of them run side by side."""

from pathlib import Path
from typing import Any

import click

from backbeat.compose.cli.durations import Number
from backbeat.compose.cli.options import application_option, bootstrap_option, log_format_option, setting
from backbeat.compose.cli.processes.ui_options import ui_options, ui_settings

_FILE = click.Path(dir_okay=False, path_type=Path)


class Networks(click.ParamType):
    """Networks that endpoints may be in."""

    name = "networks"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The networks of a text."""
        from backbeat.gateway.webhooks.networks import EndpointNetworks, NetworksError

        try:
            return value if isinstance(value, EndpointNetworks) else EndpointNetworks.of(value)
        except NetworksError as error:
            self.fail(f"{error}.", param, ctx)


@click.command(
    epilog="""\b
Examples:
  backbeat gateway --bootstrap-servers kafka-1:9092,kafka-2:9092 --http-host 0.0.0.0
  backbeat gateway --http-port 9293 --data-dir /var/lib/backbeat/gateway-b --require-auth-token
  backbeat gateway --database-url postgresql://backbeat@db/backbeat --require-auth-token=all
  backbeat gateway --http-certificate-file gateway.pem --http-key-file gateway.key
  backbeat gateway --endpoint-networks public,10.20.0.0/16
  backbeat gateway --ui on --ui-name production --ui-colour red --ui-host backbeat.example
"""
)
@bootstrap_option
@setting("--http-host", "The address to listen on; 0.0.0.0 is every one.", default="127.0.0.1")
@setting("--http-port", "The port to listen on.", type=click.IntRange(1, 65535), default=9292)
@setting(
    "--http-certificate-file",
    "PEM: serve HTTPS with this certificate, and those that lead to its authority.",
    type=_FILE,
)
@setting("--http-key-file", "PEM: the certificate's key, without a password.", type=_FILE)
@setting(
    "--data-dir",
    "Where the projection lives if it is SQLite (it can be thrown away), each gateway's own. A file "
    "`out-of-rotation` in it makes /heartbeat.txt say so.",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".backbeat/gateway"),
)
@setting(
    "--database-url",
    "The database of the projection, for example postgresql://user@host/backbeat; gateways may share it.  "
    "[default: SQLite in the data directory]",
    metavar="URL",
)
@setting(
    "--require-auth-token",
    "Ask for the caller's token on signals, messages, decisions and changes of limits, schedules, jobs, "
    "retention and dead letters; with `=all` on every call but /health, /heartbeat.txt, /openapi.json and /docs.",
    is_flag=False,
    flag_value="writes",
    default="none",
    show_default=False,
    type=click.Choice(["none", "writes", "all"]),
    metavar="[=all]",
)
@setting(
    "--endpoint-timeout-seconds",
    "How long a client's endpoint may take to answer a webhook; more than the longest activity that runs inside "
    "the request.",
    type=Number(min=0, min_open=True),
    default=60.0,
)
@setting(
    "--endpoint-networks",
    "Where clients' endpoints may be, after their names were looked up: `any` but link-local addresses and metadata "
    "services of clouds; `public`, what the Internet reaches; networks such as 10.20.0.0/16; several with commas.",
    type=Networks(),
    default="any",
    metavar="any|public|NETWORK,…",
)
@setting(
    "--connection-error-wait-seconds",
    "How long a webhook waits before it counts as failed: for a connection, or after the endpoint's timeout for "
    "what its client says through the API.",
    type=Number(min=0),
    default=30.0,
)
@setting("--queue-log-seconds", "How often queue sizes are logged; 0 is never.", type=Number(min=0), default=300.0)
@setting(
    "--archive-to",
    "Archive workflows that are about to be removed here, as `backbeat archive run` does: file:///folder or "
    "s3://bucket/prefix.",
    metavar="URL",
)
@setting(
    "--archive-poll-seconds",
    "How often it is looked what waits to be archived.",
    type=Number(min=0, min_open=True),
    default=5.0,
)
@application_option
@setting(
    "--answer-seconds",
    "How long a call waits for the engine; then it is answered with 503.",
    type=Number(min=0, min_open=True),
    default=10.0,
)
@setting(
    "--client-calls-max",
    "How many calls of one client are worked on at once, beside other clients' a quarter of it; more wait for their "
    "turn, and other clients' calls do not.",
    type=click.IntRange(1),
    default=128,
)
@setting(
    "--client-waiting-max",
    "How many calls of one client may wait; more are refused with 429. As many may wait for nodes to end (Prefer).",
    type=click.IntRange(1),
    default=1_000,
)
@setting(
    "--client-bytes-max",
    "Bytes of the bodies of one client's calls that are worked on at once; a call alone may be larger.",
    type=click.IntRange(1),
    default=64 * 1024 * 1024,
)
@ui_options
@log_format_option
def gateway(data_dir: Path, require_auth_token: str, **settings: Any) -> None:
    """Run the HTTP gateway until it is stopped (SIGTERM).

    A gateway that is stopped posts nothing more and waits for requests to endpoints that are under way, for up to
    the endpoint's timeout and the wait together; a second signal ends that wait.

    It serves the legacy HTTP API, posts work to the clients' endpoints, and keeps the projection that searches are
    answered from. It may start before Kafka does, and answers 503 until that is there.
    """
    from backbeat.gateway.http.app import run_gateway
    from backbeat.gateway.settings import GatewaySettings, TokenFor

    words = {name: settings.pop(name) for name in [*settings] if name.startswith("ui")}
    settings |= ui_settings(settings["http_host"], words)
    token_for = TokenFor(require_auth_token)
    run_gateway(GatewaySettings(data_dir=data_dir.absolute(), require_auth_token=token_for, **settings))
