"""`backbeat top` as it is seen: its order, its screen, and a real terminal that is given back as it was."""

from __future__ import annotations

import http.server
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import threading
import time

import msgspec
import pytest
from rich.console import Console

from backbeat.compose.cli.reports.top_printing import Activity, View, document_of, ordered, screen_of
from backbeat.gateway.api.shapes.reports import Activities, ActivityFigures


def activity(name, **more):
    nodes = {"scheduled": 1, "sent_to_client": 2, "retries_exhausted": 3, "complete": 9, **more}
    figures = ActivityFigures(user_id="u-1", activity=name, nodes=nodes, completed=25, errored=5)
    return Activity.of(figures, "shop", 10)


def view(*activities):
    return View(at=0.0, window_seconds=10, stale_seconds=0.0, activities=list(activities))


def shown(group, height=20):
    console = Console(width=120, height=height, color_system=None)
    with console.capture() as capture:
        console.print(group)
    return capture.get()


def test_a_row_is_what_was_counted():
    (row,) = document_of(view(activity("pay", retrying=4, paused=5)), "load")["activities"]
    assert row == {
        "client": "shop",
        "activity": "pay",
        "waiting": 1,
        "running": 2,
        "retrying": 4,
        "failing": 3,
        "paused": 5,
        "completed_per_second": 2.5,
        "errored_per_second": 0.5,
    }


@pytest.mark.parametrize(
    ("sort", "names"), [("load", "cab"), ("failing", "bac"), ("rate", "abc"), ("name", "abc")], ids=str
)
def test_rows_are_sorted_by_what_the_flag_names(sort, names):
    rows = [activity("a"), activity("b", retries_exhausted=4, sent_to_client=0), activity("c", started=90)]
    assert "".join(row.activity for row in ordered(rows, sort)) == names


def test_a_screen_shows_as_many_rows_as_it_has():
    text = shown(screen_of(view(*[activity(f"name {number:02}") for number in range(30)]), "name", "", 12))
    assert re.findall(r"name \d\d", text) == [f"name {number:02}" for number in range(7)]
    assert "and 23 more" in text


def test_a_screen_without_anything_and_with_trouble():
    assert "Nothing is at work." in shown(screen_of(view(), "load", "", 20))
    text = shown(screen_of(view(activity("pay\x1b[31m")), "load", "The gateway is away", 20))
    assert "The gateway is away" in text
    assert "pay" in text
    assert "\x1b" not in text


# --- on a terminal ---------------------------------------------------------------------------------------------------


@pytest.fixture
def gateway():
    """What stands in for a gateway: the program asks it as it would any; it answers 503 at first."""
    figures = ActivityFigures(user_id="u-1", activity="pay", nodes={"sent_to_client": 2}, completed=1, errored=0)
    answers = {
        "/reports/activities": msgspec.json.encode(Activities(seconds=10, activities=[figures])),
        "/users": json.dumps([{"id": "u-1", "name": "shop"}]).encode(),
    }
    asked = []

    class Answering(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(503 if len(asked) == 1 else 200)
            self.end_headers()
            self.wfile.write(answers[self.path.partition("?")[0]] if len(asked) > 1 else b'{"message": "it starts"}')

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class Terminal:
    """A pseudo-terminal with the program on it."""

    def __init__(self, *arguments):
        self._ours, self._its = pty.openpty()
        self.before = termios.tcgetattr(self._its)
        self.text = ""
        self.program = subprocess.Popen(
            [sys.executable, "-m", "backbeat.compose", *arguments],
            stdin=self._its,
            stdout=self._its,
            stderr=self._its,
            env=os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "24"},
        )

    def read_until(self, text):
        deadline = time.monotonic() + 120
        while text not in self.text:
            assert time.monotonic() < deadline, self.text
            if select.select([self._ours], [], [], 0.5)[0]:
                self.text += os.read(self._ours, 65_536).decode()

    def press(self, key):
        os.write(self._ours, key.encode())

    def close(self):
        self.program.kill()
        self.program.wait()
        os.close(self._ours)
        os.close(self._its)

    def now(self):
        return termios.tcgetattr(self._its)


@pytest.fixture
def terminal(gateway):
    running = Terminal("top", "--gateway", gateway, "--interval-seconds", "0.2")
    yield running
    running.close()


def test_a_terminal_is_given_back_after_a_key(terminal):
    terminal.read_until("it starts")  # and it goes on
    terminal.read_until("pay")
    assert terminal.now() != terminal.before
    terminal.press("f")
    terminal.read_until("by failing")
    terminal.press("q")
    terminal.read_until("\x1b[?1049l")
    assert terminal.program.wait(120) == 0
    assert "\x1b[?25h" in terminal.text.partition("by failing")[2], "the cursor is shown again"
    assert terminal.now() == terminal.before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_terminal_is_given_back_after_a_signal(terminal, number):
    terminal.read_until("pay")
    terminal.program.send_signal(number)
    terminal.read_until("\x1b[?1049l")
    assert terminal.program.wait(120) == 0
    assert terminal.now() == terminal.before
