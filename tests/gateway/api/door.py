"""HTTP as a client of the gateway speaks it, and what tests say often."""

from __future__ import annotations

import contextlib
import http.client
import json
import urllib.parse
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backbeat.schemas import bodies
from backbeat.schemas.kafka.client_registry import RegisteredClient
from backbeat.schemas.messages.commands import AnyCommand
from backbeat.schemas.messages.queries import AnyQuery
from backbeat.schemas.messages.replies import ReplyRecord
from tests.waiting import until


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def replies(self) -> list[ReplyRecord]:
        """What a record is answered with."""
        assert (self.status, self.headers["content-type"]) == (200, bodies.MEDIA_TYPE), self
        replies, rest = [], self.body
        while rest:
            (length,) = bodies.LENGTH.unpack(rest[: bodies.LENGTH.size])
            end = bodies.LENGTH.size + length
            replies.append(bodies.read_reply(rest[bodies.LENGTH.size : end]))
            rest = rest[end:]
        assert [reply.part for reply in replies] == list(range(len(replies)))
        assert [reply.last for reply in replies] == [False] * (len(replies) - 1) + [True]
        return replies

    @property
    def answers(self) -> list[Any]:
        return [reply.answer for reply in self.replies]

    @property
    def error(self) -> tuple[int, str]:
        """Status and error class."""
        return self.status, self.json["errorClass"]

    @property
    def tid(self) -> str:
        return self.headers["x-backbeat-tid"]


class Door:
    """One gateway, called by one client (or by nobody)."""

    def __init__(self, url: str, client_id: str | None = None, token: str | None = None) -> None:
        self.url = url
        self._headers = {} if client_id is None else {"Client-Id": client_id}
        if token is not None:
            self._headers["Authorization"] = f'Token token="{token}"'

    def call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] = {}, *, seconds: float = 120.0
    ) -> Answer:
        """One call; a body of bytes goes as it is, any other value as JSON."""
        address = urllib.parse.urlsplit(self.url)
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=seconds)
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        kind = {} if sent is None else {"Content-Type": "application/json"}
        try:
            connection.request(method, path, sent, {**self._headers, **kind, **headers})
            response = connection.getresponse()
            content = response.read()
            return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, content)
        finally:
            connection.close()

    def lines(self, path: str, headers: Mapping[str, str] = {}) -> Iterator[str]:
        """The lines of a stream of events, as they come."""
        address = urllib.parse.urlsplit(self.url)
        with contextlib.closing(http.client.HTTPConnection(address.hostname, address.port, timeout=120)) as connection:
            connection.request("GET", path, headers={**self._headers, **headers})
            response = connection.getresponse()
            assert (response.status, response.headers["Content-Type"]) == (200, "text/event-stream"), response.read()
            for line in response:
                yield line.decode().rstrip()

    def get(self, path: str, **headers: str) -> Answer:
        return self.call("GET", path, headers=headers)

    def put(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.call("PUT", path, body, headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.call("POST", path, body, headers)

    def record(self, record: AnyCommand | AnyQuery | bytes, **headers: str) -> Answer:
        """A command or query as a record; bytes go where commands go."""
        path = "/queries" if isinstance(record, AnyQuery) else "/commands"
        body = record if isinstance(record, bytes) else bodies.write(record)
        return self.call("POST", path, body, {"Content-Type": bodies.MEDIA_TYPE, **headers})

    def form(self, path: str, pairs: Sequence[tuple[str, str]], method: str = "POST") -> Answer:
        body = urllib.parse.urlencode(pairs).encode()
        return self.call(method, path, body, {"Content-Type": "application/x-www-form-urlencoded"})


@dataclass(frozen=True)
class User:
    """A user, and the stories that tests begin with."""

    door: Door
    client: RegisteredClient
    token: str

    @property
    def id(self) -> str:
        return self.client.id

    def at(self, url: str, *, token: bool = False) -> Door:
        """The same user at another gateway."""
        return Door(url, self.id, self.token if token else None)

    # --- stories -----------------------------------------------------------------------------------------------------

    def workflow(self, **more: Any) -> dict[str, Any]:
        body = {"name": "order", "subject": uuid.uuid4().hex, "decider": "Decider", **more}
        answer = self.door.post("/workflows", body)
        assert answer.status == 201, answer
        return answer.json

    def signal(self, workflow: Mapping[str, Any] | None = None, name: str = "start", **more: Any) -> dict[str, Any]:
        """A signal, as it was answered."""
        workflow_id = (workflow or self.workflow())["id"]
        answer = self.door.post(f"/workflows/{workflow_id}/signal", {"name": name, **more})
        assert answer.status == 201, answer
        return answer.json

    def sent(self, **more: Any) -> dict[str, Any]:
        """A signal that is with its client."""
        node = self.signal(**more)

        def there() -> bool:
            status = self.node(node["id"])["currentServerStatus"]
            if status == "retrying":
                # The engine had not heard of this new user yet.
                self.door.put(f"/activities/{node['id']}/restart")
            return status == "sent_to_client"

        until(there, f"{node['id']} is sent_to_client")
        return node

    def wait_for(self, node_id: str, server_status: str) -> dict[str, Any]:
        def there() -> dict[str, Any] | None:
            node = self.node(node_id)
            return node if node["currentServerStatus"] == server_status else None

        return until(there, f"{node_id} is {server_status}")

    def node(self, node_id: str) -> dict[str, Any]:
        answer = self.door.get(f"/activities/{node_id}")
        assert answer.status == 200, answer
        return answer.json

    def say(self, node_id: str, status: str, response: Any = None) -> Answer:
        return self.door.put(f"/activities/{node_id}/status/{status}", {"response": response})

    def decide(self, node_id: str, *decisions: Mapping[str, Any]) -> list[str]:
        answer = self.door.post(f"/activities/{node_id}/decisions", {"decisions": decisions})
        assert answer.status == 201, answer
        return answer.json
