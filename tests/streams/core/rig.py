"""Few words for a table: nodes are known by their names, commands are methods."""

from __future__ import annotations

from typing import Any

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.status import Mode
from tests.streams.core.world import USER, Happened, World, reply_to

BLOCKING, NON_BLOCKING, FORGET = Mode.BLOCKING, Mode.NON_BLOCKING, Mode.FIRE_AND_FORGET
CAMERA = c.NewWorkflow(user_id=USER, name="purchase", subject=b'"Camera 703"', decider="Decider")
CAMERA_ID = ids.workflow_id(CAMERA.user_id, CAMERA.name, CAMERA.subject)


def new(name: str, mode: Mode = BLOCKING, **given: Any) -> c.NewNode:
    """A node to be made."""
    return c.NewNode(**{"name": name, "user_id": USER, "mode": mode, **given})


def flag(name: str, mode: Mode = BLOCKING, **given: Any) -> c.NewNode:
    return new(name, mode, type="flag", **given)


def workflow(subject: bytes, name: str = "purchase") -> c.NewWorkflow:
    return c.NewWorkflow(user_id=USER, name=name, subject=subject, decider="Decider")


def id_of(of: c.NewWorkflow) -> bytes:
    return ids.workflow_id(of.user_id, of.name, of.subject)


class Rig(World):
    """A world whose nodes are called by name."""

    def __getitem__(self, name: str) -> bytes:
        node_ids = [node.id for node in self.nodes().values() if node.name == name]
        assert len(node_ids) == 1, f"{len(node_ids)} nodes are called {name}"
        return node_ids[0]

    def ask(self, kind: type, *, now: int | None = None, **given: Any) -> Happened:
        """Send a command that wants an answer, and everything that follows."""
        carried = {"id": self.new_id(), "user_id": USER, "tid": "tid", "reply_to": reply_to(), **given}
        return self.do(kind(**carried), now)

    def tell(self, kind: type, *, now: int | None = None, **given: Any) -> Happened:
        """Send a command of the engine's own parts."""
        return self.do(kind(**{"id": self.new_id(), **given}), now)

    # --- what clients say --------------------------------------------------------------------------------------------

    def signal(self, name: str = "signal", *, of: c.NewWorkflow = CAMERA, **given: Any) -> Happened:
        carried = {key: given.pop(key) for key in ("id", "now", "body_hash", "user_id", "reply_to") if key in given}
        node = new(name, type="decision", **given)
        return self.ask(c.Signal, workflow_id=id_of(of), workflow=of, node=node, **carried)

    def say(self, word: str, name: str, *children: c.NewNode, **given: Any) -> Happened:
        return self.ask(c.ChangeNode, node_id=self[name], status=word, children=children, **given)

    def complete(self, name: str, *children: c.NewNode, **given: Any) -> Happened:
        return self.say("completed", name, *children, **given)

    def error(self, name: str, response: bytes | None = b'{"error":{"message":"it broke"}}', **given: Any) -> Happened:
        return self.say("errored", name, response=response, **given)

    def add(self, name: str, *children: c.NewNode, **given: Any) -> Happened:
        return self.ask(c.AddChildren, node_id=self[name], children=children, **given)

    def restart(self, name: str, **given: Any) -> Happened:
        return self.ask(c.RestartNode, node_id=self[name], **given)

    def reset(self, name: str, **given: Any) -> Happened:
        return self.ask(c.ResetNode, node_id=self[name], **given)

    def schedule(self, name: str, **given: Any) -> Happened:
        return self.ask(c.ScheduleNode, node_id=self[name], **given)

    def workflow(self, change: str, of: c.NewWorkflow = CAMERA, **given: Any) -> Happened:
        return self.ask(c.ChangeWorkflow, workflow_id=id_of(of), change=change, **given)

    def fail(self, name: str, message: str = "the engine broke", **given: Any) -> Happened:
        return self.tell(c.FailNode, node_id=self[name], message=message, **given)

    def due(self, name: str, now: int | None = None) -> Happened:
        """The node's timer fires, by default at its time."""
        return self.fire(self[name], now)

    # --- what there is -----------------------------------------------------------------------------------------------

    def server(self, *names: str) -> list[str]:
        return [self.statuses(self[name])[0] for name in names]

    def both(self, name: str) -> tuple[str, str]:
        return self.statuses(self[name])

    def said(self, name: str) -> list[str]:
        return self.moves(self[name])

    def last(self, name: str, count: int = 1) -> list[str]:
        return self.moves(self[name])[-count:]

    def clock(self, name: str) -> tuple[str, int] | None:
        return self.timer(self[name])

    def row(self, name: str) -> Any:
        return self.node(self[name])

    def do(self, command: c.AnyCommand, now: int | None = None, chance: Any = None) -> Happened:
        happened = super().do(command, now, chance)
        self.check()
        return happened


def running(*children: c.NewNode, **given: Any) -> Rig:
    """A workflow whose signal has been completed with these children."""
    rig = Rig(**given)
    rig.signal("signal")
    rig.complete("signal", *children)
    return rig
