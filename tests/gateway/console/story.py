"""Workflows that pages are tried with: nodes in many statuses, and texts that mean no good."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from msgspec.structs import replace

from backbeat.compose.drill.load.account import Totals
from backbeat.compose.drill.plays.play import Play
from backbeat.compose.drill.report.result import PlayResult, RunResult
from backbeat.compose.drill.runs import write_result
from backbeat.gateway.archiving.content import Writer
from backbeat.gateway.archiving.stores import archive_name
from backbeat.schemas.kafka.topics import DEAD_LETTERS, signals_topic
from backbeat.schemas.messages.history import StatusChange
from backbeat.schemas.messages.status import ClientStatus, ServerStatus
from tests.gateway.api.door import User
from tests.gateway.archiving.test_archives import WORKFLOW, node
from tests.waiting import until

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

    def __init__(self, user: User, bootstrap_servers: str, archives: Path, drills: Path) -> None:
        self.user = user
        self.bootstrap_servers = bootstrap_servers
        self.archives = archives
        self.drills_folder = drills

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
        # Pages know what is failing by the tables of the search, and wait a moment for them, not for ever.
        page = f"/ui/workflows/{workflow['id']}"
        until(lambda: failing in self.user.door.get(page).text, "the page shows what is failing")
        return {"workflow": workflow["id"], "top": top["id"], "children": children, "failing": failing}

    @cached_property
    def job(self) -> str:
        """The id of a count of what a job would retry."""
        answer = self.user.door.post("/jobs", {"action": "retry", "name": "Charge 430", "dry_run": True})
        assert answer.status == 201, answer
        return answer.json["id"]

    @cached_property
    def schedule(self) -> dict[str, Any]:
        """A schedule whose name means no good."""
        answer = self.user.door.put(
            "/schedules/nightly%3Cimg%3E",
            {"workflow": f"Reports {IMG}", "subject": "night of {scheduled_at}", "signal": "Make report",
             "cron": "30 2 * * *", "zone": "Europe/Berlin"},
        )  # fmt: skip
        assert answer.status == 200, answer
        return answer.json  # type: ignore[no-any-return]  # a schedule

    @cached_property
    def letter(self) -> str:
        """The position of a dead letter, of a signal without a decider."""
        return self.dead({"workflow": f"W {IMG}", "subject": 1, "signal": BIDI})

    def dead(self, value: Any, headers: list[tuple[str, str]] | None = None) -> str:
        """The position of the letter that a signal becomes which cannot be processed."""
        positions = self._letters()
        self.publish(signals_topic(self.user.client.name), json.dumps(value).encode(), headers)
        return until(lambda: next(iter(self._letters() - positions), None), "it is a dead letter")

    def _letters(self) -> set[str]:
        return {letter["position"] for letter in self.user.door.get("/dead-letters?state=all&limit=500").json}

    def publish(self, topic: str, value: bytes, headers: list[tuple[str, str]] | None = None) -> None:
        producer = Producer({"bootstrap.servers": self.bootstrap_servers})
        producer.produce(topic, value=value, headers=headers)
        assert producer.flush(120) == 0

    def system_letter(self) -> None:
        """A letter of no client's topic."""
        self.publish(DEAD_LETTERS, b"x", [("backbeat-error", "of the system"), ("backbeat-source-topic", "odd")])

    @cached_property
    def archive(self) -> str:
        """The name of an archive of 300 nodes below one, of which one had failed."""
        client = self.user.client
        workflow = replace(WORKFLOW, user_id=client.id_bytes, name=f"Archived {IMG}", subject=json.dumps(IMG).encode())
        name = archive_name(client.name, workflow)
        path = self.archives / name
        path.parent.mkdir(parents=True)
        with path.open("wb") as file:
            writer = Writer(file, client.name, workflow)
            writer.add(archived(1, user_id=client.id_bytes, name="Top"), [])
            for number in range(2, 302):
                failed = number == 250
                errored = StatusChange(
                    False, ClientStatus.RECEIVED, ClientStatus.ERRORED, number, b'{"message": "<b>no"}'
                )
                state = {"server": ServerStatus.RETRIES_EXHAUSTED, "client": ClientStatus.ERRORED} if failed else {}
                child = archived(number, 1, user_id=client.id_bytes, name=f"Step {number}", **state)
                writer.add(child, [errored] if failed else [])
            writer.end()
        return name

    @cached_property
    def drills(self) -> tuple[str, str]:
        """The names of two runs of a drill, as `backbeat drill` keeps them."""
        names = ("20261129-171500", "20261129-183000")
        for number, name in enumerate(names):
            path = self.drills_folder / name
            path.mkdir()
            play = Play(name="engine-killed", summary=f"an engine is killed {IMG}", fault="kill", targets="engine:1")
            times = [step / 2 for step in range(-40, 120)]
            played = PlayResult(
                play=play, targets=["engine-1"], began_at=1_795_970_000.0, seconds=20.0, ended_by="its time",
                reason="as agreed", recovery_seconds=4.0 + 4 * number, times=times,
                worst={"lag_records": 120.0, "completed_per_second": 3.0 - number},
                medians={"lag_records": [0.0, 60.0, 0.0]},
                curves={
                    "lag_records": [None if at == 5 else max(0.0, 20 * at - at * at) for at in times],
                    "completed_per_second": [10.0 - number if at < 0 else 3.0 for at in times],
                },
                failed=[f"silent for 61 s {IMG}"] if number else [],
            )  # fmt: skip
            result = RunResult(
                id=name, began_at=1_795_969_000.0, ended_at=1_795_969_500.0, setup={"workers": 2 + number},
                plays=[played], totals=Totals(asked=900, taken=900, completed=900), verdict_lines=["all is well"],
            )  # fmt: skip
            write_result(path, result)
        (self.drills_folder / "20261129-190000").mkdir()
        return names


def archived(number: int, parent: int | None = None, **fields: Any) -> Any:
    ids = {"id": number.to_bytes(16, "big")} | ({} if parent is None else {"parent_id": parent.to_bytes(16, "big")})
    return replace(node(1), depth=1 if parent is None else 2, seq=number, **ids, **fields)
