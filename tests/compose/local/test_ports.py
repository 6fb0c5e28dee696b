"""Which port a part gets."""

import socket

import pytest

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.local.ports import choose_port, free_port, port_is_free


@pytest.fixture
def taken():
    """A port on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_asked_for_and_free():
    port = free_port()

    assert choose_port(port, 1, "--kafka-port") == port


def test_asked_for_and_taken(taken):
    with pytest.raises(SetupError, match=rf"port {taken} \(--kafka-port\) is taken .* What to do: "):
        choose_port(taken, 1, "--kafka-port")


def test_not_asked_for_gets_the_usual_one():
    usual = free_port()

    assert choose_port(None, usual, "--kafka-port") == usual


def test_not_asked_for_and_the_usual_one_taken_gets_a_free_one(taken):
    port = choose_port(None, taken, "--kafka-port")

    assert port != taken
    assert port_is_free(port)


def test_a_free_port_is_none_that_an_outgoing_connection_may_take():
    """Else it is gone at times when its server begins to listen."""
    assert max(free_port() for _ in range(50)) < 32_768


def test_one_that_another_part_has_chosen_is_not_given_again():
    usual = free_port()

    assert choose_port(None, usual, "--http-port", avoid=[usual]) != usual
