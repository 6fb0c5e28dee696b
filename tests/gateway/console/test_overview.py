"""The overview: what needs a person, by cause and by what else there is, and who works for whom."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from uuid import UUID

import pytest
from msgspec.structs import replace

from backbeat.errors import Unavailable
from backbeat.gateway.console.health.needs import Needs, RefusedJob, needs_of
from backbeat.gateway.console.shared import Shared
from backbeat.gateway.console.visit import Visit
from backbeat.gateway.http import errors
from backbeat.gateway.people.visitor import DEVELOPER, Role, Visitor
from backbeat.payload.values import id_text
from backbeat.schemas.kafka.clients import RegisteredClient
from backbeat.schemas.messages import queries
from backbeat.schemas.messages.jobs import Job, JobFilter, Jobs, JobState
from backbeat.streams.kafka.registration import add_client
from tests.gateway.api.door import Door, User
from tests.gateway.console.desk import Desk
from tests.waiting import until

SHOP, BANK = (UUID(int=number).bytes for number in (1, 2))
NOW = time.time_ns() // 1_000_000
HOUR = 3_600_000
OF_BANK = Visitor(name="r", role=Role.READER, way="person", payloads=False, clients=frozenset({BANK}))


def job(number: int, refused: int, user_id: bytes | None = None, **fields) -> Job:
    return replace(
        Job(id=bytes([number]) * 16, partition=0, user_id=user_id, action="retry", filter=JobFilter(), started_at=NOW),
        **{"state": JobState.DONE, "refused": refused, **fields},
    )


def schedule(user_id: bytes, next_at: int | None, problem: str = "", *, paused: bool = False) -> SimpleNamespace:
    return SimpleNamespace(plan=SimpleNamespace(user_id=user_id), next_at=next_at, problem=problem, paused=paused)


JOBS = [
    *(job(1, 3), job(1, 11), job(2, 5, BANK), job(3, 0, BANK)),
    *(job(4, 7, dry_run=True), job(5, 7, started_at=NOW - 25 * HOUR)),
]
SCHEDULES = [
    schedule(SHOP, None, "there is no such zone"),
    schedule(SHOP, NOW + HOUR // 2),
    schedule(BANK, NOW + HOUR // 2, paused=True),
    schedule(BANK, NOW + 2 * HOUR),
]
LETTERS = ["shop", "shop", "bank", ""]


class Engine:
    """An engine with one partition."""

    partitions = 1
    missing: str | None = None
    registry = SimpleNamespace(
        all=lambda: [
            RegisteredClient(id=id_text(identity), name=name) for identity, name in ((SHOP, "shop"), (BANK, "bank"))
        ]
    )

    def every_partition(self) -> range:
        if self.missing is not None:
            raise errors.unavailable(self.missing, "Backbeat::Unavailable")
        return range(1)

    async def query(self, make, _noun, _seconds):
        match make(None, 0):
            case queries.GetJobs():
                return [Jobs(tuple(JOBS))]
            case queries.GetSchedules():
                return [SimpleNamespace(schedules=SCHEDULES)]


class Letters:
    def __init__(self, *, is_away: bool) -> None:
        self.is_away = is_away

    async def newest(self, _count, filters):
        assert filters.state == "waiting"
        if self.is_away:
            raise Unavailable("Kafka does not answer")
        return [SimpleNamespace(client=name) for name in LETTERS], None


def needs(visitor: Visitor, *, missing: tuple[int, ...] = (), kafka_is_away=False, letters_are_away=False) -> Needs:
    engine = Engine()
    engine.missing = "Kafka is away" if kafka_is_away else None
    services = SimpleNamespace(engine=engine, letters=Letters(is_away=letters_are_away))
    visit = Visit(
        SimpleNamespace(services=services, shared=Shared()),  # type: ignore[arg-type]
        SimpleNamespace(query={}, headers={}),  # type: ignore[arg-type]
        "",
        "tid",
    )
    visit.visitor = visitor
    figures = SimpleNamespace(partitions=1, missing_partitions=list(missing))
    # The browser of other tests has a loop in this thread.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, needs_of(visit, figures)).result()  # type: ignore[arg-type]


def test_what_needs_a_person_is_counted_for_who_looks():
    everything = needs(DEVELOPER)
    assert everything == Needs(
        letters=4,
        jobs=[RefusedJob(id_text(b"\1" * 16), 14, None), RefusedJob(id_text(b"\2" * 16), 5, BANK)],
        problems=1,
        schedules_soon=1,
    )
    assert (everything.refused, everything.is_known) == (19, True)
    own = needs(OF_BANK)
    assert own == Needs(letters=1, jobs=[RefusedJob(id_text(b"\2" * 16), 5, BANK)], problems=0, schedules_soon=0)


@pytest.mark.parametrize(
    ("away", "known"),
    [
        ({"missing": (0,)}, {"letters": 4}),
        ({"kafka_is_away": True}, {}),
        ({"letters_are_away": True}, {"problems": 1, "schedules_soon": 1}),
    ],
)
def test_what_is_away_is_not_taken_for_nothing(away, known):
    result = needs(DEVELOPER, **away)
    names = ("letters", "problems", "schedules_soon")
    assert {name: getattr(result, name) for name in names if getattr(result, name) is not None} == known
    assert not result.is_known


# --- at a gateway ----------------------------------------------------------------------------------------------------


def test_the_overview_leads_from_what_needs_a_person_to_its_causes(stack, story, tab):
    client = add_client(stack.bootstrap_servers, "overseen", partitions=2)
    user = User(Door(stack.http_urls[0], client.id), client, "")
    top = user.sent(subject="overview")
    nodes = user.decide(top["id"], *({"name": "Ship", "mode": "non_blocking", "retry": 0} for _ in range(40)))
    assert user.say(top["id"], "deciding_complete").status == 200
    user.wait_for(nodes[-1], "sent_to_client")
    for number, node in enumerate(nodes):
        assert user.say(node, "errored", {"message": f"no ship before day {number}"}).status == 200
    assert story.letter
    desk = Desk(stack.http_urls[0])
    counted = ("no ship before day #", "overseen</a></span> taken by nobody since", "dead letter")
    until(lambda: all(words in desk.get("").text for words in counted), "all is counted", 180)
    screen = tab()
    screen.open("")
    text = screen.page.locator("main").inner_text()
    assert "with retries exhausted" in text
    assert "overseen taken by nobody since" in text
    screen.follow(
        screen.page.get_by_role("region", name="The first causes").get_by_role("link", name="no ship before day #")
    )
    screen.page.wait_for_url("**/ui/stuck?client=overseen")
    assert "40 failing" in screen.page.locator("main").inner_text()
    screen.open("")
    screen.follow(screen.page.get_by_role("link", name="dead letter"))
    screen.page.wait_for_url("**/ui/letters")
    assert screen.complaints == []
