"""`backbeat user` as an operator uses it, on a real Kafka."""

import json
import re
import uuid

import pytest
from click.testing import CliRunner, Result

from backbeat.compose.cli.program import backbeat
from backbeat.schemas.kafka import topics
from backbeat.schemas.kafka.client_registry import ClientRegistry, ClientRegistryError
from backbeat.schemas.kafka.clients import RegisteredClient, check_client, hash_token
from backbeat.schemas.kafka.topics import ensure_topics, topic_id
from backbeat.streams.kafka.registration import put_clients

pytestmark = pytest.mark.integration

HOOK = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def servers(kafka):
    ensure_topics(kafka, 2, 1, development=True)
    return kafka


@pytest.fixture
def user(servers, monkeypatch):
    monkeypatch.setenv("BACKBEAT_BOOTSTRAP_SERVERS", servers)

    def run(*arguments: str, given: str = "", **env: str) -> Result:
        return CliRunner().invoke(backbeat, ["user", *arguments], input=given, env=env)

    return run


def json_of(done: Result) -> dict:
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def registered(servers: str, name: str) -> RegisteredClient | None:
    with ClientRegistry(servers) as registry:
        return registry.by_name(name)


def test_added_user_is_shown_by_name_and_by_id_without_its_token(user, servers, unique):
    added = json_of(
        user("add", unique, "--activity-endpoint", f"{HOOK}/a", "--notification-endpoint", f"{HOOK}/n", "--json")
    )

    shown = json_of(user("show", unique, "--json"))
    assert json_of(user("show", added["id"])) == shown
    assert shown in json_of(user("list", "--json"))
    assert shown["delivery"] == "webhook"
    assert (shown["decision_endpoint"], shown["activity_endpoint"]) == (None, f"{HOOK}/a")
    assert added["token"] not in json.dumps(shown)
    assert registered(servers, unique).has_token(added["token"])
    assert not registered(servers, unique).has_token(added["token"] + "x")


@pytest.mark.parametrize(
    "url", ["http://shop_1:80/a?b=c", "https://127.0.0.1", "http://[::1]:8080/a", "http://user:word@shop.example./a"]
)
def test_endpoints_that_are_taken(url):
    check_client(RegisteredClient(id=str(uuid.uuid4()), name="shop", activity_endpoint=url, delivery="webhook"))


def test_user_without_endpoints_works_on_its_topic(user, servers, unique):
    assert json_of(user("add", unique, "--json"))["delivery"] == "topic"
    assert topic_id(servers, topics.signals_topic(unique))
    asked = json_of(user("add", f"{unique}-2", "--activity-endpoint", HOOK, "--delivery", "topic", "--json"))
    assert asked["delivery"] == "topic"


def test_a_user_is_shown_as_text(user, unique):
    identity = str(uuid.uuid4())
    added = user("add", unique, "--id", identity)

    assert re.fullmatch(rf"id     {identity}\nname   {unique}\nvia    topic\ntoken  \S{{43}}\n", added.stdout)
    assert "not shown again" in added.stderr
    assert f"{identity}  topic    {unique}\n" in user("list").stdout


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--activity-endpoint", "shop/activity"], "the activity endpoint 'shop/activity' is not an http:// or https"),
        (["--activity-endpoint", "ftp://shop/a"], "is not an http:// or https"),
        (["--activity-endpoint", "http://shop:http/a"], "is not an http:// or https"),
        (["--activity-endpoint", "http://shop..example/a"], "is not an http:// or https"),
        (["--activity-endpoint", "http://" + "x" * 64 + "/a"], "is not an http:// or https"),
        (["--activity-endpoint", "http://shop/a b"], "is not an http:// or https"),
        (["--activity-endpoint", HOOK, "--decision-endpoint", "http://"], "the decision endpoint 'http://' is not"),
        (["--activity-endpoint", "http://shop/" + "x" * 2_000], "at most 2000 are allowed"),
        (["--decision-endpoint", HOOK], "it has no activity endpoint"),
        (["--delivery", "webhook"], "it has no activity endpoint"),
        (["--id", "7"], "is not a valid UUID"),
    ],
)
def test_user_that_cannot_work_is_refused_and_not_added(user, servers, unique, options, why):
    done = user("add", unique, *options)

    assert done.exit_code != 0
    assert why in done.stderr
    assert registered(servers, unique) is None


def test_names_and_ids_are_unique(user, unique):
    added = json_of(user("add", unique, "--json"))

    same_name = user("add", unique)
    same_id = user("add", f"{unique}-2", "--id", added["id"])

    assert f"there is a client {unique!r} already" in same_name.stderr
    assert f"the id {added['id']} is client {unique!r}'s already" in same_id.stderr
    assert user("show", f"{unique}-2").exit_code == 1


def test_two_that_add_one_name_at_once(servers, unique):
    first, second = (RegisteredClient(id=str(uuid.UUID(int=number)), name=unique) for number in (1 << 100, 2 << 100))
    words = {"partitions": 1}
    with ClientRegistry(servers) as registry:
        # The second has read the registry before the first has written.
        put_clients(registry, [first], **words)
        before = registry.by_name
        registry.by_name = lambda name: None if registry.by_id(second.id_bytes) is None else before(name)
        with pytest.raises(ClientRegistryError, match="somebody else has just added"):
            put_clients(registry, [second], **words)

    assert registered(servers, unique) == first


def test_name_that_is_no_topic_name(user, servers, unique):
    name = f"{unique} & söhne"
    added = json_of(user("add", name, "--activity-endpoint", HOOK, "--json"))

    assert added["topic"] == f"backbeat.activities.{added['id']}"
    assert topic_id(servers, added["topic"])
    with pytest.raises(topics.TopicError):
        topic_id(servers, topics.signals_topic(added["id"]))
    assert "cannot be served on a topic" in user("set", name, "--activity-endpoint", "").stderr


def test_endpoints_change(user, unique):
    user("add", unique, "--activity-endpoint", f"{HOOK}/a", "--decision-endpoint", f"{HOOK}/d")

    changed = json_of(user("set", unique, "--activity-endpoint", f"{HOOK}/new", "--decision-endpoint", "", "--json"))
    assert (changed["activity_endpoint"], changed["decision_endpoint"]) == (f"{HOOK}/new", None)
    assert json_of(user("show", unique)) == changed
    assert json_of(user("set", unique, "--activity-endpoint", "", "--json"))["delivery"] == "topic"
    assert json_of(user("set", unique, "--activity-endpoint", HOOK, "--json"))["delivery"] == "webhook"
    moved = user("set", unique, "--delivery", "topic", "--json")
    assert json_of(moved)["activity_endpoint"] == HOOK
    assert f"that begins with what backbeat.activities.{unique} still holds" in moved.stderr
    assert "Nothing to change" in user("set", unique).stderr
    assert "is not an http:// or https" in user("set", unique, "--activity-endpoint", "shop").stderr
    assert "there is no client 'nobody'" in user("set", "nobody", "--activity-endpoint", HOOK).stderr


def test_a_new_token_replaces_the_old_one(user, servers, unique):
    old = json_of(user("add", unique, "--json"))["token"]

    new = json_of(user("rotate-token", unique, "--json"))["token"]

    assert not registered(servers, unique).has_token(old)
    assert registered(servers, unique).has_token(new)


def test_removed_user_is_gone_and_its_name_free(user, servers, unique):
    user("add", unique)

    assert user("remove", unique, given="n\n").exit_code == 1
    assert registered(servers, unique) is not None
    assert user("remove", unique, given="y\n").exit_code == 0
    assert registered(servers, unique) is None
    user("add", unique)
    assert user("remove", unique, "--yes").exit_code == 0
    assert "there is no client" in user("remove", unique, "--yes").stderr


def test_import_takes_ids_and_tokens_as_given(user, servers, unique):
    several = [
        {
            "key": f"k/{number}",
            "id": str(uuid.uuid4()),
            "name": f"{unique}-{number}",
            "auth_token": f"token-{number}",
            "decision_endpoint": f"{HOOK}/d" if number else None,
            "activity_endpoint": f"{HOOK}/a",
            "notification_endpoint": f"{HOOK}/n",
        }
        for number in range(3)
    ]
    answer = json_of(user("import", "-", given=json.dumps(several)))

    assert answer == {row["key"]: {"id": row["id"], "auth_token": row["auth_token"]} for row in several}
    assert registered(servers, f"{unique}-0") == RegisteredClient(
        id=several[0]["id"],
        name=f"{unique}-0",
        activity_endpoint=f"{HOOK}/a",
        notification_endpoint=f"{HOOK}/n",
        token_hash=hash_token("token-0"),
        delivery="webhook",
    )
    assert json_of(user("import", "-", given=json.dumps(several))) == answer
    made = json_of(user("import", "-", given=json.dumps([{"name": f"{unique}-new"}])))[f"{unique}-new"]
    assert registered(servers, f"{unique}-new").id == made["id"]
    assert registered(servers, f"{unique}-new").has_token(made["auth_token"])


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"name": "NAME", "id": "7"}, "the id '7' is no UUID"),
        ({"name": "NAME", "activity_endpoint": "x"}, "is not an http:// or https"),
        ({"id": str(uuid.uuid4())}, "this is no list of clients: Object missing required field `name`"),
        ({"name": "NAME", "delivery": "pigeon"}, "it must be topic or webhook"),
        ({"name": "NAME-0", "id": str(uuid.uuid4())}, "already"),
    ],
)
def test_import_is_all_or_none(user, servers, unique, bad, why):
    several = [{"name": f"{unique}-0"}, {key: value.replace("NAME", unique) for key, value in bad.items()}]

    done = user("import", "-", given=json.dumps(several))

    assert done.exit_code == 1
    assert why in done.stderr
    assert registered(servers, f"{unique}-0") is None


def test_user_from_the_environment(user, servers, unique):
    identity = str(uuid.uuid4())
    env = {"BACKBEAT_USER_ID": identity, "BACKBEAT_USER_NAME": unique, "BACKBEAT_CLIENT_URL": f"{HOOK}/"}

    added = json_of(user("from-environment", "--json", **env))
    again = json_of(user("from-environment", "--json", **{**env, "BACKBEAT_CLIENT_URL": "http://elsewhere"}))

    client = registered(servers, unique)
    assert (client.id, client.delivery) == (identity, "webhook")
    assert {client.decision_endpoint, client.activity_endpoint} == {f"{HOOK}/activity"}
    assert client.notification_endpoint == f"{HOOK}/notification"
    assert client.has_token(added["token"])
    assert "token" not in again
    assert user("from-environment", BACKBEAT_USER_ID="").exit_code == 0
    assert "no UUID" in user("from-environment", BACKBEAT_USER_ID="x").stderr
    other = user("from-environment", BACKBEAT_USER_ID=str(uuid.uuid4()), BACKBEAT_USER_NAME=f"{unique}-2")
    assert "BACKBEAT_CLIENT_URL is not set" in other.stderr


@pytest.mark.parametrize("command", ["add", "list", "show", "set", "rotate-token", "remove", "import"])
def test_each_command_shows_an_example(user, command):
    shown = CliRunner().invoke(backbeat, ["user", command, "--help"]).stdout

    assert re.search(rf"Examples?:\s+backbeat user {command}", shown), shown
