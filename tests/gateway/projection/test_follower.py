"""The projection behind a real Kafka and engine: it holds what was answered, resumes, and is built again."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from backbeat.compose.cli.processes.projection import projection as projection_command
from backbeat.gateway.projection import NodeFilters, Projection, ProjectionUnavailable, WorkflowFilters
from backbeat.gateway.projection.reading import search
from backbeat.gateway.projection.storage import facts
from backbeat.gateway.projection.storage.database import begin_writing, open_engine, parse_url
from backbeat.schemas.messages.commands import ChangeNode
from backbeat.schemas.messages.status import ServerStatus
from backbeat.schemas.messages.values import NewNode
from tests.integration.caller import node_of
from tests.integration.rig import rig
from tests.streams.observe.scrape import documented, get, scrape, shown
from tests.waiting import until_async

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def system(kafka, tmp_path_factory):
    # Commits are far apart: what is found without waiting for one was flushed.
    with rig(kafka, tmp_path_factory.mktemp("stack"), partitions=4, BACKBEAT_COMMIT_INTERVAL_SECONDS="20") as row:
        yield row


@pytest.fixture
def project(system, database_url):
    """Makes projections on the test's database."""

    def make():
        async def flush(partition):
            return partition, await asyncio.to_thread(system.caller.commit, partition)

        return Projection(system.kafka, database_url, flush=flush, partitions=system.stack.partitions)

    return make


class Running:
    """A projection for the length of a block."""

    def __init__(self, projection):
        self.projection = projection

    async def __aenter__(self):
        await self.projection.start()
        return self.projection

    async def __aexit__(self, *_):
        await self.projection.stop()


async def until_whole(projection, seconds=60.0):
    """The first answer."""
    deadline = time.monotonic() + seconds
    while True:
        assert time.monotonic() < deadline, projection.trouble
        try:
            return await projection.workflow_names(bytes(16))
        except ProjectionUnavailable:
            await asyncio.to_thread(projection._follower.progress.wait_for, lambda: projection.is_whole, 1.0)


async def test_a_search_sees_every_write_that_was_answered_before_it(system, project, unique):
    async with Running(project()) as projection:
        await until_whole(projection)
        for number in range(10):
            subject = json.dumps(f"{unique} {number}").encode()
            sent = system.caller.signal(subject, metadata=b'{"place":"%s"}' % unique.encode())
            node = await asyncio.to_thread(system.caller.ask, sent)
            assert await projection.freshen(30.0) == 0.0
            (matches, *_) = await projection.search_workflows(system.user, WorkflowFilters(subject_contains=unique))
            assert matches == await asyncio.to_thread(system.caller.workflow, node.workflow_id)
            nodes = await projection.search_nodes(system.user, NodeFilters(metadata_contains=unique))
            assert len(nodes) == number + 1
            assert nodes[-1] == await asyncio.to_thread(system.caller.node, node.id)


async def test_asks_for_freshness_are_joined(system, project):
    flushes = []
    projection = project()
    flush = projection._flush

    async def counting(partition):
        flushes.append(partition)
        return await flush(partition)

    projection._flush = counting
    async with Running(projection):
        await until_whole(projection)
        assert await asyncio.gather(*(projection.freshen(30.0) for _ in range(50))) == [0.0] * 50
        assert sorted(flushes) == [0, 1, 2, 3]


async def test_where_nobody_commits_the_answer_says_how_old_it_may_be(project):
    projection = project()

    async def never(_):
        await asyncio.Event().wait()

    projection._flush = never
    async with Running(projection):
        await until_whole(projection)
        stale = await projection.freshen(0.2)
        assert stale > 0.1


async def test_it_goes_on_where_it_stopped(system, project, unique, database_url):
    subject = json.dumps(unique).encode()
    async with Running(project()) as projection:
        await until_whole(projection)
        await asyncio.to_thread(system.caller.ask, system.caller.signal(subject))
        assert await projection.freshen(30.0) == 0.0
        read = projection.records
        assert read > 0
    async with Running(project()) as projection:
        await until_whole(projection)
        assert await projection.freshen(30.0) == 0.0
        assert len(await projection.search_workflows(system.user, WorkflowFilters(subject_contains=unique))) == 1
        assert projection.records <= 8, "it has read more than the last commits' meta records"


@pytest.mark.parametrize("kind", ["topic", "version", "offset", "asked"])
async def test_what_does_not_fit_is_built_anew(system, project, unique, database_url, kind):
    subject = json.dumps(unique).encode()
    async with Running(project()) as projection:
        await until_whole(projection)
        await asyncio.to_thread(system.caller.ask, system.caller.signal(subject))
        assert await projection.freshen(30.0) == 0.0
        if kind == "asked":
            spoil(database_url, kind)
            deadline = time.monotonic() + 120
            while generation(database_url) == 1:
                assert time.monotonic() < deadline
                await asyncio.to_thread(projection._follower.progress.wait_for, lambda: False, 0.1)
    if kind != "asked":
        spoil(database_url, kind)
    async with Running(project()) as projection:
        await until_whole(projection)
        assert generation(database_url) == 2
        assert await projection.freshen(30.0) == 0.0
        assert len(await projection.search_workflows(system.user, WorkflowFilters(subject_contains=unique))) == 1


def spoil(database_url, kind):
    engine = open_engine(parse_url(database_url))
    with begin_writing(engine) as connection:
        if kind == "asked":
            facts.ask_for_rebuild(connection)
        else:
            connection.execute(
                text(
                    {
                        "topic": "UPDATE facts SET value = 'another' WHERE name = 'topic_id'",
                        "version": "UPDATE facts SET value = '0' WHERE name = 'schema_version'",
                        "offset": "UPDATE positions SET next_offset = 1000000000",
                    }[kind]
                )
            )
    engine.dispose()


def generation(database_url):
    engine = open_engine(parse_url(database_url))
    try:
        with engine.begin() as connection:
            return facts.read_facts(connection).generation
    finally:
        engine.dispose()


async def test_one_follows_and_the_other_takes_over(system, project, unique):
    async with Running(project()) as second:
        async with Running(project()) as first:
            await until_whole(first)
            await until_whole(second)
            await asyncio.to_thread(system.caller.ask, system.caller.signal(json.dumps(unique).encode()))
            for row in (first, second):
                assert await row.freshen(30.0) == 0.0
                assert len(await row.search_workflows(system.user, WorkflowFilters(subject_contains=unique))) == 1
        await asyncio.to_thread(system.caller.ask, system.caller.signal(json.dumps(unique + "b").encode()))
        assert await second.freshen(30.0) == 0.0
        assert len(await second.search_workflows(system.user, WorkflowFilters(subject_contains=unique))) == 2


async def test_a_large_cancel_is_seen_whole_at_once(system, project, unique):
    parent = await asyncio.to_thread(system.signal, json.dumps(unique).encode())
    children = tuple(NewNode(name=unique, user_id=system.user) for _ in range(900))
    await asyncio.to_thread(system.say, parent, "processing")
    await asyncio.to_thread(system.say, parent, "completed", children=children, ordinal=1)
    async with Running(project()) as projection:
        await until_whole(projection)
        sent = system.caller.signal(json.dumps(unique).encode(), name="last")
        last = await asyncio.to_thread(system.caller.ask, sent)
        assert last.id == node_of(sent)
        node = await asyncio.to_thread(system.caller.node, parent.id)
        # Nobody's attempt: an operator's word.
        cancel = ChangeNode(id=os.urandom(16), user_id=system.user, node_id=node.id, status="canceled")
        await asyncio.to_thread(system.caller.ask, cancel)
        assert await projection.freshen(30.0) == 0.0
        gone = NodeFilters(name=unique, current_status="deactivated", per_page=1000)
        matches = await projection.search_nodes(system.user, gone)
        assert len(matches) == 900
        assert {row.server for row in matches} == {ServerStatus.DEACTIVATED}


async def test_without_kafka_it_says_so_and_nothing_else_breaks(database_url):
    async def flush(partition):
        raise AssertionError(partition)

    projection = Projection("127.0.0.1:1", database_url, flush=flush, partitions=1)
    async with Running(projection):
        with pytest.raises(ProjectionUnavailable):
            await projection.search_nodes(bytes(16), NodeFilters(name="x"))


async def test_the_command_line_says_how_far_it_is_and_has_it_built_anew(system, project, unique, database_url):
    words = ["--bootstrap-servers", system.kafka, "--database-url", database_url]

    async def run(name, *more):
        done = await asyncio.to_thread(CliRunner().invoke, projection_command, [name, *words, *more])
        assert done.exit_code == 0, done.output
        return done.output

    async with Running(project()) as projection:
        await until_whole(projection)
        await asyncio.to_thread(system.caller.ask, system.caller.signal(json.dumps(unique).encode()))
        assert await projection.freshen(30.0) == 0.0
        before = json.loads(await run("status", "--json"))
        assert (before["state"], before["generation"]) == ("whole", 1)
        assert before["rows"]["nodes"] > 0
        # The gateway that runs does it, and goes on.
        assert "Built in" in await run("rebuild")
        await until_whole(projection)
        after = json.loads(await run("status", "--json"))
        assert (after["state"], after["generation"], after["rows"]) == ("whole", 2, before["rows"])
        assert re.search(r"^generation +2$", await run("status"), re.MULTILINE)
    # Nobody follows: the command does it.
    assert "Built in" in await run("rebuild")
    assert json.loads(await run("status", "--json"))["generation"] == 3


async def test_a_process_of_its_own_follows_until_it_is_stopped(system, unique, database_url):
    words = ["--bootstrap-servers", system.kafka, "--database-url", database_url, "--status-port", "0"]
    command = [sys.executable, "-m", "backbeat.compose", "projection", "follow", *words]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    try:
        url = (await process.stdout.readline()).decode().removeprefix("backbeat projection status: ").strip()
        assert await process.stdout.readline() == b"backbeat projection ready\n"
        assert await asyncio.to_thread(get, f"{url}/live") == (200, "ok\n")
        sent = system.caller.signal(json.dumps(unique).encode(), name=unique)
        await asyncio.to_thread(system.caller.ask, sent)
        for partition in range(system.stack.partitions):
            await asyncio.to_thread(system.caller.commit, partition)
        engine = open_engine(parse_url(database_url))

        def search_whole():
            with engine.begin() as connection:
                if facts.read_facts(connection).whole:
                    return search.search_nodes(connection, system.user, NodeFilters(name=unique))
                return []

        matches = await until_async(search_whole)
        assert [row.id for row in matches] == [node_of(sent)]
        engine.dispose()
        deadline = time.monotonic() + 120
        while (await asyncio.to_thread(get, f"{url}/ready")) != (200, "ok\n"):
            assert time.monotonic() < deadline
        figures = await asyncio.to_thread(scrape, url)
        assert shown(figures) == documented("projection")
        assert figures["backbeat_projection_following"] == figures["backbeat_projection_writing"] == {"": 1}
        assert figures["backbeat_projection_records"][""] > 0
        assert figures["backbeat_projection_batch_seconds_count"][""] > 0
        partitions = {str(number) for number in range(system.stack.partitions)}
        assert set(figures["backbeat_projection_lag_records"]) == partitions
        assert set(figures["backbeat_projection_position_offset"]) == partitions
        assert max(figures["backbeat_projection_position_offset"].values()) > 0
        process.terminate()
        _, output = await process.communicate()
        assert process.returncode == 0, output
        assert b"the projection is whole" in output
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
