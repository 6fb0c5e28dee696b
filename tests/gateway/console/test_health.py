"""Health at the top of every page: what is not well is said once it lasts, to whom it concerns, with what helps."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from backbeat.gateway.backlog import Backlog
from backbeat.gateway.console import table
from backbeat.gateway.console.figures import Figures
from backbeat.gateway.console.health.alarms import (
    Alarm,
    behind_alarms,
    engine_alarms,
    kafka_alarm,
    search_alarm,
    worker_alarms,
)
from backbeat.gateway.console.health.standing import Standing
from backbeat.gateway.console.health.watch import Watch
from backbeat.gateway.console.health.workers import Workers, workers_of
from backbeat.gateway.people.visitor import DEVELOPER, Role, Visitor
from backbeat.schemas.kafka.clients import RegisteredClient
from backbeat.schemas.messages.views import EngineView, PartitionState
from backbeat.streams.kafka.queues import PartitionQueue, Queue, Queues
from backbeat.streams.kafka.registration import add_client
from tests.gateway.api.door import Door, User
from tests.gateway.console.conftest import START_SECONDS_MAX
from tests.gateway.console.desk import Desk, log_in
from tests.gateway.console.test_people import command
from tests.waiting import until

RUNBOOK = Path(__file__).parents[3] / "docs" / "how-to" / "runbook.md"
BEGAN, SECOND = 1_795_970_000_000, 1_000
SHOP = RegisteredClient(id="00000000-0000-4000-8000-000000000001", name="shop")
BANK = RegisteredClient(id="00000000-0000-4000-8000-000000000002", name="bank")
CLIENTS = {client.topic: client for client in (SHOP, BANK)}


def queue(topic: str, group: str, state: str, end: int, committed: int | None) -> Queue:
    partition = PartitionQueue(partition=0, first=0, end=end, committed=committed)
    return Queue(topic=topic, group=group, group_state=state, partitions=[partition])


def standing(at: int, ends: list[int], views: list[EngineView | None]) -> Standing:
    partitions = [PartitionQueue(partition=number, first=0, end=end, committed=100) for number, end in enumerate(ends)]
    commands = Queue(topic="backbeat.commands", group="backbeat", group_state="STABLE", partitions=partitions)
    queues = Queues(commands=commands, signals=[], activities=[], state_ends={})
    backlog = Backlog(at=at, queues=queues, engines=[])
    return Standing(at=at, backlog=backlog, views=views, search_records_behind=0, clients=CLIENTS)


def view(partition: int = 0, **fields) -> EngineView:
    return EngineView(
        **{"instance": "e", "version": "1", "since": 0, "partition": partition, "state": PartitionState.READY, **fields}
    )


def rounds(*standings: Standing | None, missing: tuple[int, ...] = (), partitions: int = 2) -> list[Alarm]:
    """The alarms of the last of these, each as it was seen then."""
    watch = Watch()
    alarms: list[Alarm] = []
    for number, seen in enumerate(standings):
        watch.begin()
        at = BEGAN + 60 * SECOND * number if seen is None else seen.at
        alarms = engine_alarms(missing, partitions, seen, watch, at)
    return alarms


def at(seconds: int, ends: list[int], *views: EngineView | None) -> Standing:
    return standing(BEGAN + seconds * SECOND, ends, list(views))


@pytest.mark.parametrize(
    ("standings", "texts"),
    [
        # Nothing waits, or what waits is applied.
        ([at(0, [100], view(position=100)), at(60, [100], view(position=100))], []),
        ([at(0, [900], view(position=100)), at(60, [900], view(position=700))], []),
        # Markers of transactions stand behind the last command for ever.
        ([at(0, [110], view(position=105)), at(600, [110], view(position=105))], []),
        # It stands still.
        ([at(0, [900], view(position=200)), at(59, [900], view(position=200))], []),
        (
            [at(0, [900], view(position=200)), at(60, [1_900], view(position=200))],
            ["1,700 commands wait in partition 0, and none is applied: workflows stand still."],
        ),
        # It had nothing to do for long, and has just got much.
        ([at(0, [100], view(position=100)), at(600, [900], view(position=100))], []),
        # It moves, and does not keep up; or it has.
        (
            [at(0, [5_000], view(position=200)), at(60, [9_200], view(position=2_000))],
            ["7,200 commands wait in partition 0: what is done there is late."],
        ),
        ([at(0, [5_000], view(position=200)), at(30, [9_200], view(position=2_000))], []),
        ([at(0, [5_000]), at(30, [5_000], view(position=4_900)), at(60, [9_000], view(position=5_000))], []),
        # Its engine tells nothing: its newest commit is known.
        (
            [at(0, [400, 400], None, view(1, position=100)), at(60, [400, 400], None, view(1, position=100))],
            ["600 commands wait in partitions 0, 1, and none is applied: workflows stand still."],
        ),
        # Timers.
        ([at(0, [0], view(timers_overdue=3, overdue_since=BEGAN - 29 * SECOND))], []),
        (
            [
                at(
                    0,
                    [0, 0],
                    view(timers_overdue=1_200, overdue_since=BEGAN - 30 * SECOND),
                    view(1, timers_overdue=1, overdue_since=BEGAN - 31 * SECOND),
                )
            ],
            ["Timers of partitions 0, 1 are overdue (1,201): retries and dates are late."],
        ),
    ],
)
def test_what_lasts_is_said(standings, texts):
    assert [alarm.text for alarm in rounds(*standings)] == texts


def test_alarms_say_since_when():
    standings = [at(number, [900], view(position=200)) for number in (0, 20, 40, 60, 80)]
    assert rounds(*standings)[0].since == BEGAN
    assert rounds(None, None, missing=(1,))[0].since == BEGAN
    assert rounds(at(0, [0], view(timers_overdue=1, overdue_since=7)))[0].since == 7


@pytest.mark.parametrize(
    ("missing", "views", "texts"),
    [
        ((1,), [view()], ["No engine answers for 1 of 2 partitions (1): their workflows stand still."]),
        (
            (0, 1),
            [None, view(1, state=PartitionState.RESTORING, timers_overdue=1, overdue_since=7)],
            [
                "No engine answers for 1 of 2 partitions (0): their workflows stand still.",
                "The state of partition 1 is being restored: until then its workflows stand still.",
            ],
        ),
    ],
)
def test_partitions_without_an_engine_are_not_those_that_are_restored(missing, views, texts):
    """What waits there, and its timers, are no second alarm."""
    ends = [9_000 if number in missing else 0 for number in range(2)]
    seen = [at(seconds, ends, *views) for seconds in (0, 60)]
    assert [alarm.text for alarm in rounds(*seen, missing=missing)] == texts


def test_the_search_is_behind_once_that_lasts():
    watch, texts = Watch(), []
    for seconds, records in ((0, 20_000), (59, 30_000), (60, 12_000), (61, 10_000), (62, 20_000), (63, None)):
        watch.begin()
        texts.append([alarm.text for alarm in behind_alarms(records, watch, BEGAN + seconds * SECOND)])
    behind = ["The search is 12,000 records behind: lists and counts are those of a while ago."]
    assert texts == [[], [], behind, [], [], []]


@pytest.mark.parametrize(
    ("queues", "at_work", "seconds", "since"),
    [
        # Nobody has ever read it.
        ([queue(SHOP.topic, "", "", 3, None)], set(), 0, BEGAN),
        ([queue(SHOP.topic, "", "", 0, None)], set(), 60, None),
        # Workers are there, or there is nothing for them.
        ([queue(SHOP.topic, "workers", "STABLE", 3, 1)], set(), 600, None),
        ([queue(SHOP.topic, "workers", "PREPARING_REBALANCE", 3, 1)], set(), 600, None),
        ([queue(SHOP.topic, "workers", "EMPTY", 3, 3)], set(), 600, None),
        # They have gone; or they are those of a share group, whose position follows.
        ([queue(SHOP.topic, "workers", "EMPTY", 3, 1)], set(), 44, None),
        ([queue(SHOP.topic, "workers", "EMPTY", 3, 1)], set(), 45, BEGAN),
        ([queue(SHOP.topic, "workers", "DEAD", 3, 1)], {SHOP.id_bytes}, 45, None),
        # One of two groups is at work.
        (
            [queue(SHOP.topic, "old", "EMPTY", 3, 1), queue(SHOP.topic, "workers", "STABLE", 3, 3)],
            set(),
            600,
            None,
        ),
    ],
)
def test_a_client_without_workers(queues, at_work, seconds, since):
    watch = Watch()
    for passed in (0, seconds):
        watch.begin()
        (workers,) = workers_of(queues, CLIENTS, at_work, watch, BEGAN + passed * SECOND)
    assert (workers.client, workers.nobody_since) == ("shop", since)
    texts = [alarm.text for alarm in worker_alarms([workers])]
    assert texts == ([] if since is None else [f"Nobody takes the activities of shop ({workers.waiting} waiting)."])


def test_a_share_group_moves_the_position_of_the_consumer_group():
    watch = Watch()
    for seconds, committed in ((0, 1), (40, 2), (80, 3)):
        watch.begin()
        shared = queue(BANK.topic, "workers", "EMPTY", 9, committed)
        (workers,) = workers_of([shared], CLIENTS, (), watch, BEGAN + seconds * SECOND)
        assert workers.nobody_since is None


def test_others_clients_are_no_concern_of_a_reader():
    workers = [
        Workers(client_id=client.id_bytes, client=client.name, waiting=1, are_there=False, nobody_since=BEGAN)
        for client in (SHOP, BANK)
    ]
    figures = Figures(
        at=BEGAN,
        activities=[],
        newest_workflow=0,
        missing_partitions=[],
        partitions=2,
        alarms=[search_alarm("away"), *worker_alarms(workers)],
        workers=workers,
        standing=None,
    )
    reader = Visitor(name="r", role=Role.READER, way="person", payloads=False, clients=frozenset({BANK.id_bytes}))
    assert [alarm.text for alarm in figures.alarms_of(reader)] == [
        "away",
        "Nobody takes the activities of bank (1 waiting).",
    ]
    assert len(figures.alarms_of(DEVELOPER)) == 3


def test_what_alarms_lead_to_is_there():
    late = [at(seconds, [9_000], view(position=100 + seconds)) for seconds in (0, 60)]
    still = [at(seconds, [9_000], view(position=100)) for seconds in (0, 60)]
    watch = Watch()
    behind_alarms(20_000, watch, 0)
    watch.begin()
    workers = [Workers(client_id=SHOP.id_bytes, client="shop", waiting=1, are_there=False, nobody_since=BEGAN)]
    alarms = [
        *(kafka_alarm("away"), search_alarm("away")),
        *rounds(None, missing=(0, 1)),
        *rounds(None, missing=(0,)),
        *rounds(at(0, [0], view(state=PartitionState.RESTORING)), missing=(0,)),
        *(*rounds(*late), *rounds(*still)),
        *rounds(at(0, [0], view(timers_overdue=1, overdue_since=7))),
        *behind_alarms(20_000, watch, 60 * SECOND),
        *worker_alarms(workers),
    ]
    assert len({alarm.runbook for alarm in alarms}) == len(alarms) == 10
    sections = set(re.findall(r"^### (\w+)$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE))
    template = (Path(table.__file__).parent / "templates" / "system.html").read_text(encoding="utf-8")
    for alarm in alarms:
        path, _, section = alarm.address.partition("#")
        assert "GET" in table.find(path), alarm
        assert not section or f'id="{section}"' in template, alarm
        assert not alarm.runbook or alarm.runbook in sections, alarm


# --- at a gateway ----------------------------------------------------------------------------------------------------


def test_every_page_says_whom_nobody_works_for_and_where_one_goes_on(stack, story, tab):
    client = add_client(stack.bootstrap_servers, "unserved", partitions=2)
    User(Door(stack.http_urls[0], client.id), client, "").sent()
    desk, text = Desk(stack.http_urls[0]), "Nobody takes the activities of unserved (1 waiting)."
    until(lambda: text in desk.get("jobs").text, "the page says it", 180)
    screen = tab()
    for address, status in (("nodes", 200), ("me", 200), ("nobody", 404), ("clients/x", 404)):
        assert screen.open(address) == status
        assert screen.page.locator("#alarms").get_by_text(text).count() == 1, address
    screen.follow(screen.page.locator(".alarm", has_text=text).get_by_role("link"))
    screen.page.wait_for_url(f"**/ui/clients/{client.id}")
    assert "done once a worker runs" in screen.page.locator("main").inner_text()

    for name, of, is_said in (("its-reader", "unserved", True), ("shop-reader", "shop", False)):
        words = command(stack, "add", name, "--role", "reader", "--client", of, "--json")
        reader = log_in(stack.http_urls[1], name, json.loads(words)["token"])
        until(lambda reader=reader: "partitions answer" in reader.get("").text, "it is counted there", 180)
        if is_said:
            until(lambda reader=reader: text in reader.get("jobs").text, "the page says it to its reader", 180)
        else:
            assert "unserved" not in reader.get("jobs").text


def test_workers_that_have_just_gone_are_missed_where_the_health_line_misses_them(stack):
    client = add_client(stack.bootstrap_servers, "deserted", partitions=1)
    user = User(Door(stack.http_urls[0], client.id), client, "")
    user.sent()
    user.sent()
    group = "workers-of-deserted"
    consumer = Consumer({"bootstrap.servers": stack.bootstrap_servers, "group.id": group, "log_level": 0})
    consumer.commit(offsets=[TopicPartition(client.topic, 0, 1)], asynchronous=False)
    consumer.close()
    desk, line = Desk(stack.http_urls[0]), "Nobody takes the activities of deserted ("

    def page() -> str | None:
        text = desk.get(f"clients/{client.id}").text
        return text if group in text and line not in text else None

    # The group is without members, as that of a share group is, and between two that work.
    text = until(page, "the page knows the group, and nobody is missed", 180)
    assert "without members" in text
    assert "nobody takes its activities" not in text
    until(lambda: line in desk.get("jobs").text, "its workers are missed", 180)
    for address in ("clients", f"clients/{client.id}"):
        assert "nobody takes its activities" in desk.get(address).text, address


def test_an_error_page_says_that_the_engine_is_away(stack, story):
    desk = Desk(stack.http_urls[0])
    text = "No engine answers for 2 of 2 partitions (0, 1): their workflows stand still."
    node = story.user.sent()["id"]
    stack.stop_engine()
    try:
        until(lambda: text in desk.get("jobs").text, "the page says it", 180)
        answer = desk.get(f"nodes/{node}")
        assert (answer.status, text in answer.text, "BackbeatNoEngine" in answer.text) == (503, True, True)
    finally:
        stack.start_engine()
        stack.wait_ready(0, START_SECONDS_MAX)
    until(lambda: text not in desk.get("jobs").text, "it is well again", 180)
