"""`backbeat gateway`: the HTTP gateway. Any number of them run side by side."""

from pathlib import Path

import click

from backbeat.compose.cli.durations import Number
from backbeat.compose.cli.options import application_option, bootstrap_option, log_format_option


@click.command(
    epilog="""\b
Examples:
  backbeat gateway --bootstrap-servers kafka-1:9092,kafka-2:9092 --http-host 0.0.0.0
  backbeat gateway --http-port 9293 --data-dir /var/lib/backbeat/gateway-b --require-auth-token
  backbeat gateway --database-url postgresql://backbeat@db/backbeat --require-auth-token=all
"""
)
@bootstrap_option
@click.option(
    "--http-host",
    envvar="BACKBEAT_HTTP_HOST",
    default="127.0.0.1",
    show_default=True,
    show_envvar=True,
    help="The address to listen on; 0.0.0.0 is every one.",
)
@click.option(
    "--http-port",
    type=click.IntRange(1, 65535),
    envvar="BACKBEAT_HTTP_PORT",
    default=9292,
    show_default=True,
    show_envvar=True,
    help="The port to listen on.",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="BACKBEAT_DATA_DIR",
    show_envvar=True,
    default=Path(".backbeat/gateway"),
    show_default=True,
    help="Where the projection lives if it is SQLite (it can be thrown away), each gateway's own. A file "
    "`out-of-rotation` in it makes /heartbeat.txt say so.",
)
@click.option(
    "--database-url",
    envvar="BACKBEAT_DATABASE_URL",
    show_envvar=True,
    metavar="URL",
    help="The database of the projection, for example postgresql://user@host/backbeat; gateways may share it.  "
    "[default: SQLite in the data directory]",
)
@click.option(
    "--require-auth-token",
    is_flag=False,
    flag_value="writes",
    default="none",
    envvar="BACKBEAT_REQUIRE_AUTH_TOKEN",
    show_envvar=True,
    type=click.Choice(["none", "writes", "all"]),
    metavar="[=all]",
    help="Ask for the caller's token on signals, decisions and changes of limits, schedules, jobs and "
    "retention; with `=all` on every call but /health and /heartbeat.txt.",
)
@click.option(
    "--endpoint-timeout-seconds",
    type=Number(min=0, min_open=True),
    envvar="BACKBEAT_ENDPOINT_TIMEOUT_SECONDS",
    default=60.0,
    show_default=True,
    show_envvar=True,
    help="How long a client's endpoint may take to answer a webhook; more than the longest activity that runs inside "
    "the request.",
)
@click.option(
    "--connection-error-wait-seconds",
    type=Number(min=0),
    envvar="BACKBEAT_CONNECTION_ERROR_WAIT_SECONDS",
    default=30.0,
    show_default=True,
    show_envvar=True,
    help="How long a webhook waits before it counts as failed: for a connection, or after the endpoint's timeout for "
    "what its client says through the API.",
)
@click.option(
    "--queue-log-seconds",
    type=Number(min=0),
    envvar="BACKBEAT_QUEUE_LOG_SECONDS",
    default=300.0,
    show_default=True,
    show_envvar=True,
    help="How often queue sizes are logged; 0 is never.",
)
@click.option(
    "--archive-to",
    envvar="BACKBEAT_ARCHIVE_TO",
    show_envvar=True,
    metavar="URL",
    help="Archive workflows that are about to be removed here, as `backbeat archive run` does: file:///folder or "
    "s3://bucket/prefix.",
)
@click.option(
    "--archive-poll-seconds",
    type=Number(min=0, min_open=True),
    envvar="BACKBEAT_ARCHIVE_POLL_SECONDS",
    default=5.0,
    show_default=True,
    show_envvar=True,
    help="How often it is looked what waits to be archived.",
)
@application_option
@click.option(
    "--answer-seconds",
    type=Number(min=0, min_open=True),
    envvar="BACKBEAT_ANSWER_SECONDS",
    default=10.0,
    show_default=True,
    show_envvar=True,
    help="How long a call waits for the engine; then it is answered with 503.",
)
@log_format_option
def gateway(
    bootstrap_servers: str,
    http_host: str,
    http_port: int,
    data_dir: Path,
    database_url: str | None,
    require_auth_token: str,
    endpoint_timeout_seconds: float,
    connection_error_wait_seconds: float,
    queue_log_seconds: float,
    archive_to: str | None,
    archive_poll_seconds: float,
    application_id: str,
    answer_seconds: float,
    log_format: str,
) -> None:
    """Run the HTTP gateway until it is stopped (SIGTERM).

    A gateway that is stopped posts nothing more and waits for requests to endpoints that are under way, for up to
    the endpoint's timeout and the wait together; a second signal ends that wait.

    It serves the legacy HTTP API, posts work to the clients' endpoints, and keeps the projection that searches are
    answered from. It may start before Kafka does, and answers 503 until that is there.
    """
    from backbeat.gateway.http.app import run_gateway
    from backbeat.gateway.settings import GatewaySettings, TokenFor

    run_gateway(
        GatewaySettings(
            bootstrap_servers=bootstrap_servers,
            http_host=http_host,
            http_port=http_port,
            data_dir=data_dir.absolute(),
            database_url=database_url,
            require_auth_token=TokenFor(require_auth_token),
            endpoint_timeout_seconds=endpoint_timeout_seconds,
            connection_error_wait_seconds=connection_error_wait_seconds,
            queue_log_seconds=queue_log_seconds,
            archive_to=archive_to,
            archive_poll_seconds=archive_poll_seconds,
            application_id=application_id,
            answer_seconds=answer_seconds,
            log_format=log_format,
        )
    )
