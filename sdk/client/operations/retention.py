"""Retention of finished workflows, by client application and name. `client.retention` (docs/how-to/retention.md)."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from backbeat.client.session import Session
from backbeat.errors import InvalidParameters, NotFound
from backbeat.payload.values import id_text, seconds, to_id, to_text
from backbeat.schemas.messages import queries, retention
from backbeat.schemas.messages.commands import ChangeRetention
from backbeat.schemas.messages.replies import Reason

#: Inside of a class with a call `list`.
_Numbers = list[int]
_Views = list["RetentionPolicy"]


class RetentionPolicy(msgspec.Struct, frozen=True):
    """Time that the finished workflows of one client application and name are kept."""

    client: str  #: the client application's name; its id where it was removed
    workflow: str  #: the workflows' name
    keep_seconds: float  #: from the last thing that happened in a finished workflow to its removal
    archive: bool  #: True: it is removed once an archive of it was written
    refuse_seconds: float  #: how long its signals' ids are refused after its removal
    partitions: str  #: `all`; where a change has not come to every partition, the numbers of those that have this


class Retention:
    """The policies of finished workflows. Without one a workflow is kept for ever.

    A change has come to every partition when it is answered; it counts for workflows that are there already. `client`
    names another client application, over Kafka alone: its name, or the id of one that was removed.

    >>> import asyncio
    >>> from backbeat.testing import Backbeat
    >>> async def keep() -> None:
    ...     retention = Backbeat().client().retention
    ...     await retention.set("Camera sale", keep=timedelta(days=30))
    ...     print(await retention.get("Camera sale"))
    >>> asyncio.run(keep())  # doctest: +NORMALIZE_WHITESPACE
    RetentionPolicy(client='default', workflow='Camera sale', keep_seconds=2592000.0, archive=True,
                    refuse_seconds=604800.0, partitions='all')
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    async def set(
        self,
        workflow: str,
        *,
        keep: float | timedelta,
        archive: bool = True,
        refuse: float | timedelta = timedelta(days=7),
        client: str | None = None,
    ) -> None:
        """Remove finished workflows of this name `keep` (seconds) after the last thing that happened in them.

        With `archive` one is removed once an archiver has written it (`backbeat archive run`). The ids of its signals
        are refused for `refuse` (seconds) more, so that a late repeat makes nothing.
        """
        policy = retention.RetentionPolicy(
            owner_id=await self._owner(client),
            name=to_text("The workflow's name", workflow),
            keep_seconds=seconds(keep, "keep"),
            archive=archive,
            refuse_seconds=seconds(refuse, "refuse"),
        )
        await self._change(policy, forget=False)

    async def remove(self, workflow: str, *, client: str | None = None) -> None:
        """Keep workflows of this name for ever again, those that wait to be archived included. NotFound."""
        owner_id = await self._owner(client)
        policies = (policy for policy in await self._policies(self._asker(owner_id)) if policy.owner_id == owner_id)
        policy = next((policy for policy in policies if policy.name == workflow), None)
        if policy is None:
            owner = self._names().get(owner_id) or id_text(owner_id)
            message = f"There is no policy for {workflow!r} of {owner}. What to do: look at `backbeat retention list`"
            raise NotFound(Reason.NOT_FOUND, message, "nothing", "a policy")
        await self._change(policy, forget=True)

    async def get(self, workflow: str, *, client: str | None = None) -> RetentionPolicy | None:
        """The policy of the workflows of this name; None: they are kept for ever."""
        owner_id = await self._owner(client)
        views = self._views(await self._policies(self._asker(owner_id)), owner_id)
        return next((view for view in views if view.workflow == workflow), None)

    async def list(self, *, all_clients: bool = False) -> list[RetentionPolicy]:
        """The policies, by client application and workflow. `all_clients`: of every one, over Kafka alone."""
        return self._views(await self._policies(None if all_clients else self._session.asker_id))

    async def _owner(self, client: str | None) -> bytes:
        """The id of a client application; None: the own one. NotFound."""
        try:
            return await self._session.find_user(client)
        except NotFound:
            try:
                return to_id(client or "")
            except InvalidParameters:
                pass
            raise

    def _asker(self, owner_id: bytes) -> bytes | None:
        """The caller; None, the system, where it is about another client application."""
        return owner_id if owner_id == self._session.asker_id else None

    async def _policies(self, asker_id: bytes | None) -> dict[retention.RetentionPolicy, _Numbers]:
        """The policies, and the partitions of each."""
        fields = {**self._session.query_fields(), "user_id": asker_id, "partition": queries.ALL_PARTITIONS}
        partitions: dict[retention.RetentionPolicy, _Numbers] = {}
        for number, part in enumerate(await self._session.query(queries.GetRetention(**fields), "retention")):
            for policy in part.policies:
                partitions.setdefault(policy, []).append(number)
        return partitions

    async def _change(self, policy: retention.RetentionPolicy, *, forget: bool) -> None:
        fields = {**self._session.command_fields(), "user_id": self._asker(policy.owner_id)}
        command = ChangeRetention(policy=policy, forget=forget, **fields)
        await self._session.transport.command(command, self._session.timeout, f"retention of {policy.name!r}")

    def _names(self) -> dict[bytes, str]:
        return {user_id: name for name, user_id in self._session.transport.users().items()}

    def _views(self, policies: dict[retention.RetentionPolicy, _Numbers], owner_id: bytes | None = None) -> _Views:
        """Policies as callers have them, of one client application or of all, by client application and workflow."""
        names, every = self._names(), self._session.transport.partitions
        views = [
            RetentionPolicy(
                client=names.get(policy.owner_id) or id_text(policy.owner_id),
                workflow=policy.name,
                keep_seconds=policy.keep_seconds,
                archive=policy.archive,
                refuse_seconds=policy.refuse_seconds,
                partitions="all" if len(numbers) == every else ", ".join(map(str, numbers)),
            )
            for policy, numbers in policies.items()
            if owner_id in (None, policy.owner_id)
        ]
        return sorted(views, key=lambda view: (view.client, view.workflow))
