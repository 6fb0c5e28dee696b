"""The server of a process's status."""

from __future__ import annotations

import sys
import threading
import urllib.request

import pytest
from prometheus_client import CollectorRegistry

from backbeat.observe import status_server
from backbeat.observe.status_server import Address, Status, StatusServer


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a listening socket is not shut down, and it polls")
def test_a_stop_does_not_wait_for_the_next_look(monkeypatch):
    monkeypatch.setattr(status_server, "_POLL_SECONDS", 3_600.0)
    server = StatusServer(Status(CollectorRegistry(), lambda: (), lambda: ()), Address("127.0.0.1", 0))
    server.start()
    with urllib.request.urlopen(f"{server.url}/live", timeout=120) as response:  # noqa: S310 - it is of our own process
        assert response.status == 200
    stopping = threading.Thread(target=server.stop, daemon=True)
    stopping.start()
    stopping.join(120)
    assert not stopping.is_alive()
