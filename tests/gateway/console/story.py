"""Workflows that pages are tried with: nodes in many statuses, and texts that mean no good."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

from tests.gateway.api.door import User

IMG = "<img src=x onerror=alert(1)>"
BIDI = "ab\u202edcba\u2066\u200bx\x07"
NAME = f"Charge {IMG} {BIDI} &amp; ' \" {{{{ 7*7 }}}}"
ERROR = {"error": {"message": f"<script>alert(1)</script> {BIDI}\nsecond line", "data": [f"File {IMG}, line 1"]}}


def deep(levels: int) -> Any:
    value: Any = IMG
    for _ in range(levels):
        value = [value]
    return value


class Story:
    """Workflows of one client, made by its calls."""

    def __init__(self, user: User) -> None:
        self.user = user

    @cached_property
    def hostile(self) -> dict[str, Any]:
        """A workflow whose every text is hostile, and a node of it with retries exhausted."""
        subject = {"note": IMG, "bidi": BIDI}
        text = json.dumps(subject)
        workflow = self.user.workflow(name=f"Flow {IMG} {BIDI}", subject=subject)
        data = {"deep": deep(60), "long": "y" * 30_000, "many": list(range(3_000)), "tag": IMG}
        node = self.user.sent(workflow=workflow, name=NAME, client_data=data, metadata={"tag": IMG}, retry=0)
        assert self.user.say(node["id"], "errored", ERROR["error"]).status == 200
        self.user.wait_for(node["id"], "retries_exhausted")
        return {"workflow": workflow["id"], "node": node["id"], "subject": text}

    @cached_property
    def tree(self) -> dict[str, Any]:
        """A workflow of 450 nodes below one, with one of them failing far behind the first page."""
        workflow = self.user.workflow(name="Purchases", subject="Camera 703")
        top = self.user.sent(workflow=workflow, name="Make Purchase")
        children = self.user.decide(
            top["id"],
            *({"name": f"Charge {number}", "mode": "non_blocking", "retry": 0} for number in range(450)),
        )
        assert self.user.say(top["id"], "deciding_complete").status == 200
        failing = children[430]
        self.user.wait_for(failing, "sent_to_client")
        assert self.user.say(failing, "errored", {"message": "connection refused by bank-7:443"}).status == 200
        self.user.wait_for(failing, "retries_exhausted")
        return {"workflow": workflow["id"], "top": top["id"], "children": children, "failing": failing}

    @cached_property
    def job(self) -> str:
        """The id of a count of what a job would retry."""
        answer = self.user.door.post("/jobs", {"action": "retry", "name": "Charge 430", "dry_run": True})
        assert answer.status == 201, answer
        return answer.json["id"]
