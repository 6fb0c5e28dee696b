"""`backbeat person` as an operator uses it, on a real Kafka; what people may do then: tests/gateway/console."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from backbeat.compose.cli.program import backbeat
from backbeat.gateway.people.person import People
from backbeat.schemas.kafka.client_registry import ClientRegistry
from backbeat.schemas.kafka.topics import ensure_topics
from backbeat.streams.kafka.registration import add_client
from tests.waiting import until

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def servers(kafka):
    ensure_topics(kafka, 2, 1, development=True)
    with People(kafka).follower as follower:
        # A topic that was just made has no leader yet.
        until(lambda: follower.catch_up(60), "people can be read")
    return kafka


def test_the_clients_are_read_once_for_everybody_who_is_listed(servers, monkeypatch):
    def run(*words: str) -> str:
        done = CliRunner().invoke(backbeat, ["person", *words, "--bootstrap-servers", servers])
        assert done.exit_code == 0, done.output
        return done.stdout

    reads: list[ClientRegistry] = []
    start = ClientRegistry.start

    def counted(registry: ClientRegistry, *seconds: float) -> ClientRegistry:
        reads.append(registry)
        return start(registry, *seconds)

    monkeypatch.setattr(ClientRegistry, "start", counted)
    run("add", "all", "--role", "operator")
    assert "all clients" in run("set", "all", "--payloads")
    assert run("list").splitlines()[1].split() == ["all", "operator", "yes", "all", "never"]
    # Who sees every client needs none of their names.
    assert reads == []

    for name in ("bank", "shop"):
        add_client(servers, name, partitions=1)
    run("add", "kim", "--client", "shop", "--client", "bank")
    run("add", "lee", "--client", "bank")
    reads.clear()
    rows = [json.loads(line) for line in run("list", "--json").splitlines()]
    assert [(row["name"], row["clients"]) for row in rows] == [
        ("all", None),
        ("kim", ["shop", "bank"]),
        ("lee", ["bank"]),
    ]
    assert len(reads) == 1
