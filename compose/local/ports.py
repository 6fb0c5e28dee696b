"""Ports on this machine: the asked-for one or a clear error, the usual one or a free one."""

import socket
from collections.abc import Iterable

from backbeat.compose.cli.errors import SetupError

LOOPBACK = "127.0.0.1"


def port_is_free(port: int) -> bool:
    """Whether a server could listen on the loopback port now."""
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
    taken = set(avoid)
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((LOOPBACK, 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port


def choose_port(asked: int | None, usual: int, option: str, avoid: Iterable[int] = ()) -> int:
    """The port that was asked for (an error where it is taken), else the usual one, else any free one."""
    if asked is not None:
        if port_is_free(asked):
            return asked
        raise SetupError(
            f"port {asked} ({option}) is taken by another program. "
            f"What to do: stop that program, ask for another port, or leave {option} out to get a free one."
        )
    if usual not in set(avoid) and port_is_free(usual):
        return usual
    return free_port(avoid)
