"""What can be asked of workflows, and said of them: first of all, signals."""

from __future__ import annotations

import asyncio
from typing import Any, Unpack

from backbeat.activities.context import transaction_id
from backbeat.client.node import Node, NodeCalls
from backbeat.client.session import as_id
from backbeat.client.signals import SIGNAL_WORDS, SignalOptions, make_signal, make_workflow
from backbeat.client.views import Workflow
from backbeat.client.words import check_options
from backbeat.payload.values import Id, id_text, to_id, to_subject
from backbeat.schemas.messages import commands, ids, queries

#: Signals that `publish` leaves unacknowledged before it waits.
_UNDER_WAY_MAX = 100_000
#: The transport is asked for their number every so many signals.
_LOOK_EVERY = 1_000
_BACK_OFF_SECONDS = 0.005


class WorkflowCalls(NodeCalls):
    """The calls about workflows."""

    #: How many signals were published.
    _published = 0

    async def signal(self, workflow: str, subject: Any, name: str, **options: Unpack[SignalOptions]) -> Node:
        """Add a signal to the workflow of this name and subject, which is made if there is none.

        What the options mean: `backbeat.client.signals.SignalOptions`. UnknownOption for one that is not there.
        """
        check_options("signal", options, SIGNAL_WORDS)
        command = await self.signal_command(workflow, subject, name, options)
        key = options.get("idempotency_key")
        return Node(self, await self._transport.command(command, self.timeout, f"signal {name!r}", key=key))

    async def publish(self, workflow: str, subject: Any, name: str, **options: Unpack[SignalOptions]) -> str:
        """Like `signal`, without waiting for the engine: for many at once. Gives the id that the node will have.

        `await flush()` says whether all of them were taken. What the engine refuses goes to the dead letters; a gateway
        says it, and `flush` raises it.
        """
        check_options("publish", options, SIGNAL_WORDS)
        command = await self.signal_command(workflow, subject, name, options)
        self._published += 1
        if self._published % _LOOK_EVERY == 0:
            # Other tasks get their turn, too.
            await asyncio.sleep(0)
            # The library has no event for this; only a Kafka that does not keep up leads here.
            while self._transport.under_way() > _UNDER_WAY_MAX:  # noqa: ASYNC110
                await asyncio.sleep(_BACK_OFF_SECONDS)
        while True:
            try:
                return id_text(self._transport.publish(command, key=options.get("idempotency_key")))
            except BufferError:
                await asyncio.sleep(_BACK_OFF_SECONDS)

    async def flush(self, timeout: float | None = None) -> None:
        """Wait until everything published so far has been taken; Unavailable if any was refused."""
        await self._transport.flush(self.timeout if timeout is None else timeout)

    async def find_or_create(self, workflow: str, subject: Any, *, decider: str | None = None) -> Workflow:
        """The workflow of this name and subject; one that is there keeps its own decider."""
        new = make_workflow(self._connected(), workflow, subject, decider)
        command = commands.CreateWorkflow(workflow=new, **self._common())
        return Workflow(await self._transport.command(command, self.timeout, f"workflow {workflow!r}"))

    def workflow_id(self, workflow: str, subject: Any) -> str:
        """The id that this client's workflow of this name and subject has, or will have."""
        return id_text(ids.workflow_id(self._connected(), workflow, to_subject(subject)))

    async def workflow(self, workflow_id: Id) -> Workflow:
        """A workflow by its id."""
        identity, text = as_id(workflow_id)
        answers = await self._ask(queries.GetWorkflow(workflow_id=identity, **self._asked()), f"workflow {text}")
        return Workflow(answers[0])

    async def pause(self, workflow_id: Id) -> None:
        """Start nothing in the workflow until it is resumed."""
        await self._change_workflow(workflow_id, "pause")

    async def resume(self, workflow_id: Id) -> None:
        """Go on with a paused workflow."""
        await self._change_workflow(workflow_id, "resume")

    async def complete(self, workflow_id: Id) -> None:
        """Take no more signals in the workflow."""
        await self._change_workflow(workflow_id, "complete")

    async def _change_workflow(self, workflow_id: Id, change: str) -> None:
        command = commands.ChangeWorkflow(workflow_id=to_id(workflow_id), change=change, **self._common())
        await self._command(command, change)

    # --- inside ------------------------------------------------------------------------------------------------------

    async def signal_command(self, workflow: str, subject: Any, name: str, options: SignalOptions) -> commands.Signal:
        """The command that a signal is."""
        user_id = self._connected()
        runs_it = await self._find_user(options.get("client"))
        found = make_workflow(user_id, workflow, subject, options.get("decider"))
        args = options.get("args")
        packed = None
        if args and not isinstance(args, str | bytes) and not self._packing.is_plain:
            packed = await self._pack(f"arguments of {name!r}", args)
        return make_signal(
            user_id=user_id,
            runs_it=runs_it,
            command_id=self._command_id(options.get("idempotency_key")),
            tid=transaction_id(),
            workflow=found,
            name=name,
            options=options,
            now=self._transport.now(),
            packed=packed,
            # Encrypted arguments are other bytes each time: what was asked is told by the rest then.
            hashes_arguments=self._packing.is_repeatable,
        )
