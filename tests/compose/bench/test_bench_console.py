"""The console's figures: a hundred pages may be open at once, though a browser is told of changes on few of its own."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from backbeat.compose.bench import console
from backbeat.compose.cli.errors import SetupError
from backbeat.gateway.console.live.hub import STREAMS_OF_SESSION_MAX

pytestmark = pytest.mark.integration


async def test_a_hundred_pages_are_open_at_once():
    async with console.ConsoleRig() as rig, AsyncExitStack() as opened:
        await console.open_pages(rig, opened, ["t=figures"] * 100)
        for _ in range(STREAMS_OF_SESSION_MAX):
            await opened.enter_async_context(rig.open_page("t=figures", "browser"))
        with pytest.raises(SetupError, match="answered with 204"):
            await opened.enter_async_context(rig.open_page("t=figures", "browser"))
