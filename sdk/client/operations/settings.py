"""Settings that every partition's commands are applied with. `client.settings` (docs/how-to/operations.md)."""

from __future__ import annotations

import msgspec

from backbeat.client.session import Session
from backbeat.client.words import check_options
from backbeat.errors import Unavailable
from backbeat.payload.values import invalid, kind_of
from backbeat.schemas.messages import bounds, queries
from backbeat.schemas.messages.bounds import Settings as EngineSettings
from backbeat.schemas.messages.commands import ChangeSettings


class Settings:
    """Settings of the engines: limits on payloads, names, depth and children, the default timeout. They lie in the log.

    They are everybody's: a gateway shows them, and a client of Kafka changes them.

    >>> import asyncio
    >>> from backbeat.testing import Backbeat
    >>> async def raise_limit() -> None:
    ...     settings = Backbeat().client().settings
    ...     await settings.set(children_max=500)
    ...     print((await settings.get()).children_max)
    >>> asyncio.run(raise_limit())
    500
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    async def get(self) -> EngineSettings:
        """The settings. Unavailable where partitions differ, since a change has not come to all of them."""
        settings = await self.list()
        if len(set(settings)) > 1:
            raise Unavailable(
                "The partitions do not have the same settings: a change has not come to all of them. What to do: set "
                "it again; `backbeat settings show` tells which partition has what"
            )
        return settings[0]

    async def list(self) -> list[EngineSettings]:
        """The settings of every partition, in their order."""
        query = queries.GetSettings(partition=queries.ALL_PARTITIONS, **self._session.query_fields())
        return await self._session.query(query, "settings")

    async def set(self, /, **changes: float) -> None:
        """Change settings, in every partition: `children_max=500`. They count from there on in the log.

        InvalidParameters for one that there is not, and for a value out of its bounds.
        """
        check_options("settings.set", changes, bounds.SETTINGS)
        if not changes:
            # A command without names changes all of them.
            raise invalid("Give a setting to change", "none", ", ".join(bounds.SETTINGS))
        for name, value in changes.items():
            kind = type(getattr(EngineSettings(), name))
            if isinstance(value, bool) or not isinstance(value, (int, kind)):
                raise invalid(f"{name} is a {kind_of(value)}", kind_of(value), "a number")
            least, most = bounds.SETTINGS[name]
            if not least <= value <= most:
                message = f"{name} is {value}; {least:g} is the least and {most:.0f} the most"
                raise invalid(message, str(value), f"{least:g} to {most:.0f}")
        # Everybody's, so nobody's: a gateway, whose callers are client applications, does not take it.
        fields = {**self._session.command_fields(), "user_id": None}
        settings = msgspec.structs.replace(EngineSettings(), **changes)
        command = ChangeSettings(settings=settings, names=tuple(changes), **fields)
        await self._session.transport.command(command, self._session.timeout, "settings")
