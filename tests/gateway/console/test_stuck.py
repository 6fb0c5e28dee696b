"""Stuck, and jobs: the journey of 3 a.m., and who may count, start and stop what."""

from __future__ import annotations

import html
import json
import re
import uuid
from types import SimpleNamespace

import pytest
import sqlalchemy

from backbeat.gateway.console.page_error import PageError
from backbeat.gateway.console.pages.job_filters import fields_of, filter_of_form, in_words
from backbeat.gateway.console.pages.jobs import Pace, pace_of
from backbeat.gateway.console.show.statuses import STATUS_CHOICES
from backbeat.gateway.console.visit import Visit
from backbeat.gateway.projection.storage.database import begin_writing, open_engine, parse_url
from backbeat.schemas.messages.jobs import JobFilter
from backbeat.streams.kafka.registration import add_client
from tests.gateway.api.door import Door, User
from tests.gateway.console.desk import Desk, hidden_fields, log_in
from tests.gateway.console.journey import CLICKS_MAX, PHONE, TOUCHED, Finger, retry_a_cause, shown
from tests.gateway.console.story import NAME
from tests.gateway.console.test_people import command
from tests.waiting import until

NODES = 14


def failed_payments(stack, name: str) -> tuple[User, list[str]]:
    """A client whose payments fail with two causes, and the payments."""
    client = add_client(stack.bootstrap_servers, name, partitions=2)
    user = User(Door(stack.http_urls[0], client.id), client, "")
    top = user.sent(subject="payroll")
    nodes = user.decide(top["id"], *({"name": "Pay", "mode": "non_blocking", "retry": 0} for _ in range(2 * NODES)))
    assert user.say(top["id"], "deciding_complete").status == 200
    for number, node in enumerate(nodes):
        user.wait_for(node, "sent_to_client")
        error = f"550 mailbox {number} unknown" if number % 2 else f"connection refused by bank-{number}:443"
        assert user.say(node, "errored", {"message": error}).status == 200
    user.wait_for(nodes[-1], "retries_exhausted")
    return user, nodes


@pytest.fixture(scope="module")
def bank(stack, story):
    return failed_payments(stack, "payers")


def test_from_stuck_to_a_drained_job_in_six_clicks(stack, bank, tab):
    user, nodes = bank
    screen, desk = tab(**PHONE), Desk(stack.http_urls[0])
    until(lambda: f"{NODES} failing" in desk.get("stuck?client=payers").text, "the causes are there")
    screen.open("stuck?client=payers")
    assert "connection refused by bank-#" in shown(screen.page)
    assert "# mailbox # unknown" in shown(screen.page)

    def ten_are_tried() -> None:
        assert sum(user.node(node)["currentServerStatus"] != "retries_exhausted" for node in nodes[::2]) == 10

    clicks = retry_a_cause(screen, "connection refused by bank-#", NODES, after_the_first=ten_are_tried)
    assert clicks <= CLICKS_MAX
    for node in nodes[::2]:
        user.wait_for(node, "sent_to_client")
    # The other cause is as it was.
    assert {user.node(node)["currentServerStatus"] for node in nodes[1::2]} == {"retries_exhausted"}
    until(lambda: "bank-#" not in desk.get("stuck?client=payers").text, "the cause is gone")
    screen.open("jobs")
    assert "bank is back, INC-771" in shown(screen.page)
    assert screen.complaints == []


def test_from_stuck_to_a_drained_job_by_six_touches(stack, story, tab):
    user, nodes = failed_payments(stack, "payees")
    screen, desk = tab(**TOUCHED), Desk(stack.http_urls[0])
    for cause, is_last, retried in (
        ("# mailbox # unknown", False, nodes[1::2]),
        ("connection refused by bank-#", True, nodes[::2]),
    ):
        until(lambda: f"{NODES} failing" in desk.get("stuck?client=payees").text, "the cause is there")
        screen.open("stuck?client=payees")
        assert retry_a_cause(screen, cause, NODES, hand=Finger) <= CLICKS_MAX
        for node in retried:
            user.wait_for(node, "sent_to_client")
        until(lambda cause=cause: cause not in desk.get("stuck?client=payees").text, "the cause is gone")
        assert ("nothing needs a person" in desk.get("stuck?client=payees").text) is is_last
    assert screen.complaints == []


def test_a_cause_leads_to_exactly_its_nodes(stack, bank, tab):
    _, nodes = bank
    screen, desk = tab(), Desk(stack.http_urls[0])
    until(lambda: "# mailbox # unknown" in desk.get("stuck?client=payers").text, "the cause is there")
    screen.open("stuck?client=payers")
    screen.follow(screen.page.get_by_role("link", name="# mailbox # unknown"))
    address = screen.page.url.partition("/ui/")[2]
    listed = re.findall(r'<th scope="row"><a href="nodes/([^"]+)"', desk.get(address).text)
    assert sorted(listed) == sorted(nodes[1::2])
    assert "failed with # mailbox # unknown" in shown(screen.page)
    # The words of the box at the top, and other filters beside it.
    cause = re.search("cause=([0-9a-f]{16})", address)[1]
    assert (
        desk.get(f"go?q=cause:{cause}+client:payers").headers["location"].endswith(f"nodes?cause={cause}&client=payers")
    )
    assert nodes[1] not in desk.get(f"{address}&status=retrying").text
    assert nodes[1] not in desk.get(f"nodes?cause={cause}&client=shop").text
    assert desk.get("nodes?cause=none").status == 200
    assert screen.complaints == []


def test_what_is_stuck_by_activity_client_and_workflow_and_of_one_kind(stack, bank, tab):
    _, nodes = bank
    screen, desk = tab(), Desk(stack.http_urls[0])
    until(lambda: "# mailbox # unknown" in desk.get("stuck?client=payers").text, "the cause is there")
    screen.open("stuck?client=payers")
    for word, name, heading in (
        ("activity", "Pay", "Pay"),
        ("workflow", 'order "', 'order "'),
        ("client", "payers", "Stuck"),
    ):
        screen.follow(screen.page.locator(".groups").get_by_role("link", name=word, exact=True))
        assert screen.page.locator(".groups [aria-current]").inner_text() == word
        assert screen.page.locator(".cards tbody tr").count() == 1
        assert "client=payers" in screen.page.url
        assert screen.page.locator("tbody th").inner_text().startswith(name)
        stuck = screen.page.url
        screen.follow(screen.page.locator("tbody th a"))
        assert heading in screen.page.locator("h1").inner_text()
        screen.page.goto(stuck)
    # What a group counts is listed.
    screen.follow(screen.page.locator("tbody").get_by_role("link", name="failing"))
    assert nodes[1] in screen.page.content()
    # Of one kind, and of all again.
    screen.open("stuck?client=payers")
    screen.follow(screen.page.locator(".kinds").get_by_role("link", name="retrying 0"))
    assert "Nothing has failed so" in shown(screen.page)
    screen.follow(screen.page.locator(".kinds").get_by_role("link", name="retrying 0"))
    assert "# mailbox # unknown" in shown(screen.page)
    for bad in ("by=colour", "kind=odd"):
        assert desk.get(f"stuck?{bad}").status == 400
    assert screen.complaints == []


def test_what_is_silent_is_counted_and_leads_to_its_nodes(stack, story, tab):
    client = add_client(stack.bootstrap_servers, "mute", partitions=2)
    user = User(Door(stack.http_urls[0], client.id), client, "")
    silent, lively = (user.sent(subject=f"mute {number}")["id"] for number in range(2))
    desk, screen = Desk(stack.http_urls[0]), tab()
    until(lambda: all(node in desk.get("nodes?client=mute").text for node in (silent, lively)), "the list has both")
    tables = open_engine(parse_url(f"sqlite:///{stack.data_dir}/gateway-1/projection.sqlite"))
    with begin_writing(tables) as writing:
        # As if it had been sent a day ago.
        changed = writing.execute(
            sqlalchemy.text("UPDATE nodes SET created = created - :day, last_at = last_at - :day WHERE id = :id"),
            {"day": 86_400_000, "id": uuid.UUID(silent).bytes},
        )
        assert changed.rowcount == 1
    tables.dispose()
    until(lambda: "silent for 20 h 1<" in desk.get("stuck?client=mute").text, "it is counted")
    screen.open("stuck?client=mute")
    screen.follow(screen.page.locator(".kinds").get_by_role("link", name="silent for 20 h 1"))
    assert "Nothing has changed on these for 20 h" in shown(screen.page)
    screen.follow(screen.page.get_by_role("link", name="1 with their client"))
    listed = re.findall(r'<th scope="row"><a href="nodes/([^"]+)"', screen.page.content())
    assert listed == [silent]
    assert "unchanged since" in shown(screen.page)
    assert screen.complaints == []
    assert "There are none" in desk.get("stuck?client=shop&kind=silent").text
    assert desk.get("stuck?kind=silent,exhausted").status == 400
    location = desk.get("go?q=client:mute+unchanged_since:20h").headers["location"]
    assert silent in desk.get(location.partition("/ui/")[2] or location).text


def test_how_it_went_in_the_last_hour_is_drawn_and_told(stack, bank):
    desk = Desk(stack.http_urls[0])
    for address in ("stuck?client=payers", "activity?client=payers&name=Pay", "activities"):
        text = until(lambda a=address: "failing, last" in (text := desk.get(a).text) and text, "it is counted")
        (drawn, *_) = re.findall(
            r'<svg class="spark failing"[^>]* aria-label="(failing, last [^"]*)"><path d="([^"]+)"', text
        )
        assert re.fullmatch(r"failing, last (hour|\d+ min): [\d,]+ to [\d,]+, now [\d,]+", drawn[0]), drawn
        assert re.fullmatch(r"M0 16(V\d+h1){12}V16z", drawn[1]), drawn


def count(desk: Desk, **fields: str):
    """The answer to a count, and the way to its page."""
    form = re.search(
        r'action="jobs" aria-label="A new job">\s*<input type="hidden" name="form" value="([^"]*)"',
        desk.get("jobs").text,
    )
    assert form is not None
    return desk.send("jobs", {"form": form[1], "action": "retry", **fields})


def test_a_retry_asks_for_the_name_with_all_that_cannot_be_seen(stack, story):
    desk, node = Desk(stack.http_urls[0]), story.hostile["node"]

    def form() -> dict[str, str] | None:
        forms = re.findall(r'<form method="post" action="jobs">.*?</form>', desk.get("stuck").text, re.DOTALL)
        return next((fields for fields in map(hidden_fields, forms) if fields.get("name") == NAME), None)

    fields = until(form, "its cause is there")
    for action, label in (("retry", "Retry these"), ("resolve", "Resolve these"), ("cancel", "Cancel these")):
        counted = desk.send("jobs", {**fields, "action": action}).headers["location"]
        until(lambda counted=counted: "The filter matches 1, exactly" in desk.get(counted).text, "it is counted")
        text = desk.get(counted).text
        assert node in text
        assert label in text
        # What is done instead is done with the same nodes.
        (instead,) = re.findall(r'<form method="post" action="[^"]*jobs">.*?</form>', text, re.DOTALL)
        assert {**hidden_fields(instead), "action": "retry", "form": fields["form"]} == fields


def test_a_count_that_was_made_elsewhere_is_told_with_all_its_conditions(stack, bank):
    user, nodes = bank
    conditions = {
        "workflow_id": user.node(nodes[0])["workflowId"],
        "past_status": "retries_exhausted",
        "status_start": "2026-11-01T00:00:00Z",
        "status_end": "2036-11-01T00:00:00Z",
        "created_start": "2026-10-01T00:00:00Z",
        "created_end": "2036-10-01T00:00:00Z",
    }
    job = user.door.post("/jobs", {"action": "retry", "dry_run": True, **conditions}).json["id"]
    text = Desk(stack.http_urls[0]).get(f"jobs/{job}").text
    assert dict(re.findall(r"(?:nodes|</b>) ([a-z ]+) <b>([^<]*)(?=</b>)", text)) == {
        "of": "payers",
        "at": dict(STATUS_CHOICES)["retries_exhausted"],
        "of workflow": conditions["workflow_id"],
        "had status": dict(STATUS_CHOICES)["retries_exhausted"],
        "changed since": "2026-11-01T00:00:00.000Z",
        "changed until": "2036-11-01T00:00:00.000Z",
        "made since": "2026-10-01T00:00:00.000Z",
        "made until": "2036-10-01T00:00:00.000Z",
    }


def test_every_condition_of_a_job_is_in_its_words():
    visit = SimpleNamespace(client_name=lambda identity: identity.hex())
    for name in JobFilter.__struct_fields__:
        value = bytes(16) if name.endswith("_id") else 1 if name.endswith(("_start", "_end")) else "x"
        assert in_words(visit, SimpleNamespace(filter=JobFilter(**{name: value}), user_id=None)), name


def test_every_condition_of_a_job_is_in_a_form_and_comes_back_from_it():
    filters = {
        name: bytes(range(16))
        if name.endswith("_id")
        else 1_769_860_800_123
        if name.endswith(("_start", "_end"))
        else "x"
        for name in JobFilter.__struct_fields__
    }
    visit = SimpleNamespace(
        client_name=lambda identity: identity.hex(),
        client_id=bytes.fromhex,
        query={},
        time_of=Visit.time_of,
        refuse_metadata=lambda: None,
    )
    for wanted in (
        JobFilter(**filters),
        *(JobFilter(**{name: value}) for name, value in filters.items() if name != "client_id"),
    ):
        visit.who = SimpleNamespace(clients=None)
        visit.form = fields_of(visit, SimpleNamespace(filter=wanted, user_id=None))
        assert filter_of_form(visit) == wanted
    assert fields_of(visit, SimpleNamespace(filter=JobFilter(), user_id=bytes(16))) == {}
    visit.form = {"workflow": "no id"}
    with pytest.raises(PageError):
        filter_of_form(visit)


@pytest.mark.parametrize(
    ("ended_at", "now", "pace"),
    [(None, 3_000, Pace(5.0, 50.0)), (5_000, 90_000, Pace(2.5, 25.0)), (None, 1_500, None), (None, 0, None)],
)
def test_the_pace_of_a_job_is_over_the_time_that_it_ran(ended_at, now, pace):
    job = SimpleNamespace(started_at=1_000, ended_at=ended_at, done=9, refused=1, examined=100)
    assert pace_of(job, now) == pace


@pytest.fixture
def people(stack, bank):
    names = {"boss": ["--role", "operator"], "clerk": ["--role", "operator", "--client", "payers"],
             "alien": ["--role", "operator", "--client", "shop"], "onlooker": ["--role", "reader"]}  # fmt: skip
    people = {}
    for name, words in names.items():
        added = command(stack, "add", name, *words, "--json")
        people[name] = log_in(stack.http_urls[1], name, json.loads(added)["token"])
    yield people
    for name in names:
        command(stack, "remove", name, "--yes")


def test_who_may_count_and_start_a_job(stack, bank, people):
    user, nodes = bank
    failing = [node for node in nodes if user.node(node)["currentServerStatus"] == "retries_exhausted"]
    boss, clerk, alien, onlooker = (people[name] for name in ("boss", "clerk", "alien", "onlooker"))
    assert "Retry…" in boss.get("stuck").text
    assert "Retry…" not in onlooker.get("stuck").text
    assert '<select name="action">' in boss.get("jobs").text
    assert '<select name="action">' not in onlooker.get("jobs").text
    assert "mailbox" not in alien.get("stuck").text
    assert alien.get("stuck?client=payers").status == 400
    assert onlooker.send("jobs", {}).status == 403

    for nothing in ({"status": ""}, {"status": "", "client": "payers"}):
        assert count(boss, **nothing).status == 400
    assert count(boss, status="retries_exhausted", client="nobody").status == 400
    assert count(alien, status="retries_exhausted", client="payers").status == 400
    assert count(boss, action="explode", status="retries_exhausted").status == 400
    # Whoever may ask what metadata contains reads it letter by letter.
    assert count(clerk, metadata="secret", status="retries_exhausted").status == 403
    assert onlooker.get("nodes?text=secret").status == 403
    assert "Metadata contains" not in onlooker.get("nodes").text
    assert onlooker.get("workflows?text=payroll").status == 200
    assert Desk(stack.http_urls[0]).get("nodes?text=secret").status == 200

    # A person of one client counts and touches its nodes alone, without saying so.
    address = count(clerk, name="Pay", status="retries_exhausted").headers["location"]
    until(lambda: f"matches {len(failing)}" in clerk.get(address).text, "it is counted")
    # Below what is not well, which tells of clients that nobody works for.
    assert html.escape("of payers") not in onlooker.get("stuck?client=shop").text.partition("<h1>")[2]
    assert alien.get(address).status == 404
    assert boss.get(address).status == 200
    fields = {**clerk.hidden(address), "reason": "by the clerk"}
    assert alien.send(address, fields).status == 403
    assert clerk.send(address, {**fields, "reason": "x" * 501}).status == 400
    first, second = clerk.send(address, fields), clerk.send(address, fields)
    # Sent twice it is one job.
    job = first.headers["location"].partition("?")[0]
    assert job == second.headers["location"].partition("?")[0]
    until(lambda: "ended" in clerk.get(f"jobs/{job}").text, "the job has ended")
    assert alien.get(f"jobs/{job}").status == 404
    assert "by the clerk" in boss.get("jobs").text
    assert clerk.send(f"jobs/{job}", {**clerk.hidden(address), "reason": ""}).status == 403
    # Started again it is counted first, with the same filter.
    forms = re.findall(r'<form method="post" action="[^"]*jobs" aria-label="Start again">.*?</form>',
                       clerk.get(f"jobs/{job}").text, re.DOTALL)  # fmt: skip
    (again,) = map(hidden_fields, forms)
    assert again.keys() == {"form", "name", "status", "client"}
    recounted = clerk.send("jobs", {**again, "action": "retry"}).headers["location"]
    assert recounted != address
    until(lambda: "matches" in clerk.get(recounted).text, "it is counted again")
    assert "This is about nodes of <b>payers</b> named <b>Pay</b>" in clerk.get(recounted).text
    assert "Start again" not in onlooker.get(f"jobs/{job}").text
    for node in failing:
        user.wait_for(node, "sent_to_client")


def test_a_count_made_by_a_client_is_started_as_that_client(stack, bank, people):
    user, _ = bank
    client = add_client(stack.bootstrap_servers, "lender", partitions=2)
    other = User(Door(stack.http_urls[0], client.id), client, "")
    theirs = other.sent(subject="loan")["id"]
    user.sent(subject="payroll")
    body = {"action": "shutdown", "currentStatus": "sent_to_client", "response": {"by": "clerk"}, "dry_run": True}
    counted = user.door.post("/jobs", body).json["id"]
    clerk = people["clerk"]
    until(lambda: "Shut down these" in clerk.get(f"jobs/{counted}").text, "it is counted")
    answer = clerk.fill(f"jobs/{counted}", reason="ours alone")
    job = answer.headers["location"].partition("?")[0]
    until(lambda: "ended" in clerk.get(f"jobs/{job}").text, "the job has ended")
    assert other.node(theirs)["currentServerStatus"] == "sent_to_client"
    assert user.door.get(f"/jobs/{job}").json["response"] == {"by": "clerk"}
    assert other.door.get(f"/jobs/{job}").status == 404

    body = {"action": "pause", "workflowName": "order", "dry_run": True}
    counted = user.door.post("/jobs", body).json["id"]
    until(lambda: "The filter matches" in clerk.get(f"jobs/{counted}").text, "it is counted")
    assert "pause these" not in clerk.get(f"jobs/{counted}").text


def test_all_that_a_list_has_are_counted(stack, bank, tab):
    user, _ = bank
    top = user.sent(subject="list")["id"]
    user.decide(top, {"name": "Pay", "mode": "non_blocking"})
    assert user.say(top, "deciding_complete").status == 200
    desk, screen = Desk(stack.http_urls[0]), tab()
    listed = "nodes?client=payers&name=Pay"
    until(lambda: "All that match" in desk.get(f"{listed}&status=sent_to_client").text, "the list has it")
    for words, problem in (
        ("status=running", "does not ask for status running"),
        ("status=sent_to_client&tid=3f2a9c1", ""),
        ("status=sent_to_client&cause=0000000000000000", ""),
        ("", "once the search has a status now"),
    ):
        screen.open(f"{listed}&{words}")
        assert screen.page.get_by_label("All that match").count() == 0
        assert problem in shown(screen.page)
    screen.open(f"{listed}&status=sent_to_client&had=errored&since=2026-01-01&made_since=2026-01-01")
    screen.follow(screen.page.get_by_label("All that match").get_by_role("button", name="Cancel…"))
    screen.page.wait_for_url("**/ui/jobs/*")
    until(
        lambda: "The filter matches" in desk.get(screen.page.url.partition("/ui/")[2]).text,
        "counted",
    )
    assert "nodes of payers named Pay at with its client had status" in shown(screen.page)
    assert "made since 2026-01-01T00:00:00.000Z" in shown(screen.page)


def test_all_workflows_that_a_list_has_are_paused_and_resumed(stack, story, tab):
    client = add_client(stack.bootstrap_servers, "hotel", partitions=2)
    user = User(Door(stack.http_urls[0], client.id), client, "")
    workflows = [user.workflow(subject=f"stay {number}") for number in range(3)]
    for workflow in workflows:
        user.sent(workflow=workflow)
    screen, desk = tab(), Desk(stack.http_urls[0])
    until(lambda: "stay 2" in desk.get("workflows?client=hotel").text, "the list has them")
    for words, problem in (
        ("", "once the search has one filter beside the client"),
        ("&text=stay&status=running", "does not ask for status running"),
    ):
        address = f"workflows?client=hotel{words}"
        until(lambda a=address, p=problem: p in re.sub("<[^>]*>", "", desk.get(a).text), problem)
    for action, is_paused in (("Pause", True), ("Resume", False)):
        screen.open("workflows?client=hotel&text=stay&made_since=2026-01-01")
        screen.follow(screen.page.get_by_label("All that match").get_by_role("button", name=f"{action}…"))
        counted = screen.page.url.partition("/ui/")[2]
        until(lambda counted=counted: "The filter matches 3" in desk.get(counted).text, "counted")
        screen.page.reload()
        assert "workflows of hotel whose subject contains stay" in shown(screen.page)
        assert screen.page.get_by_role("button", name="Cancel…").count() == 0
        screen.follow(screen.page.get_by_role("button", name=f"{action} these"))
        job = screen.page.url.partition("/ui/")[2]
        until(lambda job=job: "ended" in desk.get(job).text, "the job has ended")
        assert {user.door.get(f"/workflows/{workflow['id']}").json["paused"] for workflow in workflows} == {is_paused}
    assert screen.complaints == []


def test_what_ends_nodes_asks_why_and_is_stopped(stack, bank):
    desk = Desk(stack.http_urls[0])
    address = count(desk, action="resolve", name="Nobody is called so", status="retries_exhausted").headers["location"]
    until(lambda: "Nothing matches any more" in desk.get(address).text, "it is counted")
    assert "Resolve these" not in desk.get(address).text
    address = count(desk, action="cancel", client="payers", status="sent_to_client").headers["location"]
    until(lambda: "Cancel these" in desk.get(address).text, "it is counted")
    fields = desk.hidden(address)
    assert desk.send(address, {**fields, "reason": " "}).status == 400
    answer = desk.send(address, {**fields, "reason": "over"})
    job = answer.headers["location"].partition("?")[0]
    until(lambda: "ended" in desk.get(f"jobs/{job}").text, "the job has ended")
    assert desk.get("jobs/00000000-0000-0000-0000-000000000000").status == 404
    assert desk.get("jobs/no-id").status == 404
