"""The commands for workflows and nodes, on a real engine with a gateway and a worker."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from datetime import timedelta

import psutil
import pytest
from click.testing import CliRunner
from confluent_kafka import Producer

from backbeat import Client, PlainClient, Worker, current
from backbeat.compose.cli.program import backbeat
from backbeat.compose.local.ports import free_port
from backbeat.compose.local.stack import Stack
from backbeat.errors import NotFound
from backbeat.schemas.messages.commands import StartJob
from backbeat.schemas.messages.jobs import JobFilter
from backbeat.streams.kafka.registration import add_client
from tests.waiting import until

pytestmark = pytest.mark.integration

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Where the gateway archives."""
    return tmp_path_factory.mktemp("archives").as_uri()


@pytest.fixture(scope="module")
def stack(kafka, archives):
    """An engine and a gateway on the Kafka that all tests share."""
    with Stack(
        ephemeral=True,
        bootstrap_servers=kafka,
        gateways=[["--archive-to", archives, "--archive-poll-seconds", "0.2"]],
        http_port=free_port(),
    ) as running:
        yield running


class Shop:
    """A client application with its worker, and the command line as its operator uses it."""

    def __init__(self, stack, name, worker):
        self.stack, self.name, self.worker = stack, name, worker
        self.may_end = threading.Event()
        self.ready = threading.Event()
        self.env = {
            "BACKBEAT_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
            "BACKBEAT_GATEWAY": stack.http_urls[0],
            "BACKBEAT_CLIENT": name,
            "BACKBEAT_TIMEOUT_SECONDS": "30",
        }

    def __call__(self, *arguments, given="", code=0, **env):
        """What a command printed; it must end with this exit code."""
        done = CliRunner().invoke(backbeat, arguments, input=given, env={**self.env, **env})
        assert done.exit_code == code, f"{done.output}\n{done.exception!r}"
        return done

    def lines(self, *arguments, **how):
        """What a command said in lines of JSON."""
        return [json.loads(line) for line in self(*arguments, "--json", **how).stdout.splitlines()]

    def signal(self, subject, name, *args, **options):
        """A node that something is to be done with."""
        made = self.client.signal("Sale", subject, name, args=args, **options)
        return asyncio.run_coroutine_threadsafe(made, self.loop).result(120).id

    def wait_for(self, node_id, status):
        """The node, once it is so."""

        def there():
            node = self.node(node_id)
            return node if node.status == status else None

        return until(there, f"{node_id} is {status}")

    def node(self, node_id):
        """A node as it is now."""
        return asyncio.run_coroutine_threadsafe(self.client.node(node_id), self.loop).result(120)

    async def work(self):
        """The worker, and a client for what the tests look up."""
        self.loop = asyncio.get_running_loop()
        async with Client(self.stack.bootstrap_servers, self.name, timeout=120) as self.client:
            self.ready.set()
            await self.worker.run(handle_signals=False)

    def failed(self, subject):
        """A node whose retries are exhausted."""
        node_id = self.signal(subject, "Fail", f"no {subject}", retries=0)
        self.wait_for(node_id, "retries_exhausted")
        return node_id

    def process(self, *arguments, **how):
        env = {**os.environ, **self.env}
        return subprocess.Popen(
            [sys.executable, "-m", "backbeat.compose", *arguments], env=env, text=True, stdout=subprocess.PIPE, **how
        )


@pytest.fixture(scope="module")
def shop(stack):
    name = "shop-of-commands"
    add_client(stack.bootstrap_servers, name, partitions=1)
    worker = Worker(stack.bootstrap_servers, client=name)
    made = Shop(stack, name, worker)

    @worker.activity("Buy")
    async def buy(camera):
        current().add("Reserve", camera)
        current().add("Wait", mode="non_blocking")

    @worker.activity("Reserve")
    async def reserve(camera):
        return {"reserved": camera}

    @worker.activity("Wait")
    def wait():
        assert made.may_end.wait(120)

    @worker.activity("Fail")
    async def fail(why):
        raise ValueError(f"{why} \x1b[31m")

    @worker.on_error
    async def tell(activity, error):
        pass

    thread = threading.Thread(target=lambda: asyncio.run(made.work()))
    thread.start()
    try:
        assert made.ready.wait(120)
        yield made
    finally:
        made.may_end.set()
        worker.stop()
        thread.join(120)


def test_a_signal_by_name_and_subject_and_the_tree_of_what_it_did(shop):
    shop.may_end.set()
    result = shop("signal", "Sale", '{"camera": 1}', "Reserve", "--args", '{"camera": "one"}', "--wait")
    node_id = result.stderr.strip()
    (node,) = shop.lines("node", "show", node_id)

    assert json.loads(result.stdout) == {"reserved": "one"}
    assert (node["status"], node["subject"], node["client_data"]["params"]) == (
        "complete",
        {"camera": 1},
        {"camera": "one"},
    )
    assert "Reserve complete" in shop("workflow", "tree", node["workflow_id"]).stdout
    assert shop.lines("workflow", "show", "Sale", '{"camera":1}')[0]["nodes_by_status"] == {"complete": 1}
    assert "Reserve complete" in shop("workflow", "tree", "Sale", '{"camera": 1}', "--no-ids").stdout


def test_a_repeat_with_a_key_is_the_same_node(shop):
    words = ["signal", "Sale", "key", "Later", "--at", "1h", "--key", "k", "--json"]
    again = [json.loads(shop(*words).stdout)["id"] for _ in range(2)]

    assert again[0] == again[1]
    assert "was used before" in shop("signal", "Sale", "key", "Another", "--key", "k", code=1).stderr


def test_signals_on_standard_input(shop):
    lines = [{"workflow": "Lines", "subject": number, "name": "Later", "at": "1h"} for number in range(5)]
    given = "\n".join(map(json.dumps, lines))
    ids = shop("signal", "-", given=given).stdout.split()

    assert len(set(ids)) == 5
    assert shop.wait_for(ids[4], "started").subject == 4
    assert "line 1: 'name' is missing" in shop("signal", "-", given='{"workflow":"a","subject":1}', code=1).stderr
    assert (
        "knows no 'retrys': did you mean `retry`?"
        in shop("signal", "-", given='{"workflow":"a","subject":1,"name":"b","retrys":1}', code=1).stderr
    )


def test_a_signal_is_sent_when_its_line_comes_not_when_the_input_ends(shop):
    line = {"workflow": "Lines", "subject": "as they come", "name": "Later", "at": "1h"}
    refused = {"workflow": "Lines", "subject": "none", "name": "Later", "link": str(uuid.uuid4())}
    # Over HTTP it is the command's own event loop that sends.
    env = {name: value for name, value in shop.env.items() if name != "BACKBEAT_BOOTSTRAP_SERVERS"}
    pipe = subprocess.PIPE

    def taken(node_id):
        def there():
            with contextlib.suppress(NotFound):
                return shop.node(node_id).subject

        return until(there, f"{node_id} is there")

    command = [sys.executable, "-m", "backbeat.compose", "signal", "-"]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=os.environ | env) as process:
        for fields in (line, refused):
            process.stdin.write(json.dumps(fields) + "\n")
            process.stdin.flush()
        assert taken(process.stdout.readline().strip()) == "as they come"
        # What is refused is said at once, too, and the rest goes on.
        assert "did not take 1 of the published signals" in process.stderr.readline()
        process.stdin.write(json.dumps(line | {"subject": "after that"}) + "\n")
        process.stdin.flush()
        process.stdout.readline()
        assert taken(process.stdout.readline().strip()) == "after that"
        # It ends when it is told to, though no line comes and no end.
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 1
        assert "Traceback" not in process.stderr.read()


def test_a_tree_is_followed_until_all_of_it_is_closed(shop):
    shop.may_end.clear()
    node_id = shop.signal("followed", "Buy", 703)
    (workflow,) = shop.lines("workflow", "show", "Sale", "followed")
    seen = {}
    with shop.process("workflow", "tree", workflow["id"], "--follow", "--json") as process:
        for line in process.stdout:
            change = json.loads(line)
            seen.setdefault(change["name"], []).append(change["status"])
            if seen.get("Wait") == ["sent_to_client"]:
                shop.may_end.set()

    assert process.returncode == 0
    assert {name: statuses[-1] for name, statuses in seen.items()} == dict.fromkeys(
        ("Buy", "Reserve", "Wait"), "complete"
    )
    assert node_id in shop("workflow", "tree", workflow["id"], "--follow").stdout
    with shop.process("workflow", "follow", workflow["id"], "--after", "0", "--json") as process:
        first = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
    assert list(first) == ["id", "node_id", "name", "status", "before", "at", "progress", "note"]
    assert (first["node_id"], first["name"], first["status"]) == (node_id, "Buy", "started")
    drawn = shop("workflow", "tree", workflow["id"], "--fold", "--no-ids").stdout.splitlines()
    assert drawn == ['Sale "followed"', "└── Buy complete (2 below)"]


def test_workflows_are_paused_resumed_completed_and_cancelled(shop):
    shop.signal("flags", "Later", at=HOUR)
    shop.signal("flags", "Later")
    assert shop("workflow", "pause", "Sale", "flags").stdout.endswith("  paused\n")
    assert shop.lines("workflow", "show", "Sale", "flags")[0]["paused"]
    shop("workflow", "resume", "Sale", "flags")
    assert not shop.lines("workflow", "show", "Sale", "flags")[0]["paused"]
    assert "Cancel 2 nodes of 'Sale'?" in shop("workflow", "cancel", "Sale", "flags", given="n\n", code=1).stderr
    cancelled = shop.lines("workflow", "cancel", "Sale", "flags", "--yes")
    (tree,) = shop.lines("workflow", "tree", "Sale", "flags")

    assert [row["done"] for row in cancelled] == [True, True]
    # The second never began because the first was canceled.
    assert [(node["status"], node["attempt"]) for node in tree["children"]] == [("deactivated", 0)] * 2
    shop("workflow", "close", "Sale", "flags")
    assert "complete" in shop("signal", "Sale", "flags", "Later", code=1).stderr


def test_a_cancel_over_a_gateway_starts_nothing(shop):
    shop.signal("queue", "Later", at=HOUR)
    for _ in range(40):
        shop.signal("queue", "Later")
    cancelled = shop.lines("workflow", "cancel", "Sale", "queue", "--yes", "--gateway", shop.stack.http_urls[0])
    (tree,) = shop.lines("workflow", "tree", "Sale", "queue")
    assert [row["done"] for row in cancelled] == [True] * 41
    assert {(node["status"], node["attempt"]) for node in tree["children"]} == {("deactivated", 0)}


@pytest.mark.parametrize("way", ["kafka", "gateway"])
def test_a_change_of_a_canceled_node_is_refused(shop, way):
    options = ["--gateway", shop.stack.http_urls[0]] if way == "gateway" else []
    node_id = shop.signal(f"canceled, {way}", "Later", at=HOUR)
    for _ in range(2):
        shop("node", "cancel", node_id, *options)
    for change in (["retry"], ["resolve"], ["shutdown"], ["reset"], ["start-next"], ["answer", "--result", "1"]):
        refused = shop("node", change[0], node_id, *change[1:], *options, code=1)
        assert "is deactivated: it was canceled, reset or passed over, and never runs again" in refused.stderr


def test_a_failed_node_and_what_can_be_done(shop):
    node_id = shop.failed("errors")
    shown = shop("node", "show", node_id)
    (error,) = shop.lines("node", "errors", node_id)

    assert "retries_exhausted" in shown.stdout
    # What somebody else wrote does not reach the terminal as it is.
    assert r"ValueError: no errors \x1b[31m" in shown.stdout
    assert "\x1b" not in shown.stdout + shop("node", "errors", node_id).stdout
    assert error["message"].startswith("ValueError: no errors")
    assert error["traceback"][1].endswith(", in fail")
    history = [(change["status_type"], change["to_status"]) for change in shop.lines("node", "history", node_id)]
    assert history[-2:] == [("current_client_status", "errored"), ("current_server_status", "retries_exhausted")]
    shop("node", "retry", node_id)
    until(lambda: shop.wait_for(node_id, "retries_exhausted").attempt == 2, "it was tried again")
    assert shop.lines("node", "resolve", node_id, "--response", "by hand") == [{"id": node_id, "done": True}]
    assert shop.lines("node", "history", node_id)[-1]["to_status"] == "complete"
    refused = shop("node", "retry", node_id, code=1)
    assert f"{node_id}  refused: Cannot transition" in refused.stderr


def test_a_node_is_answered_by_hand(shop):
    shop.may_end.clear()
    held, given_up = shop.signal("by hand", "Wait"), shop.signal("by hand too", "Wait")
    for node_id in (held, given_up):
        shop.wait_for(node_id, "sent_to_client")
    shop("node", "answer", held, "--result", '{"ok": true}')
    shop("node", "answer", given_up, "--error", "no longer wanted", "--final")

    assert shop.wait_for(held, "complete")
    assert shop.wait_for(given_up, "retries_exhausted").retries_remaining == 6
    assert shop.lines("node", "errors", given_up)[0]["message"].endswith("no longer wanted")
    assert "give --result or --error" in shop("node", "answer", held, "--result", "1", "--error", "x", code=2).stderr
    shop.may_end.set()
    outcome = shop("workflow", "outcome", "Sale", "by hand too").stdout
    assert "failed" in outcome and "failed with an error that is not retried" in outcome  # noqa: PT018 - one text
    assert json.loads(shop("workflow", "outcome", "Sale", "by hand", "--json").stdout)["state"] == "done"
    shop("node", "cancel", given_up)
    assert "Sale" in shop("workflow", "names").stdout.splitlines()


def test_shutdown_cancel_reset_and_deactivate(shop):
    shop.may_end.clear()
    failed, after = shop.failed("steps"), shop.signal("steps", "Later")
    shop("node", "shutdown", failed)
    assert shop.wait_for(after, "deactivated")
    bought = shop.signal("more", "Buy", 1)
    shop.wait_for(bought, "processing_children")
    shop("node", "reset", bought)
    shop("node", "start-next", bought)
    shop.wait_for(bought, "complete")
    old, new = shop.signal("more", "Later", at=HOUR), shop.signal("more", "Later")
    shop("node", "deactivate-previous", new)
    shop.wait_for(old, "deactivated")
    assert shop.node(bought).status == "deactivated"
    shop("node", "cancel", new)
    shop.wait_for(new, "deactivated")
    shop.may_end.set()


def test_schedules_are_made_shown_paused_run_and_deleted(shop):
    shop.may_end.set()
    made = shop(
        *("schedule", "create", "nightly", "Sale", "night of {scheduled_at}", "Reserve"),
        *("--cron", "30 2 * * *", "--zone", "Europe/Berlin", "--args", '{"camera": "one"}', "--retries", "1"),
    ).stdout
    assert "30 2 * * * Europe/Berlin" in made
    assert "0 started, 0 skipped, 0 missed" in made
    (hourly,) = shop.lines("schedule", "create", "hourly", "Sale", "703", "Reserve", "--every", "1h", "--paused")
    assert (hourly["every_seconds"], hourly["subject"], hourly["next_runs"]) == (3600.0, 703, [])
    shown = shop("schedule", "list").stdout.splitlines()
    assert [line.split()[0] for line in shown] == ["NAME", "hourly", "nightly"]
    assert "paused" in shown[1]

    assert shop("schedule", "pause", "nightly", "--note", "the bank is closed").stdout == "nightly is paused\n"
    assert "the bank is closed" in shop("schedule", "show", "nightly").stdout
    assert shop.lines("schedule", "resume", "nightly") == [{"name": "nightly", "done": "resumed"}]
    for _ in range(2):
        shop("schedule", "trigger", "nightly", "--key", "by hand")
    filled = shop("schedule", "backfill", "nightly", "2026-03-28", "2026-03-30", "--overlap", "allow").stdout
    assert "2026-03-29 01:00:00Z" in filled

    def ended():
        (schedule,) = shop.lines("schedule", "show", "nightly")
        return schedule if len(schedule["past"]) == 3 else None

    schedule = until(ended, "all three have ended")
    assert [run["cause"] for run in schedule["past"]].count("backfill") == 2
    assert {run["state"] for run in schedule["past"]} == {"ended"}
    assert shop.lines("node", "show", schedule["past"][0]["node_id"])[0]["status"] == "complete"

    for name in ("nightly", "hourly"):
        shop("schedule", "delete", name)
    assert "There is none" in shop("schedule", "list").stderr
    assert "What to do" in shop("schedule", "show", "nightly", code=1).stderr
    assert "Bad minute" in shop(*["schedule", "create", "a", "b", "c", "d", "--cron"], "61 * * * *", code=1).stderr
    assert "--cron or --every" in shop(*["schedule", "create", "a", "b", "c", "d"], code=2).stderr


def test_searches_lists_and_pipes(shop):
    ids = {shop.failed(f"piped {number}") for number in range(3)}
    shop.signal("piped 0", "Later", at=HOUR, metadata={"shop": 17})
    rows = shop.lines("search", "nodes", "--status", "retries_exhausted", "--name", "Fail", "--since", "1h", "--all")
    by_metadata = shop.lines("search", "nodes", "--metadata", '"shop":17')
    listed = shop.lines("workflow", "list", "--subject", "piped", "--limit", "2")

    assert ids <= {node["id"] for node in rows}
    assert [node["metadata"] for node in by_metadata] == [{"shop": 17}]
    (explained,) = shop.lines("search", "nodes", "--metadata", '"shop":17', "--why")
    (wait,) = explained["waits"]
    assert wait["sentence"].startswith("waits for “Fail” before it")
    assert wait["sentence"] in shop("search", "nodes", "--metadata", '"shop":17', "--why").stdout
    assert [row["subject"] for row in listed] == ["piped 2", "piped 1"]
    older = shop.lines("search", "workflows", "--subject", "piped", "--older-than", listed[-1]["id"])
    assert [row["subject"] for row in older] == ["piped 0"]
    failing = ["search", "nodes", "--status", "failing", "--made-since", "1h", "--name", "Fail"]
    assert ids <= {node["id"] for node in shop.lines(*failing, "--all")}
    assert shop(*failing, "--count", "--count-max", "2").stdout == "2+\n"
    assert shop.lines(*failing, "--count", "--made-until", "1h") == [{"count": 0, "more": False}]
    tid = rows[0]["tid"]
    assert {node["tid"] for node in shop.lines("search", "nodes", "--tid", tid)} == {tid}
    of_workflow = shop.lines("search", "nodes", "--workflow-id", rows[0]["workflow_id"])
    assert {node["workflow_id"] for node in of_workflow} == {rows[0]["workflow_id"]}
    assert shop("search", "workflows", "--tid", tid, "--count").stdout == "1\n"
    for beside in (["--older-than", rows[0]["id"]], ["--quiet"], ["--why"]):
        assert f"leave out {beside[0]}" in shop("search", "nodes", "--count", *beside, code=2).stderr
    assert "There is none" in shop("search", "nodes", "--slot", "Fail", "--slot-key", "x").stderr
    quiet = shop("search", "nodes", "--status", "retries_exhausted", "--quiet").stdout
    shop("node", "resolve", "-", given=quiet)
    as_json = shop("search", "nodes", "--status", "resolved", "--json", "--all").stdout
    assert {node["status"] for node in shop.lines("node", "show", "-", given=as_json)} == {"complete"}
    assert shop("search", "nodes", "--status", "retries_exhausted").stderr == "There is none.\n"
    for command in (["node", "retry"], ["workflow", "pause"]):
        assert shop(*command, "-", given="").output == "", "of none nothing is done"


def test_a_person_asks_the_gateway_alone(shop):
    token = json.loads(shop("person", "add", "kim", "--role", "operator", "--payloads", "--json").stdout)["token"]
    # Nothing listens there: whatever asks Kafka fails.
    kim = {"BACKBEAT_PERSON": "kim", "BACKBEAT_TOKEN": token, "BACKBEAT_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    of_all = {**kim, "BACKBEAT_CLIENT": None}
    node = shop.failed("a person")

    assert "say" in shop("node", "retry", node, code=1, **of_all).stderr
    shop("node", "retry", node, "--reason", "INC-771", **of_all)
    until(lambda: len(shop.lines("node", "errors", node, **of_all)) == 2, "it has failed again")
    (entry,) = shop.lines("audit", "list", "--by", "kim", "--limit", "1", **of_all)
    assert (entry["way"], entry["reason"], entry["outcome"]) == ("http", "INC-771", "done")

    assert {row["state"] for row in shop.lines("engines", **of_all)} == {"ready"}
    assert node in {row["id"] for row in shop.lines("search", "nodes", "--status", "failing", "--all", **of_all)}
    assert int(shop("search", "nodes", "--status", "failing", "--count", **of_all).stdout) >= 1
    assert any("a person" in row["cause"] for row in shop.lines("causes", **of_all))
    assert shop("stats", **of_all).stdout
    assert "default_timeout_seconds" in shop("settings", "show", **of_all).stdout
    assert "over Kafka alone" in shop("settings", "set", "children_max=500", code=1, **of_all).stderr
    shop("retention", "set", shop.name, "Gone", "--keep", "30d", "--reason", "less to keep", **of_all)
    policies = {(row["client"], row["workflow"]) for row in shop.lines("retention", "list", **of_all)}
    assert (shop.name, "Gone") in policies
    shop("retention", "remove", shop.name, "Gone", "--reason", "all of it", **of_all)
    assert shop.lines("archive", "list", **of_all) is not None
    note = ["--note", "by a person"]
    ended = shop("retry", "--where", f"client={shop.name}", "--where", "name=Nobody", "--yes", *note, **of_all)
    assert "0 nodes match" in ended.stderr
    assert isinstance(shop.lines("job", "list", **of_all), list)
    # Of one client application, by its name.
    for command in (["signal", "Sale", "a person", "Fail"], ["workflow", "send", "Sale", "a person", "approval"]):
        assert "give --reason" in shop(*command, code=1, **kim).stderr
    stranger = {**of_all, "BACKBEAT_TOKEN": "wrong"}
    assert "does not know this client or person" in shop("search", "nodes", "--count", code=1, **stranger).stderr
    shop("limit", "set", "Later", "--concurrency", "3", "--reason", "gently", **kim)
    assert [row["activity"] for row in shop.lines("limit", "list", **kim)] == ["Later"]
    shop("limit", "remove", "Later", "--reason", "at will", **kim)
    add_client(shop.stack.bootstrap_servers, "unheard", partitions=1)
    for name, reasons in ((shop.name, ["at will", "gently"]), ("unheard", [])):
        rows = shop.lines("audit", "list", "--by", "kim", "--client", name, "--limit", "2", **of_all)
        assert [row["reason"] for row in rows] == reasons


def test_a_person_settles_dead_letters(shop):
    token = json.loads(shop("person", "add", "lee", "--role", "operator", "--payloads", "--json").stdout)["token"]
    lee = {"BACKBEAT_PERSON": "lee", "BACKBEAT_TOKEN": token, "BACKBEAT_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    lee["BACKBEAT_CLIENT"] = None
    producer = Producer({"bootstrap.servers": shop.stack.bootstrap_servers})
    producer.produce(f"backbeat.signals.{shop.name}", b"{")
    assert producer.flush(60) == 0
    of_shop = ["--client", shop.name]
    (letter,) = until(lambda: shop.lines("dead-letters", "list", *of_shop, **lee), "it is refused")
    assert letter == shop.lines("dead-letters", "list", *of_shop)[0]
    position = letter["position"]
    assert shop.lines("dead-letters", "show", position, **lee) == shop.lines("dead-letters", "show", position)
    assert shop("dead-letters", "show", position, **lee).stdout == shop("dead-letters", "show", position).stdout
    (tried,) = shop.lines("dead-letters", "drop", position, "--dry-run", **lee)
    assert (tried["position"], tried["done"]) == (position, False)
    refusal = shop("dead-letters", "drop", position, code=1, **lee).stderr
    assert "a person says why" in refusal
    assert "Drop 1" not in refusal, "nobody is asked what is refused anyhow"
    (dropped,) = shop.lines("dead-letters", "drop", *of_shop, "--yes", "--note", "a test", **lee)
    assert (dropped["position"], dropped["done"], dropped["error"]) == (position, True, None)
    assert (
        "was dropped already" in shop("dead-letters", "redrive", position, "--yes", "--note", "x", code=1, **lee).stderr
    )
    assert shop.lines("dead-letters", "list", *of_shop, **lee) == []


def test_what_the_command_line_does_on_kafka_is_in_the_audit(shop):
    node = shop.failed("an audit")
    shop("node", "retry", node, "--as", "ann", "--reason", "the bank is back")
    until(lambda: len(shop.lines("node", "errors", node)) == 2, "it has failed again")
    (entry,) = shop.lines("audit", "list", "--by", "ann", "--of", node)
    assert [entry[name] for name in ("way", "action", "kind", "reason", "outcome")] == [
        "cli", "retry", "node", "the bank is back", "done",
    ]  # fmt: skip
    shop("node", "resolve", node, code=0, USER="bea")
    shop("node", "resolve", node, code=1, USER="bea")
    refused, done = shop.lines("audit", "list", "--by", "bea", "--of", node)
    assert (done["outcome"], refused["outcome"]) == ("done", "refused: some, or all")
    shop("limit", "set", "Later", "--concurrency", "3", USER="bea")
    shop("limit", "remove", "Later", USER="bea")
    actions = [row["action"] for row in shop.lines("audit", "list", "--by", "bea", "--limit", "2")]
    assert actions == ["unlimit", "limit"]


def test_stuck_says_why_since_when_and_when_it_is_tried_again(shop):
    failed = shop.failed("stuck")
    retrying = shop.signal("stuck too", "Fail", "slow", retries=3, backoff=HOUR)
    shop.wait_for(retrying, "retrying")
    shop.wait_for(shop.signal("stuck three", "Reserve", 1), "complete")
    shop("workflow", "pause", "Sale", "stuck three")
    paused = shop.signal("stuck three", "Later")
    shop.wait_for(paused, "paused")

    (cause,) = (row for row in shop.lines("causes") if row["cause"].startswith("ValueError: no stuck"))
    assert (cause["activity"], cause["nodes"]["retries_exhausted"], cause["nodes"]["retrying"]) == ("Fail", 1, 0)
    assert "ValueError: no stuck" in shop("causes", "--limit", "1000").stdout
    assert [row["id"] for row in shop.lines("search", "nodes", "--cause", cause["id"])] == [failed]
    assert cause["id"] not in {row["id"] for row in shop.lines("causes", "--kind", "retrying")}
    (group,) = (row for row in shop.lines("causes", "--by", "workflow") if row["subject"] == "stuck")
    assert (group["workflow"], group["nodes"]["retries_exhausted"]) == ("Sale", 1)
    assert 'Sale "stuck"' in shop("causes", "--by", "workflow", "--kind", "exhausted").stdout
    assert {row["activity"] for row in shop.lines("causes", "--by", "activity")} >= {"Fail"}
    rows = {row["id"]: row for row in shop.lines("stuck", "--for", "0s")}
    assert (rows[failed]["kind"], rows[failed]["next_retry_at"]) == ("exhausted", None)
    assert rows[failed]["why"].startswith("ValueError: no stuck")
    assert (rows[retrying]["kind"], rows[retrying]["next_retry_at"]) == ("retrying", rows[retrying]["due_at"])
    assert (rows[paused]["kind"], rows[paused]["why"]) == ("inconsistent", "its workflow is paused")
    assert paused not in shop("stuck").stdout
    assert failed in shop("stuck", "--kind", "exhausted", "--exit-code", code=1).stdout
    assert shop("stuck", "--name", "Nobody", "--exit-code").stderr == "Nothing is stuck.\n"
    shop("workflow", "resume", "Sale", "stuck three")
    shop("node", "cancel", failed, retrying, paused)


def test_all_that_match_are_changed_at_once(shop):
    ids = [shop.failed(f"bulk {number}") for number in range(4)]
    where = ["--where", "name=Fail", "--where", "subject=bulk", "--where", "error=no bulk"]
    counted = shop("retry", *where, "--dry-run")
    assert "4 nodes match; nothing was changed" in counted.stderr
    assert all(row in counted.stdout for row in ids)
    assert "say --yes" in shop("retry", *where, code=2).stderr
    assert "--where status=" in shop("cancel", *where, code=2).stderr

    assert shop("retry", *where, "--yes").stdout.splitlines()[-1] == "4 done, 0 refused, of 4."
    for node_id in ids:
        until(lambda node_id=node_id: shop.wait_for(node_id, "retries_exhausted").attempt == 2, "it was tried again")

    *_, done = shop.lines("resolve", *where, "--yes", "--response", '{"by": "me"}')
    assert (done["state"], done["done"], done["refused"]) == ("done", 4, 0)
    assert sorted(row["id"] for row in done["matches"]) == sorted(ids)
    assert shop.lines("node", "history", ids[0])[-3]["response"] == {"by": "me"}
    assert "0 nodes match" in shop("retry", *where, "--yes").stderr
    # What is matched and cannot be changed is named, and the exit code says so.
    refused = shop("retry", *where, "--where", "status=resolved", "--yes", code=1)
    assert refused.stdout.splitlines()[-1] == "0 done, 4 refused, of 4."
    assert f"{ids[0]}  refused: Cannot transition" in refused.stderr


def test_a_job_is_started_shown_listed_and_stopped(shop):
    shop.signal("paused by a job", "Later", at=HOUR)
    where = ["--where", "workflow=Sale", "--where", "subject=paused by a job"]
    started = shop("job", "start", "pause", *where, "--yes")
    job_id = started.stdout.splitlines()[-1]
    assert f"backbeat job show {job_id} --follow" in started.stderr
    assert "pause is about workflows" in shop("job", "start", "pause", "--where", "name=x", "--yes", code=1).stderr

    until(lambda: shop.lines("job", "show", job_id)[0]["state"] == "done", "the job is done")
    shown = shop("job", "show", job_id, "--follow").stdout
    assert "workflow=Sale subject=paused by a job" in shown
    assert shop.lines("workflow", "show", "Sale", "paused by a job")[0]["paused"] is True
    rows = {row["id"]: row for row in shop.lines("job", "list")}
    assert (rows[job_id]["action"], rows[job_id]["matched"], rows[job_id]["done"]) == ("pause", 1, 1)
    assert job_id in shop("job", "list").stdout
    assert shop("job", "stop", job_id).stdout == "1 done, 0 refused, of 1.\n"
    assert shop.lines("job", "stop", job_id) == [rows[job_id]]
    assert "There is no job" in shop("job", "stop", "0" * 32, code=1).stderr
    everybodys = ("--where", f"client={shop.name}", "--where", "name=nothing", "--all-clients")
    assert "0 nodes match" in shop("retry", *everybodys, "--dry-run").stderr
    jobs = shop.lines("job", "list", "--all-clients")
    (counted,) = [job for job in jobs if "client_id" in job["filters"] and job["filters"].get("name") == "nothing"]
    assert "There is no job" in shop("job", "show", counted["id"], code=1).stderr
    assert "client_id=" in shop("job", "show", counted["id"], "--all-clients").stdout


def test_a_job_that_some_partitions_were_not_asked_for_is_told_of_and_completed(shop):
    identity = uuid.uuid4()
    # Whoever started it died after the first.
    command = StartJob(
        id=identity.bytes,
        user_id=shop.client._session.user_id,
        partition=0,
        action="retry",
        filter=JobFilter(name="nothing"),
    )
    sent = shop.client._session.transport.command(command, 30, "job", key="job")
    asyncio.run_coroutine_threadsafe(sent, shop.loop).result(120)
    assert f"start it again as it was, with --id {identity}" in shop("job", "show", str(identity)).stderr

    # Whoever watches it and leaves is told that it goes on.
    watching = shop.process("job", "show", str(identity), "--follow", "--json", stderr=subprocess.PIPE)
    assert json.loads(watching.stdout.readline())["state"] == "partial"
    watching.send_signal(signal.SIGINT)
    _, stderr = watching.communicate(timeout=120)
    assert (watching.returncode, "Traceback" in stderr) == (1, False), stderr
    assert f"The job goes on. To watch it: backbeat job show {identity} --follow" in stderr

    again = shop("job", "start", "retry", "--where", "name=nothing", "--id", str(identity), "--yes")
    assert again.stdout == f"{identity}\n"
    until(lambda: shop.lines("job", "show", str(identity))[0]["state"] == "done", "the job is done")


def test_exit_codes(shop, monkeypatch):
    nobody = str(free_port())

    assert "What to do" in shop("node", "show", "0" * 32, code=1).stderr
    assert "is no id" in shop("node", "retry", "one", code=2).stderr
    no_gateway = shop("search", "nodes", "--gateway", f"http://127.0.0.1:{nobody}", code=3)
    assert "--gateway" in no_gateway.stderr
    monkeypatch.setattr("backbeat.compose.cli.commands.signal._TELL_SECONDS", 0.1)
    waited = shop("signal", "Sale", "codes", "Later", "--at", "1h", "--wait-for", "0.3s", code=4)
    waiting, given_up = (line for line in waited.stderr.splitlines() if "was not complete within" in line)
    assert waiting.startswith("Still waiting: ")
    assert given_up.startswith("Error: ")
    assert "backbeat node show" in given_up
    assert "Traceback" not in no_gateway.stderr + waited.stderr


def test_as_a_process_with_the_gateway_only(shop):
    node_id = shop.signal("a process", "Later", at=HOUR)
    env = {name: value for name, value in shop.env.items() if name != "BACKBEAT_BOOTSTRAP_SERVERS"}
    command = [sys.executable, "-m", "backbeat.compose", "node", "cancel", node_id]
    done = subprocess.run(command, env={**os.environ, **env}, text=True, capture_output=True, check=False)

    assert (done.returncode, done.stdout) == (0, f"{node_id}  canceled\n"), done.stderr
    shop.wait_for(node_id, "deactivated")


def test_limits_are_set_shown_paused_resumed_and_removed(shop):
    assert "No activity is limited" in shop("limit", "list").stderr
    assert "--concurrency, --rate or both" in shop("limit", "set", "Reserve", code=2).stderr
    assert "no rate" in shop("limit", "set", "Reserve", "--rate", "often", code=1).stderr
    shop("limit", "set", "Reserve", "--concurrency", "2", "--rate", "100/min", "--burst", "9", "--key", "subject")
    shop("limit", "pause", "Reserve")
    node_id = shop("signal", "Sale", "limited", "Reserve", "--arg", "x", "--priority", "1").stdout.strip()
    (node,) = shop.lines("node", "show", node_id)
    assert (node["status"], node["priority"], node["waits_for_slot"]) == ("started", 1, True)
    assert "waits until the activity “Reserve” is resumed: backbeat limit show" in shop("node", "show", node_id).stdout
    assert [wait["kind"] for wait in node["waits"]] == ["limit_paused"]
    (top,) = shop.lines("node", "children", node["workflow_id"])
    assert (top["id"], top["wait"]["kind"]) == (node_id, "limit_paused")
    assert "waits until the activity" in shop("node", "path", node_id).stdout
    assert shop.lines("node", "children", node_id) == []
    (limit,) = shop.lines("limit", "list")
    (pool,) = limit["pools"]
    assert (limit["activity"], limit["paused"], limit["out"], limit["waiting"]) == ("Reserve", True, 0, 1)
    assert (pool["key"], pool["waiting_by_priority"]["1"]) == ("limited", 1)
    listed = shop("limit", "list").stdout
    assert "100/min (burst 9)" in listed
    assert "paused" in listed
    shown = shop("limit", "show", "Reserve").stdout
    assert "Reserve: 2 at once, 100/min, paused; a priority higher after 5 min" in shown
    assert '"limited"  0    1        1 0 0 0 0' in shown
    shop("limit", "resume", "Reserve")
    shop.wait_for(node_id, "complete")
    shop("limit", "remove", "Reserve")
    assert "has no limit" in shop("limit", "show", "Reserve", code=1).stderr


# --- retention and archives ------------------------------------------------------------------------------------------


def test_a_finished_workflow_is_archived_and_removed_and_its_subject_begins_again(shop, archives):
    shop.may_end.set()
    with PlainClient(shop.stack.http_urls[0], shop.name, timeout=120) as client:
        _pass_twice(shop, archives, client)


def _pass_twice(shop, archives, client):
    node = client.signal("Passing", 703, "Buy", args=["new"])
    node.result(120)
    (workflow,) = shop.lines("workflow", "show", "Passing", "703")
    shop("retention", "set", shop.name, "Passing", "--keep", "1s", "--refuse", "1h")
    (policy,) = (row for row in shop.lines("retention", "list") if row["client"] == shop.name)
    assert policy == {
        "client": shop.name,
        "workflow": "Passing",
        "keep_seconds": 1.0,
        "archive": True,
        "refuse_seconds": 3600.0,
        "partitions": "all",
    }

    (name,) = until(lambda: _names(shop, archives), "the workflow is archived")
    assert name.startswith(f"{shop.name}/Passing/")
    until(lambda: "No workflow has the id" in _said(shop, "workflow", "show", workflow["id"]), "it is removed")
    assert shop.lines("search", "workflows", "--name", "Passing") == []
    assert shop.lines("search", "nodes", "--name", "Buy", "--metadata", "Passing") == []

    file = f"{archives}/{name}"
    nodes = {row["name"]: row for row in shop.lines("archive", "show", file)}
    assert nodes["Buy"]["id"] == node.id
    assert [change["to_status"] for change in nodes["Buy"]["history"]][-1] == "complete"
    assert nodes["Reserve"]["history"][-2]["response"]["result"] == {"reserved": "new"}
    (tree,) = shop.lines("archive", "tree", file)
    assert [child["name"] for child in tree["children"][0]["children"]] == ["Reserve", "Wait"]
    assert "Reserve complete" in shop("archive", "tree", file).stdout

    # The client knows the workflow, and makes it again all the same.
    assert client.signal("Passing", 703, "Buy", args=["newer"]).id != node.id
    until(lambda: len(_names(shop, archives)) == 2, "the next one of the subject is archived, too")
    shop("retention", "remove", shop.name, "Passing")
    assert [row for row in shop.lines("retention", "list") if row["client"] == shop.name] == []
    assert "There is no policy" in shop("retention", "remove", shop.name, "Passing", code=1).output


def _names(shop, archives):
    return [row["name"] for row in shop.lines("archive", "list", archives, "--client", shop.name)]


def _said(shop, *arguments):
    return CliRunner().invoke(backbeat, arguments, env=shop.env).output


def test_an_archiver_of_its_own_ends_when_it_is_told_to(shop, tmp_path):
    shop("archive", "run", "--to", tmp_path.as_uri(), "--once")
    with shop.process("archive", "run", "--to", tmp_path.as_uri()) as process:
        assert process.stdout.readline() == "backbeat archive ready\n"
        process.terminate()
        assert process.wait(120) == 0
    assert "is no URL of a store" in shop("archive", "run", "--to", "ftp://x", code=1).output


# --- a worker from a shell -------------------------------------------------------------------------------------------

_WORKER = """
import asyncio
from pathlib import Path

from backbeat import Worker, activity

@activity("Wait")
async def wait():
    Path("begun").touch()
    try:
        while not Path("go").exists():
            await asyncio.sleep(0.02)
    except asyncio.CancelledError:
        Path("cut off").touch()
        raise
    return "through"

worker = Worker("127.0.0.1:1", "nobody", activities=[wait])
"""


@contextlib.contextmanager
def worker_process(shop, folder, *arguments):
    """`backbeat worker` as somebody types it in a folder, in a terminal of its own."""
    how = {"cwd": folder, "stderr": subprocess.STDOUT, "start_new_session": True}
    with shop.process("worker", *arguments, "--log-format", "text", **how) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def said_until(process, *words):
    """The lines that come, until all these words have come, in any order."""
    output = ""
    for line in process.stdout:
        output += line
        if all(word in output for word in words):
            return output
    raise AssertionError(f"ended without {words!r}:\n{output}")


@pytest.fixture
def shell_client(shop):
    """A client application that only the worker of one test serves."""
    name = f"shell-{uuid.uuid4().hex[:8]}"
    add_client(shop.stack.bootstrap_servers, name, partitions=1)
    return name


def test_a_worker_runs_as_it_is_told_and_lets_end_what_has_begun(shop, shell_client, tmp_path):
    (tmp_path / "shell_wait.py").write_text(_WORKER)
    # The Worker names a Kafka that is not there and a client application that nobody knows.
    with (
        worker_process(shop, tmp_path, "shell_wait:worker", "--client", shell_client, "--concurrency", "3") as process,
        PlainClient(shop.stack.bootstrap_servers, shell_client, timeout=120) as client,
    ):
        said_until(process, f"ready: client {shell_client}, Kafka at {shop.stack.bootstrap_servers}, activities: Wait")
        node = client.signal("Shell", 1, "Wait")
        until((tmp_path / "begun").exists, "it has begun")
        process.terminate()
        said_until(process, "stopping: 1 activities may end within 30 s")
        (tmp_path / "go").touch()
        assert node.result(120) == "through"
        said_until(process, "stopped")
        assert process.wait(120) == 0


def test_a_worker_that_cannot_run_says_why_with_its_exit_code(shop, tmp_path):
    (tmp_path / "shell_plain.py").write_text(_WORKER)
    for arguments, code, words in (
        (("shell_plain", "--client", "shop-of-command"), 1, "There is no client 'shop-of-command'"),
        (("shell_plain:wrker",), 2, "Did you mean 'worker'?"),
        (("shell_plain", "--bootstrap-servers", f"127.0.0.1:{free_port()}"), 3, "does not answer"),
    ):
        with worker_process(shop, tmp_path, *arguments) as process:
            output, _ = process.communicate(timeout=120)
            assert (process.returncode, words in output) == (code, True), output


def test_a_worker_is_started_anew_when_a_file_changes_and_ctrl_c_ends_it_once(shop, shell_client, tmp_path):
    module = tmp_path / "shell_reload.py"
    module.write_text(_WORKER)
    arguments = ("shell_reload:wait", "--client", shell_client, "--reload")
    with (
        worker_process(shop, tmp_path, *arguments) as process,
        PlainClient(shop.stack.bootstrap_servers, shell_client, timeout=120) as client,
    ):
        said_until(process, "activities: Wait")
        module.write_text(_WORKER + "\nx = (\n")
        said_until(process, "Changed: shell_reload.py")
        assert "SyntaxError" in said_until(process, "The next change of a file starts it")
        module.write_text(_WORKER.replace('"Wait"', '"Wait again"'))
        said_until(process, "activities: Wait again")
        # What has begun may end, though Ctrl-C reaches parent and child: a second signal would not wait.
        node = client.signal("Shell", 2, "Wait again")
        until((tmp_path / "begun").exists, "it has begun")
        os.killpg(process.pid, signal.SIGINT)
        said_until(process, "Stopping the worker", "stopping: 1 activities")
        (tmp_path / "go").touch()
        said_until(process, "stopped")
        assert process.wait(120) == 0
        assert not (tmp_path / "cut off").exists()
        assert node.result(120) == "through"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux ends it")
def test_a_worker_does_not_outlive_what_reloads_it(shop, shell_client, tmp_path):
    (tmp_path / "shell_orphan.py").write_text(_WORKER)
    with worker_process(shop, tmp_path, "shell_orphan", "--client", shell_client, "--reload") as process:
        said_until(process, "ready: ")
        (child,) = psutil.Process(process.pid).children()
        process.kill()
        said_until(process, "stopped")
        child.wait(120)
