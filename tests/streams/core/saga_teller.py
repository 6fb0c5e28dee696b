"""Sagas drawn from a seed: steps are done, fail, are given up and undone, canceled and reset, until all is closed."""

from __future__ import annotations

import random
from typing import Any

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages.status import Mode
from backbeat.schemas.messages.values import FollowUp, FollowUpKind
from tests.streams.core.naive import Child
from tests.streams.core.player import WORKFLOW_IDS, WORKFLOWS, Player
from tests.streams.core.world import USER, reply_to

_NODES_MAX = 40
_OPEN = ("sent_to_client", "retries_exhausted", "errored")


class SagaTeller:
    """Tells a saga to a player, which compares the core with the naive reading at every step."""

    def __init__(self, player: Player, seed: int) -> None:
        self.player = player
        self.chance = random.Random(seed)
        self.count = 0

    def tell(self) -> None:
        """Tell it to its end. AssertionError: it stands still."""
        for _ in range(2):
            self._say(c.Signal, workflow_id=WORKFLOW_IDS[0], workflow=WORKFLOWS[0], node=self._new(is_signal=True))
        while waiting := [node for node in self.player.naive.nodes.values() if _is_waited_for(node)]:
            at_work = [node for node in waiting if node.server in _OPEN]
            assert at_work, f"nothing is at work, and not all is closed: {[(n.name, n.server) for n in waiting]}"
            if self.count < _NODES_MAX and self.chance.random() < 0.08:
                self._meddle(self.chance.choice(waiting))
            else:
                self._work(self.chance.choice(at_work))

    def _work(self, node: Child) -> None:
        """Do what a worker or operator does with a node."""
        word, given = "completed", dict[str, Any]()
        if node.server != "sent_to_client":
            word = self.chance.choice(["resolved", "shutdown", "shutdown", "canceled"])
            if self.count < _NODES_MAX and (self.chance.random() < 0.2 or node.client == "ready"):
                self._say(c.RestartNode, node_id=node.id)
                return
        elif self.chance.random() < 0.25:
            word = "errored"
            given["retriable"] = False
        elif node.name == "failure" and node.parent.server == "retries_exhausted":
            given["gives_up"] = self.chance.random() < 0.7
        elif self.count < _NODES_MAX and self.chance.random() < 0.5:
            given["children"] = tuple(self._new() for _ in range(self.chance.choice([2, 3, 4])))
        response = b'{"result":%d}' % self.count
        self._say(c.ChangeNode, node_id=node.id, status=word, response=response, **given)

    def _meddle(self, node: Child) -> None:
        """Do what somebody does who does not know what is going on."""
        match self.chance.randrange(5):
            case 0:
                self._say(c.ResetNode, node_id=node.id)
                self._say(c.ScheduleNode, node_id=node.id)
            case 1:
                self._say(c.AddChildren, node_id=node.id, children=(self._new(),))
            case 2:
                self._say(c.ChangeNode, node_id=node.id, status="canceled")
            case _:
                self._say(c.ChangeNode, node_id=node.id, status="canceled", compensate=True)

    def _say(self, kind: type, **given: Any) -> None:
        world = self.player.world
        self.player.do(kind(id=world.new_id(), user_id=USER, tid="t", reply_to=reply_to(), **given))

    def _new(self, *, is_signal: bool = False) -> c.NewNode:
        self.count += 1
        mode = Mode.BLOCKING if is_signal else self.chance.choice([*[Mode.BLOCKING] * 3, *Mode])
        kinds = [kind for kind in FollowUpKind if self.chance.random() < 0.6]
        if is_signal or mode is Mode.FIRE_AND_FORGET:
            kinds = [kind for kind in kinds if kind is not FollowUpKind.UNDO]
        follow_ups = tuple(FollowUp(kind, kind.value, USER, retries=0) for kind in kinds)
        node_type = "flag" if not is_signal and self.chance.random() < 0.1 else "activity"
        return c.NewNode(name=f"n{self.count}", user_id=USER, mode=mode, type=node_type, follow_ups=follow_ups)


def _is_waited_for(node: Child) -> bool:
    """True for an open node, unless it is below one that was shut with its siblings: nobody begins it."""
    above = node.parent
    while isinstance(above, Child):
        if above.server == "deactivated":
            return False
        above = above.parent
    return not node.closed
