"""The rooms of the core: every command and timer has its function, and few files name a room from outside."""

import ast
from pathlib import Path
from typing import get_args

import pytest

from backbeat.schemas.messages.commands import AnyCommand
from backbeat.schemas.messages.values import TimerKind
from backbeat.streams import core
from backbeat.streams.core import dispatch

CORE = Path(core.__file__).parent
#: Who imports a room. Taking it out is taking out its folder and messages, and what these say of it.
NAMED_BY = {
    "links": {"dispatch.py", "tables.py"},
    "coalesce": {"dispatch.py", "tables.py"},
    "limits": {"dispatch.py", "queries.py", "tables.py"},
    "schedules": {"dispatch.py", "queries.py", "tables.py"},
    "jobs": {"dispatch.py"},
    "retention": {"dispatch.py", "tables.py"},
    "waits": {"queries.py"},
    "inbox": {"dispatch.py", "tables.py"},
    "heartbeat": {"dispatch.py"},
    "follow_ups": {"dispatch.py"},
}


def test_every_command_has_a_function():
    assert set(dispatch.HANDLERS) == set(get_args(AnyCommand))


def test_every_timer_has_a_function():
    assert set(dispatch.TIMERS) == set(TimerKind) - {TimerKind.SCHEDULE}


def importers(room):
    for path in sorted(CORE.rglob("*.py")):
        name = str(path.relative_to(CORE))
        if not name.startswith(f"{room}/"):
            tree = ast.parse(path.read_text())
            modules = [
                f"{node.module}.{alias.name}"
                for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom)
                for alias in node.names
            ]
            if any(module.startswith(f"backbeat.streams.core.{room}.") for module in modules):
                yield name


@pytest.mark.parametrize("room", NAMED_BY)
def test_a_room_is_named_by_few_files_outside_of_it(room):
    assert set(importers(room)) == NAMED_BY[room]
    assert len(NAMED_BY[room]) <= 3


def test_the_way_of_a_signal_is_read_in_2200_lines():
    files = [CORE / f"{name}.py" for name in ("dispatch", "transaction", "tables", "records", "step")]
    lines = {path.name: len(path.read_text().splitlines()) for path in (*files, *(CORE / "tree").glob("*.py"))}
    assert sum(lines.values()) <= 2_200, lines
