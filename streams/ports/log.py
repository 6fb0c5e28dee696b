"""Records of the commands and queries topics, and the sender of effects."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Record(NamedTuple):
    """A record of the commands or queries topic."""

    partition: int
    offset: int
    timestamp: int  #: LogAppendTime, milliseconds since the epoch
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]] | None = None


class Outbox(Protocol):
    """The sender of effects."""

    def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int = -1,
        headers: list[tuple[str, bytes | None]] | None = None,
    ) -> None:
        """Send one record, in order."""
