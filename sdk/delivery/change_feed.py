"""Changes of workflows as they come, for any number of followers in one event loop: one reader of the history topic."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from backbeat.delivery.changes import Change, Place, changes_in
from backbeat.delivery.history_reader import Followed, HistoryReader
from backbeat.errors import Unavailable
from backbeat.payload.values import id_text

#: Changes that a follower has not taken yet, at most.
WAITING_MAX = 10_000


class Listener(Protocol):
    """Follower of workflows. Its functions are called in the event loop, and raise nothing."""

    def told(self, records: list[Followed]) -> None:
        """Take records of its workflows, in order of each. Some may have come before, or be older than it wants."""

    def followed(self, offsets: Mapping[bytes, int]) -> None:
        """Note that these workflows are read from now on, from these offsets."""

    def failed(self, reason: str) -> None:
        """Note that nothing comes at the moment. It is tried again."""

    def ended(self) -> None:
        """Note that nothing comes any more: the feed is stopped."""


class ChangeFeed:
    """The followers of a process. Without any nothing is read."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._listeners: dict[Any, frozenset[bytes]] = {}
        self._reader: HistoryReader | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def follow(self, listener: Listener, workflows: Mapping[bytes, int | None]) -> None:
        """Have a listener follow these workflows, and no others, from an offset on; None: from the end on."""
        self._listeners.pop(listener, None)
        if workflows:
            self._listeners[listener] = frozenset(workflows)
        if self._reader is None:
            if not workflows:
                return
            self._loop = asyncio.get_running_loop()
            self._reader = HistoryReader(
                self._bootstrap_servers,
                self._in_loop(self._told),
                self._in_loop(self._ready),
                self._in_loop(self._fail),
            )
        begins = {workflow_id: offset for workflow_id, offset in workflows.items() if offset is not None}
        self._reader.follow(frozenset[bytes]().union(*self._listeners.values()), begins)

    async def stop(self) -> None:
        """Stop reading. Who waits hears of it."""
        listeners = list(self._listeners)
        self._listeners.clear()
        for listener in listeners:
            listener.ended()
        if self._reader is not None:
            await asyncio.to_thread(self._reader.stop)
            self._reader = None

    def _in_loop(self, call: Callable[[Any], None]) -> Callable[[Any], None]:
        """The call, made in the event loop by the reader's thread."""

        def from_thread(argument: Any) -> None:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(call, argument)

        return from_thread

    def _told(self, records: list[Followed]) -> None:
        for listener, workflows in list(self._listeners.items()):
            own = [record for record in records if record.workflow_id in workflows]
            if own:
                listener.told(own)

    def _ready(self, offsets: Mapping[bytes, int]) -> None:
        for listener, workflows in list(self._listeners.items()):
            listener.followed(
                {workflow_id: offset for workflow_id, offset in offsets.items() if workflow_id in workflows}
            )

    def _fail(self, reason: str) -> None:
        for listener in list(self._listeners):
            listener.failed(reason)


class Subscription:
    """A follower of a workflow: its changes in order, each once, but for those that an engine tells again."""

    def __init__(self, feed: ChangeFeed, workflow_id: bytes, after: Place | None) -> None:
        """Follow from now on. `after`: the place to go on behind; null: what comes from now on."""
        self._feed = feed
        self._workflow_id = workflow_id
        self._after = after
        self._waiting: list[Change] = []
        self._problem = ""
        self._is_followed = False
        self._wake = asyncio.Event()
        feed.follow(self, {workflow_id: None if after is None else after.offset})

    @property
    def place(self) -> Place | None:
        """Place of the newest change that has come, or from which it follows; null: that is not known yet."""
        return self._after

    def close(self) -> None:
        """Follow no more."""
        self._feed.follow(self, {})

    async def take(self) -> list[Change]:
        """The changes that have come, at least one. Unavailable: some were missed, or it cannot be followed."""
        while not self._waiting:
            if self._problem:
                raise Unavailable(self._problem)
            self._wake.clear()
            await self._wake.wait()
        changes, self._waiting = self._waiting, []
        return changes

    # --- what the feed says ------------------------------------------------------------------------------------------

    def told(self, records: list[Followed]) -> None:
        """Keep what is new."""
        if self._problem or not self._is_followed:
            return
        for _, offset, record in records:
            for place, change in changes_in(offset, record):
                if self._after is None or place > self._after:
                    self._after = place
                    self._waiting.append(change)
        if len(self._waiting) > WAITING_MAX:
            self._fail("its follower does not keep up with its changes")
        self._wake.set()

    def followed(self, offsets: Mapping[bytes, int]) -> None:
        """Begin, or find that what came before was missed."""
        begin = offsets.get(self._workflow_id)
        if begin is None or self._is_followed:
            return
        self._is_followed = True
        if self._after is None:
            self._after = Place(begin, -1)
        elif self._after.offset and begin > self._after.offset + (self._after.number >= 0):
            self._fail(f"the changes behind {self._after} are not kept any more, or too many")

    def failed(self, reason: str) -> None:
        """Give up, unless it has begun: then it goes on by itself."""
        if not self._is_followed:
            self._fail(reason)

    def ended(self) -> None:
        """Give up."""
        self._fail("its client was closed")

    def _fail(self, reason: str) -> None:
        self._problem = (
            f"The workflow {id_text(self._workflow_id)} cannot be followed: {reason}. What to do: read its tree, and "
            "follow it from now on"
        )
        self._wake.set()
