"""Handler of heartbeats."""

from __future__ import annotations

from backbeat.schemas.messages.commands import Heartbeat
from backbeat.streams.core.heartbeat import heartbeat
from backbeat.streams.core.step import Handler

HANDLERS: dict[type, Handler] = {Heartbeat: heartbeat.heartbeat}
