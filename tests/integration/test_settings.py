"""Settings go through the log, by the command line, and hold in every partition."""

import asyncio
import sys
from asyncio.subprocess import PIPE

import pytest

from backbeat import Client
from backbeat.errors import LimitExceeded
from tests.empty_kafka import stack_on


@pytest.fixture(scope="module")
def servers(kafka):
    with stack_on(kafka, partitions=2) as stack:
        yield stack.bootstrap_servers


async def run(servers, *words):
    """Lines that `backbeat settings` prints."""
    command = [sys.executable, "-m", "backbeat.compose", "settings", *words, "--bootstrap-servers", servers]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    stdout, stderr = await process.communicate()
    assert process.returncode == 0, stderr
    return stdout.decode().splitlines()


async def test_a_setting_is_shown_changed_and_holds(servers):
    assert "payload_bytes_max = 262144" in await run(servers, "show")
    assert await run(servers, "set", "payload_bytes_max=100", "depth_max=9") == [
        "payload_bytes_max = 100",
        "depth_max = 9",
    ]
    shown = await run(servers, "show")
    assert "payload_bytes_max = 100" in shown
    assert "depth_max = 9" in shown
    assert "children_max = 1000" in shown
    async with Client(servers) as client:
        for subject in range(4):  # Of both partitions.
            with pytest.raises(LimitExceeded, match="payload_bytes_max is 100"):
                await client.signal("w", subject, "s", client_data={"text": "x" * 200})


async def test_two_who_change_settings_at_the_same_time_lose_nothing(servers):
    await asyncio.gather(run(servers, "set", "children_max=11"), run(servers, "set", "json_depth_max=12"))
    shown = await run(servers, "show")
    assert "children_max = 11" in shown
    assert "json_depth_max = 12" in shown
