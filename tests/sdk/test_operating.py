"""Operators' calls of the client, in memory: engines are there, what a gateway keeps is not."""

from __future__ import annotations

import pytest

from backbeat import Client, InvalidParameters, Unavailable
from backbeat.testing import Backbeat


async def test_engines_tell_of_themselves_in_memory() -> None:
    partitions = await Backbeat().client().engines()
    assert [partition.partition for partition in partitions] == list(range(len(partitions)))
    for partition in partitions:
        assert (partition.state, partition.engine) == ("ready", "memory")
        assert (partition.restored, partition.restore_left, partition.overdue_since) == (1.0, 0, None)


async def test_what_a_gateway_keeps_is_not_in_memory() -> None:
    client = Backbeat().client()
    with pytest.raises(Unavailable, match="answered by a gateway"):
        await client.dead_letters.list()
    with pytest.raises(Unavailable, match="answered by a gateway"):
        await client.archives.list()


async def test_who_asks_for_all_says_which_client_application_a_signal_is_of() -> None:
    async with Client(client="", transport=Backbeat().transport()) as client:
        with pytest.raises(InvalidParameters, match="one client application"):
            await client.signal("Sale", "A", "Buy")
        job = await client.jobs.start("retry", name="Buy", dry_run=True, note="why")
        assert (job.note, job.actor) == ("why", "")
        with pytest.raises(InvalidParameters, match="has 1001 characters"):
            await client.jobs.start("retry", name="Buy", note="x" * 1_001)
