"""`backbeat codec`: an endpoint that decodes payloads for the console, with keys that no gateway has."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from backbeat.compose.cli.errors import SetupError

READY_LINE = "backbeat codec ready"
_PORT_DEFAULT = 9393
_TOKEN_CHARACTERS_MIN = 16


@click.group()
def codec() -> None:
    """Decode encrypted and stored payloads for people who look at them in the console.

    Their browsers ask this endpoint: keys and values never pass a gateway.
    """


@codec.command(
    epilog="""\b
Examples:
  backbeat codec serve orders:codec --token-file /run/secrets/codec --allow-origin https://backbeat.example
  backbeat codec serve orders:codec --store file:///srv/payloads --allow-origin http://127.0.0.1:9292
  backbeat gateway --ui on --ui-codec-url https://codec.example
"""
)
@click.argument("target", metavar="MODULE:CODEC")
@click.option(
    "--allow-origin",
    "origins",
    multiple=True,
    required=True,
    metavar="URL",
    help="Where the console is, as browsers name it: https://backbeat.example. May be given several times.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What people give to have payloads decoded, 16 characters or more. Without: whoever reaches it may, which "
    "only works on loopback.",
)
@click.option("--store", metavar="URL", help="The store of large payloads, as clients and workers have it.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    default=_PORT_DEFAULT,
    show_default=True,
    help="The port to listen on.",
)
def serve(
    target: str, origins: tuple[str, ...], token_file: Path | None, store: str | None, host: str, port: int
) -> None:
    """Decode what browsers post to /decode, until SIGTERM or Ctrl-C. TLS is a proxy's.

    CODEC is what clients and workers have as `codec`, or a function that makes one.
    """
    from backbeat.compose.cli.processes.codec_endpoint import CodecEndpoint, serve as listen  # isort: skip
    from backbeat.compose.cli.processes.worker_target import resolve
    from backbeat.gateway.console.hosts import is_loopback, origin_of

    for origin in origins:
        if origin_of(origin) != origin:
            raise click.UsageError(f"--allow-origin {origin} is no origin such as https://backbeat.example")
    token = None if token_file is None else _token(token_file)
    if token is None and not is_loopback(host):
        raise click.UsageError(f"--host {host} can be reached by others: give --token-file, or listen on 127.0.0.1.")
    # As `python -m` does: the module is found in this folder.
    sys.path.insert(0, str(Path.cwd()))
    endpoint = CodecEndpoint(_codec(resolve(target), target), store, frozenset(origins), token)

    async def run() -> None:
        task = asyncio.create_task(
            listen(endpoint, host, port, lambda: click.echo(f"{READY_LINE}: http://{host}:{port}"))
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(run())


def _codec(value: Any, target: str) -> Any:
    """The codec that a target is, or makes."""
    loaded = value() if callable(value) and not hasattr(value, "decode") else value
    if not callable(getattr(loaded, "decode", None)) or isinstance(loaded, type):
        raise click.UsageError(f"{target} is no codec: it has no method decode (backbeat.codecs).")
    return loaded


def _token(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"--token-file: {path} cannot be read: {error}") from error
    if len(token) < _TOKEN_CHARACTERS_MIN:
        raise SetupError(f"{path} has {len(token)} characters: a token has {_TOKEN_CHARACTERS_MIN} at least.")
    return token
