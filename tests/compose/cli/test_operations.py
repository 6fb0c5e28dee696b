"""What an operator runs, on a real engine and gateway: stats, the daily report, top, dead letters.

One story is told to one client application, and all reports are about it. What takes seconds to be refused is published
first.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer

from backbeat.compose.local.ports import free_port
from backbeat.schemas.codec import encode_command
from backbeat.schemas.kafka.topics import COMMANDS, DEAD_LETTERS, client_topics, ensure_client_topics
from backbeat.schemas.messages.commands import CloseLink
from backbeat.schemas.messages.values import Source
from backbeat.streams.kafka.registration import add_client
from tests.empty_kafka import group_of, stack_on
from tests.gateway.api.door import Door, User
from tests.waiting import until

pytestmark = pytest.mark.integration

PARTITIONS = 2
#: A client application that is added in the middle of its story.
NEW = "new-shop"
START_SECONDS_MAX = 180.0


@pytest.fixture(scope="module")
def stack(kafka):
    running = stack_on(kafka, partitions=PARTITIONS, http_port=free_port(), gateways=[["--queue-log-seconds", "1"]])
    try:
        yield running.start(START_SECONDS_MAX)
    finally:
        running.stop()


@pytest.fixture(scope="module")
def environment(stack):
    """Where the stack is, and nothing of whoever runs the tests."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith("BACKBEAT_")}
    return ours | {
        "BACKBEAT_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "BACKBEAT_GATEWAY": stack.http_urls[0],
        "BACKBEAT_APPLICATION_ID": group_of(stack),
    }


@pytest.fixture(scope="module")
def program(environment):
    """Runs the program as a process, and gives what it printed."""

    def backbeat(*arguments: str) -> str:
        command = [sys.executable, "-m", "backbeat.compose", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=environment).stdout

    return backbeat


@pytest.fixture(scope="module")
def run(environment):
    """The same in this process: all of the command line but the start of Python. With an error, that is given too."""

    def backbeat(*arguments: str, code: int = 0, stdin: str = "", **env: str) -> str:
        from backbeat.compose.cli.program import backbeat

        unset = {key: None for key in os.environ if key.startswith("BACKBEAT_") and key not in environment}
        done = CliRunner().invoke(backbeat, arguments, input=stdin, env=unset | environment | env)
        assert done.exit_code == code, f"{done.output}\n{done.exception!r}"
        return done.stdout if code == 0 else done.output

    return backbeat


@pytest.fixture(scope="module")
def publish(stack):
    """Publishes signals on a client's topic."""
    producer = Producer({"bootstrap.servers": stack.bootstrap_servers})

    def send(client: str, document: object, **headers: str) -> None:
        producer.produce(
            f"backbeat.signals.{client}",
            key=b"k",
            value=json.dumps(document).encode(),
            partition=1,
            headers=[(name.replace("_", "-"), value.encode()) for name, value in headers.items()],
        )
        assert producer.flush(120) == 0

    return send


@pytest.fixture(scope="module")
def client(stack):
    """The client application that all of it is about."""
    return add_client(stack.bootstrap_servers, "shop", partitions=PARTITIONS)


@pytest.fixture(scope="module", autouse=True)
def published(stack, client, publish):
    """Records that are refused: of a client that is not there yet, and two that lack something."""
    ensure_client_topics(stack.bootstrap_servers, client_topics(NEW, PARTITIONS))
    publish(NEW, {"workflow": "W", "subject": NEW, "decider": "D", "signal": "start"}, backbeat_tid="t-1", own="x")
    publish(client.name, {"workflow": "W", "subject": 1})
    publish(client.name, {"workflow": "W", "subject": 2})


@pytest.fixture(scope="module")
def story(stack, client) -> User:
    """Five nodes: one completed, one waits for its retry, one has no retry left, one is at work, one is for later."""
    user = User(Door(stack.http_urls[0], client.id), client, "")
    first, second, third = user.sent(name="pay"), user.sent(name="pay"), user.sent(name="pay", retry=0)
    user.sent(name="ship")
    user.say(first["id"], "completed")
    user.say(second["id"], "errored")
    user.say(third["id"], "errored")
    user.signal(name="later", fires_at="2099-01-01T00:00:00Z")
    return user


def rows(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def ours(rows_of_all: list[dict]) -> list[dict]:
    return [row for row in rows_of_all if row["client"] == "shop"]


# --- stats -----------------------------------------------------------------------------------------------------------


def test_stats_count_what_is_there(run, program, story):
    stats = json.loads(run("stats", "--json"))

    assert stats["trouble"] == []
    (flow,) = ours(stats["workflows"])
    assert (flow["workflow"], flow["workflows"], flow["open"]) == ("order", 5, 4)
    nodes = {"scheduled": 1, "sent_to_client": 1, "complete": 1, "retrying": 1, "retries_exhausted": 1}
    assert flow["nodes"] == nodes
    activities = {row["activity"]: row for row in ours(stats["activities"])}
    assert activities["pay"]["nodes"] == {"complete": 1, "retrying": 1, "retries_exhausted": 1}
    assert [activities[name]["waiting"] for name in ("later", "pay", "ship")] == [1, 0, 0]
    assert [activities["pay"][name] for name in ("running", "retrying", "failing")] == [0, 1, 1]
    assert {row["kind"]: row["ahead"] for row in stats["timers"]} == {"start": 1, "retry": 1, "deadline": 1}
    (queue,) = ours(stats["queues"]["activities"])
    # Nobody has taken what was sent: four activities, and the notification of the one that failed for good.
    assert (queue["group"], queue["waiting"]) == (None, 5)
    assert len(stats["queues"]["commands"]["partitions"]) == PARTITIONS
    assert set(stats["projection_lag"]) == {"0", "1"}

    shown = program("stats")
    assert [title for title in ("Workflows", "Activities", "Timers", "Queues") if f"\n{title}\n" not in shown] == []
    assert re.search(r"^backbeat.activities.shop +nobody +5$", shown, re.MULTILINE)


def test_stats_from_the_database_and_without_a_gateway(run, stack, story, tmp_path):
    story.door.get("/workflows/names")  # the projection has all of it now
    database = f"sqlite:///{stack.data_dir / 'gateway-1' / 'projection.sqlite'}"

    stats = json.loads(run("stats", "--json", "--database-url", database, BACKBEAT_GATEWAY="http://127.0.0.1:1"))
    assert len(ours(stats["activities"])) == 3

    less = run("stats", BACKBEAT_GATEWAY="http://127.0.0.1:1", code=3)
    assert "Lag by partition" in less
    assert "Error: The gateway http://127.0.0.1:1 cannot be asked" in less
    assert "\nWorkflows\n" not in less

    (tmp_path / "empty.sqlite").touch()
    not_whole = run("report", "daily", "--database-url", f"sqlite:///{tmp_path / 'empty.sqlite'}", code=3)
    assert "is not whole. What to do: see `backbeat projection status`" in not_whole
    nowhere = run("top", "--once", "--database-url", f"sqlite:///{tmp_path / 'none.sqlite'}", code=1)
    assert "There is no projection in" in nowhere


def test_queue_sizes_are_logged(stack, story):
    log = stack.data_dir / "log" / "gateway-1.log"
    until(lambda: "backbeat.activities.shop for nobody 5" in log.read_text(), "it is in the log")
    assert re.search(r"queue sizes: commands \d+, signals \d+, nodes with clients \d+, ", log.read_text())


# --- the daily report ------------------------------------------------------------------------------------------------


def test_a_day_as_it_was(run, program, story):
    def report(*more: str) -> dict:
        return (ours(json.loads(run("report", "daily", "--json", *more))["workflows"]) or [{}])[0]

    today = report()
    assert (today["workflow"], today["completed"], today["failed_attempts"]) == ("order", 1, 2)
    assert (today["out_of_retries"], today["inconsistent"]) == (1, 0)
    # Without a moment's patience, what is with its client is stuck, and what has no retries left.
    assert report("--stuck-hours", "0")["inconsistent_by_status"] == {"retries_exhausted": 1, "sent_to_client": 1}
    assert report("--since", "2001-01-01", "--until", "2001-01-02") == {}
    assert "<td" in program("report", "daily", "--html")
    output = run("report", "daily", "--mail-to", "ops@example.org", "--smtp-port", str(free_port()), code=3)
    assert "The mail server 127.0.0.1:" in output


# --- top -------------------------------------------------------------------------------------------------------------


def test_top_shows_what_is_at_work(run, story):
    top = json.loads(run("top", "--once", "--json", "--window-seconds", "1000"))

    shown = {row["activity"]: row for row in ours(top["activities"])}
    assert (shown["ship"]["running"], shown["ship"]["completed_per_second"]) == (1, 0)
    pay = shown["pay"]
    assert (pay["failing"], pay["completed_per_second"], pay["errored_per_second"]) == (1, 0.001, 0.002)
    assert "shop" in run("top")
    assert "cannot be asked" in run("top", BACKBEAT_GATEWAY="http://127.0.0.1:1", code=3)


# --- dead letters ----------------------------------------------------------------------------------------------------


def letters(run, client: str, *more: str, count: int = 1) -> list[dict]:
    """So many dead letters of a client, as they are listed."""

    def enough() -> list[dict] | None:
        listed = rows(run("dead-letters", "list", "--client", client, "--json", *more))
        return listed if len(listed) >= count else None

    return until(enough, f"{count} dead letters of {client}")


def test_a_letter_goes_back_once_its_cause_is_mended(run, program, publish, stack):
    (letter,) = letters(run, NEW)
    assert letter["reason"] == f"unknown client {NEW}"
    assert letter["source"] == f"backbeat.signals.{NEW} 1@0"

    shown = run("dead-letters", "show", letter["position"])
    assert "header own" in shown
    assert 'subject = "' + NEW in shown
    assert json.loads(program("dead-letters", "show", letter["position"], "--raw"))["signal"] == "start"
    whole = json.loads(run("dead-letters", "show", letter["position"], "--json"))
    assert (whole["kind"], whole["content"]["decider"], whole["key"]) == ("SignalRequest", "D", "k")

    client = add_client(stack.bootstrap_servers, NEW, partitions=PARTITIONS)
    tried = rows(run("dead-letters", "redrive", "--client", NEW, "--dry-run", "--json"))
    assert [(outcome["position"], outcome["done"]) for outcome in tried] == [(letter["position"], False)]
    assert "nothing was done" in run("dead-letters", "redrive", letter["position"], code=1, stdin="n\n")
    (done,) = rows(run("dead-letters", "redrive", "--client", NEW, "--yes", "--json", "--note", "mended"))
    assert (done["done"], done["went_to"]) == (True, f"backbeat.signals.{NEW} 1@1")

    door = Door(stack.http_urls[0], client.id)
    workflows = until(lambda: door.get(f"/workflows/search?subject={NEW}").json, "the workflow is there")
    assert run("dead-letters", "list", "--client", NEW) == ""
    (kept,) = letters(run, NEW, "--state", "redriven")
    assert (kept["mark"]["note"], kept["mark"]["went_to"]) == ("mended", done["went_to"])
    assert "was redriven already" in run("dead-letters", "redrive", letter["position"], code=1)

    # Sent in once more, as after a kill before the mark: the engine has it already.
    run("dead-letters", "redrive", letter["position"], "--again", "--yes")
    publish(NEW, {"workflow": "W", "subject": NEW, "decider": "D", "signal": "after"})

    def signals() -> list[str]:
        return [node["name"] for node in door.get(f"/workflows/{workflows[0]['id']}/children").json]

    until(lambda: "after" in signals(), "what came later")
    assert signals() == ["start", "after"]


def test_a_redriven_letter_that_is_refused_again_comes_back_and_can_be_dropped(run, client):
    first, second = letters(run, client.name, count=2)
    assert first["reason"] == "missing field `decider`"
    listed = run("dead-letters", "list", "--client", client.name)
    where = f"{first['position']}  {first['at']}  backbeat.signals.{client.name} 1@0"
    assert listed.startswith(f'{where}\n    missing field `decider`\n    b\'{{"workflow": "W", "subject": 1}}\'\n')

    run("dead-letters", "redrive", first["position"], "--yes")
    _, again = letters(run, client.name, count=2)
    assert (again["times_redriven"], again["reason"]) == (1, first["reason"])
    assert again["source"].endswith(" 1@2")

    (page,) = letters(run, client.name, "--last", "1")
    assert page["position"] == again["position"]
    older = rows(run("dead-letters", "list", "--client", client.name, "--json", "--before", again["position"]))
    assert [letter["position"] for letter in older] == [second["position"]]

    run("dead-letters", "drop", "--client", client.name, "--reason", "DECIDER", "--limit", "1", "--yes")
    assert [letter["position"] for letter in letters(run, client.name)] == [again["position"]]
    run("dead-letters", "drop", "--client", client.name, "--yes")
    assert run("dead-letters", "list", "--client", client.name) == ""
    states = [letter["state"] for letter in letters(run, client.name, "--state", "all", count=3)]
    assert states == ["redriven", "dropped", "dropped"]


def test_a_letter_that_cannot_be_redriven_stays_and_says_why(run, stack, unique):
    producer = Producer({"bootstrap.servers": stack.bootstrap_servers})
    source = [("backbeat-source-topic", f"backbeat.signals.{unique}"), ("backbeat-source-partition", "0")]
    producer.produce(DEAD_LETTERS, value=b"x", headers=[("backbeat-error", "odd"), *source])
    # A record whose own headers make it look like the mark of another is a letter all the same.
    marks = [("backbeat-marks", "0"), ("backbeat-outcome", "dropped")]
    producer.produce(DEAD_LETTERS, value=b"y", headers=[*marks, ("backbeat-error", "sly"), *source])
    assert producer.flush(120) == 0

    waiting = letters(run, unique, count=2)
    output = run("dead-letters", "redrive", "--client", unique, "--yes", code=1)

    assert [letter["reason"] for letter in waiting] == ["odd", "sly"]
    assert output.count(f"stays: there is no topic backbeat.signals.{unique} any more") == 2
    assert "2 of 2 wait on." in output
    assert len(letters(run, unique)) == 2
    assert "give positions, or filters, or --all" in run("dead-letters", "redrive", code=2)
    assert "there is no dead letter 0@99999" in run("dead-letters", "drop", "0@99999", code=1)
    assert "is no position" in run("dead-letters", "show", "last", code=2)


def test_a_command_of_an_engine_is_not_redriven_as_it_would_be_taken_for_a_repeat(run, stack, unique):
    producer = Producer({"bootstrap.servers": stack.bootstrap_servers})
    command = CloseLink(id=uuid.uuid4().bytes, source=Source(0, 7, 1), target_id=bytes(16), child_id=bytes(16))
    headers = [("backbeat-source-topic", COMMANDS), ("backbeat-source-partition", "0"), ("backbeat-error", unique)]
    producer.produce(DEAD_LETTERS, value=encode_command(command), headers=headers)
    assert producer.flush(120) == 0
    until(lambda: rows(run("dead-letters", "list", "--reason", unique, "--json")), "the letter is there")

    output = run("dead-letters", "redrive", "--reason", unique, "--yes", code=1)

    assert "stays: it is a command of an engine's own, which engines would take for a repeat. What to do: " in output
    (waiting,) = rows(run("dead-letters", "list", "--reason", unique, "--json"))
    assert waiting["state"] == "waiting"
