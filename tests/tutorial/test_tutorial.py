"""docs/tutorial/tutorial.md, typed by somebody who has nothing: every file and command, and what the terminals show."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from backbeat.compose.local.cache import cache_folder
from backbeat.compose.local.ports import free_port
from tests.tutorial import document
from tests.tutorial.document import Commands, File, Shown
from tests.tutorial.terminal import Terminal

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial" / "tutorial.md"

#: A command that changes nothing and may come before there is something to see.
_LOOK = "backbeat stuck"
_LOOK_SECONDS_MAX = 120.0


class Reader:
    """Does what the tutorial says, in a home of its own."""

    def __init__(self, home: Path) -> None:
        self._home = home
        # Nothing of this process's own: settings, make's flags, pytest's words.
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "JAVA_HOME", "LC_ALL") if name in os.environ}
        self._env = {
            **kept,
            "HOME": str(home),
            "XDG_CACHE_HOME": str(cache_folder().parent),
            "VIRTUAL_ENV_DISABLE_PROMPT": "1",
            "BACKBEAT_STATUS_PORT": "0",
        }
        #: Others may run a `backbeat dev` on this machine, or a test beside this one.
        self._ports = f"--kafka-port {free_port()} --http-port {free_port()}"
        #: What it then says to type first in the other terminals.
        self._export = ""
        self._terminals: dict[str, Terminal] = {}
        self._typed: dict[str, list[str]] = {}

    def do(self, step: document.Step) -> None:
        """One block."""
        match step:
            case File(as_it_is=True):
                assert (self._home / step.path).read_text() == step.content
            case File():
                (self._home / step.path).write_text(step.content)
            case Commands():
                self._type(step)
            case Shown():
                self._look(step)

    def _type(self, step: Commands) -> None:
        terminal = self._terminal(step.terminal)
        terminal.forget()
        self._typed[step.terminal] = step.commands
        *first, last = step.commands
        for command in first:
            terminal.run(command)
        if not step.runs_on:
            terminal.run(last)
            return
        terminal.begin(f"{last} {self._ports}" if last == "backbeat dev" else last)

    def _look(self, step: Shown) -> None:
        terminal = self._terminal(step.terminal)
        if step.after_ctrl_c:
            terminal.forget()
            self._press_ctrl_c()
        elif self._typed[step.terminal] == [_LOOK]:
            # Whoever types slower than a test has more to look at.
            deadline = time.monotonic() + _LOOK_SECONDS_MAX
            while not step.pattern.fullmatch(terminal.shown) and time.monotonic() < deadline:
                terminal.forget()
                terminal.run(_LOOK)
        shown = terminal.expect(step.pattern)
        if export := re.search(r"^ +(export .*)$", shown, re.MULTILINE):
            self._export = export[1]

    def _terminal(self, name: str) -> Terminal:
        if name not in self._terminals:
            self._terminals[name] = Terminal(ROOT, self._env)
            if self._export:
                self._terminals[name].run(self._export)
        return self._terminals[name]

    def _press_ctrl_c(self) -> None:
        """In every terminal in which something runs, the newest first."""
        for terminal in reversed(self._terminals.values()):
            if terminal.busy:
                terminal.press_ctrl_c()

    def close(self) -> None:
        """Every window, the newest first, also where one does not close well."""
        with ExitStack() as all_of_them:
            for terminal in self._terminals.values():
                all_of_them.callback(terminal.close)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    terminal = Reader(tmp_path)
    yield terminal
    terminal.close()


def test_every_command_does_what_the_tutorial_shows(reader):
    steps = document.read(TUTORIAL)
    assert len(steps) > 20

    for step in steps:
        try:
            reader.do(step)
        except AssertionError as error:
            error.add_note(f"docs/tutorial/tutorial.md, line {step.line}")
            raise
