"""The verdict: what was judged, the first difference with the commands that led there, and what was not judged."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from backbeat.compose.verify.avro import Command
from backbeat.compose.verify.compare import Difference
from backbeat.compose.verify.sends import Mismatch

_SHOWN_MAX = 10
_TEXT_CHARACTERS_MAX = 300
_HIDDEN = ("id", "tid", "reply_to", "body_hash", "source", "user_id", "tasks")


class Step(NamedTuple):
    """A command that led to a difference."""

    partition: int
    offset: int
    timestamp: int
    name: str
    command: Command


class Unjudged(NamedTuple):
    """Records that were not judged: their kind, how many, and why."""

    kind: str
    number: int
    why: str


class Verdict(NamedTuple):
    """The outcome of a run."""

    positions: dict[int, int]
    starts: dict[int, int]
    counts: dict[str, int]
    differences: list[Difference]  #: the first of them
    differences_count: int
    unsent: list[Mismatch]
    steps: list[Step]
    unjudged: list[Unjudged]

    @property
    def agrees(self) -> bool:
        """True when nothing that was judged differs."""
        return not self.differences_count and not self.unsent

    def lines(self) -> Iterator[str]:
        """The verdict for people."""
        for number, position in self.positions.items():
            yield f"partition {number}: commands {self.starts[number]} to {position}"
        yield "judged: " + (", ".join(f"{count} {noun}" for noun, count in sorted(self.counts.items())) or "nothing")
        for left in self.unjudged:
            yield f"NOT judged: {left.kind} ({left.number}): {left.why}"
        for mismatch in self.unsent[:_SHOWN_MAX]:
            yield _unsent_line(mismatch)
        if self.differences_count:
            yield f"{self.differences_count} differences; the first:"
        for difference in self.differences[:_SHOWN_MAX]:
            yield _difference_line(difference)
        if self.steps:
            yield "the commands that led to the first:"
        for step in self.steps:
            yield f"  {step.partition}/{step.offset} {_time(step.timestamp)} {step.name} {_told(step.command)}"
        if not self.agrees:
            yield "The changelog is NOT what the rules make of the commands."
        elif self.unjudged:
            yield "Whatever was judged is what the rules make of the commands. Not everything was."
        else:
            yield "The changelog is what the rules make of the commands."

    def as_json(self) -> dict[str, Any]:
        """The verdict for programs."""
        return {
            "agrees": self.agrees,
            "complete": not self.unjudged,
            "partitions": [
                {"partition": number, "from": self.starts[number], "to": position}
                for number, position in self.positions.items()
            ],
            "judged": dict(sorted(self.counts.items())),
            "unjudged": [left._asdict() for left in self.unjudged],
            "differences_count": self.differences_count,
            "differences": [
                {**difference._asdict(), "id": difference.id.hex()} for difference in self.differences[:_SHOWN_MAX]
            ],
            "sends_count": len(self.unsent),
            "sends": [mismatch._asdict() for mismatch in self.unsent[:_SHOWN_MAX]],
            "commands": [
                {
                    "partition": step.partition,
                    "offset": step.offset,
                    "at": step.timestamp,
                    "name": step.name,
                    "command": _told(step.command),
                }
                for step in self.steps
            ],
        }


def _difference_line(difference: Difference) -> str:
    name = f" {difference.name!r}" if difference.name else ""
    identity = f" {difference.id.hex()}" if difference.id else ""
    when = "" if difference.at is None else f", {_time(difference.at)}"
    return (
        f"  partition {difference.partition}, {difference.kind}{name}{identity}{when}: {difference.field} is "
        f"{_short(difference.stored)}, must be {_short(difference.expected)}"
    )


def _unsent_line(mismatch: Mismatch) -> str:
    verb = "did not send, and must have," if mismatch.is_missing else "sent, and no rule calls for it,"
    place = f"{mismatch.partition}/{mismatch.offset}"
    return f"  the command at {place} {verb} a {mismatch.name} to partition {mismatch.target}"


def _told(command: Command) -> str:
    parts = []
    for name, value in command.items():
        if name in _HIDDEN or value is None or value in ([], b"{}", "", False):
            continue
        text = value.hex() if isinstance(value, bytes) and len(value) == 16 else repr(_plain(value))  # noqa: PLR2004
        parts.append(f"{name}={text}")
    return _short(" ".join(parts))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items() if part not in (None, [], b"{}", "", False)}
    if isinstance(value, bytes):
        return value.hex() if len(value) == 16 else value.decode(errors="replace")  # noqa: PLR2004 - an id
    return [_plain(part) for part in value] if isinstance(value, list) else value


def _short(text: str) -> str:
    return text if len(text) <= _TEXT_CHARACTERS_MAX else text[: _TEXT_CHARACTERS_MAX - 1] + "…"


def _time(at: int) -> str:
    try:
        return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return f"at {at}"
