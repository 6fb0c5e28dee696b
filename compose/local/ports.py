"""Ports on this machine: the asked-for one or a clear error, the default one or a free one."""

import secrets
import socket
from collections.abc import Iterable

from backbeat.compose.cli.errors import SetupError

LOOPBACK = "127.0.0.1"
#: Below the ports that systems give to outgoing connections (Linux: from 32768 on): between choosing and listening no
#: connection of another program takes one of these.
_PORTS_FREE = range(12_000, 32_000)


def port_is_free(port: int) -> bool:
    """True where a server could listen on the loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port whose last connections are just fading out is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(avoid: Iterable[int] = ()) -> int:
    """A port that nobody listens on, and none of `avoid`."""
    ports_taken = set(avoid)
    while True:
        port = secrets.choice(_PORTS_FREE)
        if port not in ports_taken and port_is_free(port):
            return port


def choose_port(port: int | None, default: int, option: str, avoid: Iterable[int] = ()) -> int:
    """The wanted port (an error where it is taken), else the default one, else any free one."""
    if port is not None:
        if port_is_free(port):
            return port
        raise SetupError(
            f"port {port} ({option}) is taken by another program. "
            f"What to do: stop that program, ask for another port, or leave {option} out to get a free one."
        )
    if default not in set(avoid) and port_is_free(default):
        return default
    return free_port(avoid)
