"""A process's log: one event a line on stderr, as JSON or as text, with its subjects and without secrets.

The parts log with the standard library's `logging` and say what an event is about in `extra`. So libraries' events
look the same, and the SDK, which users carry in programs with logs of their own, needs nothing of this.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from backbeat.observe import transaction_ids
from backbeat.schemas import environment

#: Subjects of events, under these names and only where they are known (docs/reference/logs.md).
SUBJECTS = ("tid", "workflow", "node", "attempt", "partition")

#: Transaction id of the current work, for events that do not bring one.
tid: ContextVar[str] = ContextVar("backbeat_tid", default="")

HIDDEN = "***"
_SECRETIVE = r"(?:auth[-_ ]?token|access[-_ ]?token|token|password|passwd|secret|api[-_ ]?key|sasl\.password)"
_SECRETS = (
    # The password in a URL.
    (re.compile(r"(?<=://)([^\s:/@]*):([^\s/@]+)@"), rf"\1:{HIDDEN}@"),
    # Authorization: Bearer …, Token token="…"
    (re.compile(r"(?i)\b(bearer|basic)\s+(?!token\b)[A-Za-z0-9._~+/=-]{6,}"), rf"\1 {HIDDEN}"),
    # token=…, "password": "…", in query strings, headers and texts of libraries.
    (re.compile(rf"(?i)\b({_SECRETIVE})(['\"]?\s*[=:]\s*['\"]?)([^\s'\"&,;}})]+)"), rf"\1\2{HIDDEN}"),
)
_SECRET_KEY = re.compile(rf"(?i)(?:^|[-_.]){_SECRETIVE}$")

_Event = dict[str, Any]
#: What every record has; further attributes came in `extra`.
_OF_EVERY_RECORD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}


def redact(text: str) -> str:
    """The text with passwords in URLs, tokens and named secrets replaced by `***`."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def to_stderr(log_format: str = "auto", level: int = logging.INFO) -> None:
    """Write this process's log to stderr, one event a line. `auto`: text at a terminal, JSON elsewhere.

    Its first event, where there are some: variables of the environment that nothing reads.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(as_json=log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    environment.tell(logging.getLogger("backbeat"))


def formatter(*, as_json: bool) -> logging.Formatter:
    """Formatter that renders events of `logging`."""
    return _JsonFormatter() if as_json else _TextFormatter()


class _Formatter(logging.Formatter):
    """Formatter of an event as a dict: its text, what came in `extra`, level, logger and time."""

    def event(self, record: logging.LogRecord) -> _Event:
        event: _Event = {"event": record.getMessage()}
        if record.stack_info:
            event["stack_info"] = record.stack_info
        event |= {key: value for key, value in record.__dict__.items() if key not in _OF_EVERY_RECORD}
        at = datetime.fromtimestamp(record.created, UTC)
        event |= {"level": record.levelname.lower(), "logger": record.name}
        event["timestamp"] = at.isoformat(timespec="microseconds").replace("+00:00", "Z")
        _name_subjects(event)
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        _redact_values(event)
        return event


class _JsonFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(self.event(record), ensure_ascii=False, default=str)


class _TextFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return _for_people(self.event(record))


def _name_subjects(event: _Event) -> None:
    """Ids as text, and the transaction id of what is being worked at where the event brings none."""
    if not event.get("tid") or event["tid"] == "-":
        event.pop("tid", None)
        current = tid.get()
        if current:
            event["tid"] = current
    if "tid" in event:
        # A trace context behind it is for tracing.
        event["tid"] = transaction_ids.plain(event["tid"])
    for name in SUBJECTS:
        value = event.get(name)
        if isinstance(value, bytes):
            event[name] = value.hex()
        elif value is None or value == "":
            event.pop(name, None)


def _redact_values(event: _Event) -> None:
    for name, value in event.items():
        if _SECRET_KEY.search(name):
            event[name] = HIDDEN
        elif isinstance(value, str):
            event[name] = redact(value)
        elif not isinstance(value, int | float | None):
            event[name] = redact(str(value))


def _for_people(event: _Event) -> str:
    """`2026-11-24T00:00:00Z WARNING backbeat.streams.engine.loop: what happened  partition=3 tid=abc`."""
    traceback = event.pop("exception", None)
    head = f"{event.pop('timestamp')} {event.pop('level').upper()} {event.pop('logger')}: {event.pop('event')}"
    names = [name for name in SUBJECTS if name in event]
    subjects = " ".join(f"{name}={event[name]}" for name in [*names, *sorted(event.keys() - set(names))])
    line = f"{head}  {subjects}" if subjects else head
    return f"{line}\n{traceback}" if traceback else line
