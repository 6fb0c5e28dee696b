"""The gateway does what its description says, and nothing else.

Schemathesis makes calls from the description, good ones and bad ones, and judges the answers: no server error; only the
statuses, media types, headers and schemas that are described; 405 for other methods, 401 without a caller; what the
description calls wrong is refused and what it calls right is done. What these calls leave out: see `is_let_pass`.

The same calls every time. Of those that say the same in another place only the first is made (`is_tried`); `make prove`
makes all of them. BACKBEAT_FUZZ_EXAMPLES=500 BACKBEAT_FUZZ_SEED=7 looks longer, and elsewhere.
"""

import itertools
import os
import re
import uuid
from collections import deque

import pytest
import requests
import schemathesis
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter
from schemathesis.core import NOT_SET
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation import GenerationMode
from schemathesis.generation.meta import TestPhase
from schemathesis.specs.openapi.adapter.security import has_effective_optional_auth
from schemathesis.specs.openapi.checks import ignored_auth, negative_data_rejection, positive_data_acceptance

from backbeat.gateway.api.routes import ROUTES
from backbeat.gateway.openapi import document
from backbeat.schemas import bodies
from backbeat.schemas.messages import commands, queries
from backbeat.schemas.messages.commands import AnyCommand
from backbeat.schemas.messages.queries import AnyQuery
from backbeat.streams.kafka.registration import add_client
from backbeat.transport.base import NOBODY
from tests.gateway.api.conftest import PARTITIONS
from tests.gateway.api.door import Door, User

pytest_plugins = ["schemathesis.pytest.plugin"]

EXAMPLES = int(os.environ.get("BACKBEAT_FUZZ_EXAMPLES", "6"))
SEED = int(os.environ.get("BACKBEAT_FUZZ_SEED", "1"))


class World:
    """A user with workflows and nodes in many states, for calls to meet."""

    def __init__(self, user: User, session: requests.Session) -> None:
        self.user = user
        self.session = session
        self.numbers = itertools.count()
        #: Calls that may have changed what was there for the next ones.
        self.changed = itertools.count()
        self.grown = itertools.count()
        #: What was tried of calls that cover the description.
        self.tried: set[tuple] = set()
        #: Signals and children of every state, each with its workflow's id.
        self.nodes = deque(maxlen=12)
        #: Signals that nobody has answered yet; and those that no call has met.
        self.sent, self.young = deque(maxlen=4), deque()
        for _ in range(12):
            self.grow()
        #: A node to link to, of a workflow that waits for nothing: links among the others could close a cycle.
        self.target: str = self.user.signal({"id": self.user.workflow()["id"]})["id"]
        self.job: str = self.user.door.post("/jobs", {"action": "retry", "all": True, "dry_run": True}).json["id"]

    def grow(self) -> None:
        """One more workflow, with a signal; what was made some time ago is with its client by now, and gets its lot."""
        number = next(self.grown)
        workflow = self.user.workflow()["id"]
        self.young.append((self.user.signal({"id": workflow}, metadata={"number": number})["id"], workflow))
        if len(self.young) < 4:
            return
        signal, workflow = self.young.popleft()
        status = ("completed", None, "errored", None, "canceled", None)[number % 6]
        if status is None:
            self.sent.append((signal, workflow))
        else:
            (child,) = self.user.decide(signal, {"name": "child"})
            self.user.say(signal, status)
            self.nodes.append((child, workflow))
        self.nodes.append((signal, workflow))

    def is_tried(self, case) -> bool:
        """Whether a call that says the same was made: in another branch of its schema, as a form, by the shorter path.

        A job's filter may be any of ten: without this two thirds of all calls are one call with another filter. A form
        becomes what JSON would have said; a signal is the same with its name in the path, a child within arguments;
        headers are taken before the path is looked at; of what a field may not be one value does. Examples and made-up
        calls are made of all of them.
        """
        if case.meta is None or case.meta.phase.name is not TestPhase.COVERAGE:
            return False
        how, mode = case.meta.phase.data, case.meta.generation.mode
        label, parameter, description = case.operation.label, how.parameter, str(how.description)
        if how.parameter_location is ParameterLocation.HEADER:
            label = None
        elif how.parameter_location is ParameterLocation.BODY:
            label, parameter = label.replace("/signal/{name}", "/signal"), None
            description = description.removeprefix("args -> ").removeprefix("Object with valid 'args' value: ")
        variant = [label, case.method, mode, parameter, description]
        if mode is GenerationMode.POSITIVE and case.media_type != document.FORM:
            self.tried.add(tuple(variant))
            body = case.body if isinstance(case.body, dict) else {}
            values = [body.get(name) for name in re.findall(r"\w+", f"{how.parameter} {how.description}")]
            variant += [len(body) if "subset" in description else None, repr(values)]
        tried = tuple(variant) in self.tried
        self.tried.add(tuple(variant))
        return tried

    def put_in(self, case) -> None:
        """Real ids where the call has made-up ones, which nobody has."""
        number = next(self.numbers)
        if case.method != "GET" and case.path_parameters and next(self.changed) % 5 == 0:
            self.grow()
        known = self.sent if number % 2 and case.method != "GET" else self.nodes
        node_id, workflow_id = known[number % len(known)]
        if "/messages/" in case.path:
            # One that was completed by another call takes none.
            workflow_id = self.user.workflow()["id"]
        path = case.path_parameters or {}
        if _is_uuid(path.get("id")):
            places = {"/workflows/": workflow_id, "/users/": self.user.id, "/jobs/": self.job}
            path["id"] = next((identity for place, identity in places.items() if place in case.path), node_id)
        ids = {
            "client_id": self.user.id,
            "parent_link_id": self.target,
            "last_id": node_id,
            "after": node_id,
            "workflow_id": workflow_id,
        }
        for content in (case.query, case.body):
            _put_in(ids, content)
        if case.media_type == bodies.MEDIA_TYPE and case.body is not NOT_SET:
            known = _records(case.path, node_id, workflow_id)
            case.body = bodies.write(known[number % len(known)])
        if case.path == "/jobs" and isinstance(case.body, dict) and _is_uuid(case.body.get("id")):
            # As with keys: the same one would be another job's.
            case.body["id"] = str(uuid.uuid4())
        if case.headers and case.headers.get("Idempotency-Key"):
            # Made up, they would soon be used for something else.
            case.headers["Idempotency-Key"] = f"{uuid.uuid4()}{case.headers['Idempotency-Key']}"[:255]


def _records(path: str, node_id: str, workflow_id: str) -> list[AnyCommand | AnyQuery]:
    """What may be sent to a path that takes records, about this node and workflow."""
    node, workflow, command_id = uuid.UUID(node_id).bytes, uuid.UUID(workflow_id).bytes, uuid.uuid4().bytes
    if path == "/commands":
        return [
            commands.RestartNode(id=command_id, node_id=node),
            commands.ScheduleNode(id=command_id, node_id=node),
            commands.ChangeNode(id=command_id, node_id=node, status="canceled"),
            commands.ChangeWorkflow(id=command_id, workflow_id=workflow, change="resume"),
            commands.StartJob(id=command_id, partition=0, action="retry", dry_run=True),
        ]
    common = {"reply_to": NOBODY, "deadline": 0}
    return [
        queries.GetNode(node_id=node, **common),
        queries.GetTree(workflow_id=workflow, **common),
        queries.GetHistory(node_id=node, **common),
        queries.GetLimits(partition=queries.ALL_PARTITIONS, **common),
        queries.GetJobs(partition=PARTITIONS - 1, **common),
    ]


# Whatever is generated, a record stands in its place.
schemathesis.openapi.media_type(bodies.MEDIA_TYPE, st.just(b"record"))


def _put_in(known, content) -> None:
    if isinstance(content, list):
        for part in content:
            _put_in(known, part)
    elif isinstance(content, dict):
        for name, value in content.items():
            if name in known and _is_uuid(value):
                content[name] = known[name]
            elif name == "client" and isinstance(value, str) and re.search(r"\S", value):
                content[name] = known["client_id"]
            elif name in _OF_A_SHAPE and isinstance(value, str) and re.fullmatch(_OF_A_SHAPE[name][0], value):
                content[name] = _OF_A_SHAPE[name][1]
            elif name in {"options", "args", "decisions"}:
                _put_in(known, value)


#: What has a shape that the description can say, and a meaning that it cannot: one that means something.
_OF_A_SHAPE = {
    "cron": (r"(?=.{,256}$)[0-9A-Za-z*,/#-]+( +[0-9A-Za-z*,/#-]+){4}", "30 2 * * *"),
    "zone": (r"(?=.{,64}$)[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", "Europe/Berlin"),
}


def _is_uuid(value) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", value))


def is_let_pass(case) -> bool:
    """Whether the rules of old clients take what the description calls wrong.

    - Null and blank text are as absent, whatever they should have been.
    - A body that is JSON but no object counts as empty; but not of the calls that old clients do not know.
    - Of a parameter that is given twice the last one counts; one that another outranks is not looked at.
    - A per_page that is no number is answered with an empty list.

    And what the description could not say well: text has no NUL, and a form no null; a page of children begins at one.
    """
    query, body = case.query or {}, case.body
    if "\\x00" in repr((query, body, case.path_parameters)):
        return True
    if case.media_type == document.FORM and _has_null(body):
        return True
    if any(isinstance(value, list) or _is_blank(value) for value in query.values()):
        return True
    if case.path.endswith(("/children", "/top")) and {"after", "first"} & query.keys():
        return True
    if "per_page" in query and not str(query["per_page"]).lstrip("-").isdigit():
        return True
    if body is NOT_SET:
        return False
    return _has_passed_over(body) if isinstance(body, dict) else case.path not in _NEW


_NEW = {route.path for route in ROUTES if route.new}


def _has_passed_over(content) -> bool:
    if not isinstance(content, dict):
        return False
    if any(_is_blank(value) for value in content.values()):
        return True
    if any(name in content and other in content for name, other in _OUTRANKS):
        return True
    if isinstance(content.get("options"), dict) and content.keys() & {"client_data", "metadata", "parent_link_id"}:
        return True
    return any(map(_has_passed_over, [content.get("args"), content.get("options"), *_list(content.get("decisions"))]))


_OUTRANKS = (("name", "workflow_type"), ("legacy_type", "type"), ("decisions", "args"))


def _has_null(content) -> bool:
    inside = content.values() if isinstance(content, dict) else _list(content)
    return content is None or any(map(_has_null, inside))


def _list(value) -> list:
    return value if isinstance(value, list) else []


def _is_blank(value) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


#: Neither a client nor a token of one.
STRANGER = "11111111-1111-4111-8111-111111111111"
#: Loopback addresses that nothing else calls from.
ADDRESSES = (f"127.0.{third}.{fourth}" for third in range(1, 250) for fourth in range(1, 250))


class FromAddress(HTTPAdapter):
    """Connections from one loopback address. Linux has all of 127.0.0.0/8."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *args, **kwargs):
        super().init_poolmanager(*args, source_address=(self._address, 0), **kwargs)


@pytest.fixture(scope="module")
def world(stack):
    client = add_client(stack.bootstrap_servers, f"user-{uuid.uuid4().hex[:12]}", partitions=PARTITIONS)
    user = User(Door(stack.http_urls[0], client.id), client, "")
    with requests.Session() as session:
        yield World(user, session)


def schema_of(*phases: str, examples: int = EXAMPLES) -> schemathesis.BaseSchema:
    schema = schemathesis.openapi.from_dict(document.build(ROUTES, "test"))
    schema.config.seed = SEED
    schema.config.phases.update(phases=list(phases))
    schema.config.phases.examples.fill_missing = True
    schema.config.generation.update(
        max_examples=examples,
        deterministic=True,
        database="none",
        # The caller is the test's own, see below; a call without one is tried by the check `ignored_auth`.
        with_security_parameters=False,
        # Unknown parameters of old clients' calls are passed over; of new ones: test_words.py.
        allow_extra_parameters=False,
    )
    return schema


@pytest.fixture
def node_id(request: pytest.FixtureRequest) -> None:
    # Schemathesis names its subtests through this attribute, which pytest has no more.
    request.node._nodeid = request.node.nodeid


@pytest.fixture
def all_calls(node_id) -> schemathesis.BaseSchema:
    return schema_of("examples", "coverage", "fuzzing")


@pytest.fixture
def many_calls(node_id) -> schemathesis.BaseSchema:
    return schema_of("examples", "coverage", "fuzzing", examples=max(EXAMPLES, 100))


@pytest.fixture
def examples(node_id) -> schemathesis.BaseSchema:
    return schema_of("examples")


# From fixtures: every process that collects tests would else make the calls of all of them.
EVERY_CALL = schemathesis.pytest.from_fixture("all_calls").exclude(deprecated=True)
MANY_CALLS = schemathesis.pytest.from_fixture("many_calls").exclude(deprecated=True)
EXAMPLE_CALLS = schemathesis.pytest.from_fixture("examples")


@EVERY_CALL.include(method="GET").parametrize()
def test_reading_does_what_is_said(case, world):
    # The check makes two more calls for each, with another caller and with none: once is enough, see above.
    if not world.is_tried(case):
        judge(case, world, ignored_auth)


@EVERY_CALL.exclude(method="GET").parametrize()
def test_writing_does_what_is_said(case, world):
    if not world.is_tried(case):
        judge(case, world, ignored_auth)


@pytest.mark.prove
@MANY_CALLS.parametrize()
def test_everything_does_what_is_said(case, world):
    judge(case, world, ignored_auth)


@EXAMPLE_CALLS.parametrize()
def test_examples_are_done_for_who_says_who_it_is_under_old_paths_too(case, world):
    # Instead of `ignored_auth`, whose wrong tokens all come from one address: more than it may try within a minute.
    judge(case, world, ignored_auth)
    refuses_strangers(case, world)


def refuses_strangers(case, world) -> None:
    secrets = {each.name: STRANGER for each in case.operation.security.iter_parameters()}
    if not secrets or has_effective_optional_auth(case.operation, case.operation.schema.raw_schema):
        return
    with requests.Session() as session:
        session.mount("http://", FromAddress(next(ADDRESSES)))
        for headers in ({}, *({name: secret} for name, secret in secrets.items())):
            response = case.call(base_url=world.user.door.url, headers=headers, session=session)
            assert response.status_code in {401, 403}, (case.operation.label, headers, response.text)


def judge(case, world, *left_out) -> None:
    world.put_in(case)
    how = {"base_url": world.user.door.url, "headers": {"Client-Id": world.user.id}, "session": world.session}
    if is_let_pass(case):
        left_out = (*left_out, negative_data_rejection, positive_data_acceptance)
    case.call_and_validate(**how, excluded_checks=list(left_out))
