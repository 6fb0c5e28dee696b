"""Records beside the workflows: pools and their queues, schedules and their runs, jobs, a partition's state."""

from __future__ import annotations

from typing import Any

import msgspec

from backbeat.compose.verify.avro import Command
from backbeat.compose.verify.rules.checks import PRIORITY_LAST
from backbeat.schemas.messages.bounds import Settings


class Ticket(msgspec.Struct, array_like=True):
    """A node at a pool."""

    number: int
    has_slot: bool
    asked_at: int
    priority: int
    fairness_key: str


class Band(msgspec.Struct, array_like=True):
    """The nodes of one priority that wait."""

    turns: list[str] = []  #: fairness keys; the first is next
    lines: dict[str, dict[bytes, int]] = {}  #: fairness key -> nodes by age
    ages: dict[bytes, int] = {}  #: all of them by age


class Pool(msgspec.Struct, array_like=True, kw_only=True):
    """The slots of one client, activity and key."""

    id: bytes
    client_id: bytes
    activity: str
    key: str
    in_use: int = 0
    due_us: int = 0  #: when the next start is due if they come evenly
    timer_at: int | None = None
    timer_number: int = 0
    tickets: dict[bytes, Ticket] = {}
    bands: list[Band] = msgspec.field(default_factory=lambda: [Band() for _ in range(PRIORITY_LAST)])


class Slots(msgspec.Struct, array_like=True, kw_only=True):
    """The limits of a partition, and its pools."""

    limits: dict[bytes, Command] = {}  #: by client and activity
    ordered: dict[bytes, Command] = {}  #: changed here, and not come back yet
    revision: int = 0
    pools: dict[bytes, Pool] = {}
    chains: dict[bytes, list[bytes]] = {}  #: limit -> its pools, the newest first
    cursors: dict[bytes, bytes] = {}  #: limit -> the pool with which a change of it goes on


class Run(msgspec.Struct, array_like=True, omit_defaults=False):
    """A run, or several in a row that were left out."""

    scheduled_at: int
    cause: int
    state: int
    at: int
    started_at: int | None = None
    workflow_id: bytes | None = None
    node_id: bytes | None = None
    count: int = 1
    last_at: int | None = None


class Schedule(msgspec.Struct, array_like=True, kw_only=True):
    """A schedule and its runs."""

    id: bytes
    plan: dict[str, Any]
    made_by: bytes
    created_at: int
    updated_at: int
    after: int
    paused: bool = False
    note: str = ""
    next_at: int | None = None
    problem: str = ""
    timer_at: int | None = None
    timer_number: int = 0
    started: int = 0
    skipped: int = 0
    missed: int = 0
    running: list[Run] = []
    queued: list[Run] = []
    recent: list[Run] = []


class Job(msgspec.Struct, array_like=True, kw_only=True):
    """A job in one partition."""

    id: bytes
    user_id: bytes | None
    action: str
    filter: dict[str, Any]
    response: bytes | None
    dry_run: bool
    tid: str
    started_at: int
    state: str = "running"
    ended_at: int | None = None
    examined: int = 0
    matched: int = 0
    done: int = 0
    refused: int = 0
    matches: list[tuple[bytes, str, str]] = []
    refusals: list[tuple[bytes, str]] = []  #: node or workflow, reason
    cursor: bytes = b""
    forget_at: int | None = None
    note: str = ""
    actor: str = ""


class Removal(msgspec.Struct, array_like=True, kw_only=True):
    """Work that a removal has still to do: a node for each step that takes one away, else nothing."""

    workflow_id: bytes
    forget_at: int
    steps: list[bytes]
    tops: list[bytes]  #: nodes at the top: their ids are refused for a while


class State(msgspec.Struct, array_like=True, kw_only=True):
    """A partition's state beside its workflows."""

    next_offset: int = 0
    now: int = 0
    settings: dict[str, Any]
    high_water: dict[int, tuple[int, int]] = {}
    slots: Slots = msgspec.field(default_factory=Slots)
    policies: dict[bytes, Command] = {}
    schedules: dict[bytes, Schedule] = {}
    jobs: dict[bytes, Job] = {}
    removed: int = 0
    removals: dict[int, Removal] = {}  #: by the offset of the command whose budget it went beyond


def first_state() -> State:
    """The state of a partition without commands."""
    return State(settings={name: getattr(Settings(), name) for name in Settings.__struct_fields__})
