"""TCP proxy of a drill: slow, lossy or cut one way, as a file says at the moment. A process of its own.

    python -m backbeat.compose.drill.faults.proxy KNOB PORT:TARGET …

The file is JSON, and missing where nothing is wrong: `delay_ms` (each way), `cut` (`up`, `down` or `both`: bytes that
way wait, connections stay), `loss` (0 to 1: a part of the pieces breaks its connection), `kilobytes_per_second`.
Bytes are never dropped from within a stream: TCP would not, either.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from pathlib import Path
from typing import Literal

import msgspec

from backbeat.compose.local.ports import LOOPBACK
from backbeat.schemas.requests.decoding import from_json

_LOOK_SECONDS = 0.1
_PIECE_BYTES = 64 * 1024


class Weather(msgspec.Struct, frozen=True, kw_only=True):
    """State of the network."""

    delay_ms: float = 0
    cut: Literal["", "up", "down", "both"] = ""
    loss: float = 0
    kilobytes_per_second: float = 0


class Proxy:
    """All routes, under one weather."""

    def __init__(self, knob: Path) -> None:
        self._knob = knob
        self._weather = Weather()

    async def look(self) -> None:
        """Follow the file, for ever. A file that is no weather is fair weather, said once."""
        last = b""
        while True:
            try:
                content = self._knob.read_bytes()
            except FileNotFoundError:
                content = b""
            if content != last:
                last = content
                try:
                    self._weather = from_json(content, Weather) if content else Weather()
                except msgspec.DecodeError as error:
                    print(f"{self._knob}: {error}", flush=True)
                print(self._weather, flush=True)
            await asyncio.sleep(_LOOK_SECONDS)

    async def serve(self, port: int, target: int) -> None:
        """Listen on a port and pass on to another."""

        async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                far_reader, far_writer = await asyncio.open_connection(LOOPBACK, target)
            except OSError:
                writer.close()
                return
            ways = [
                asyncio.create_task(self._pass(reader, far_writer, "up")),
                asyncio.create_task(self._pass(far_reader, writer, "down")),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for each in (writer, far_writer):
                each.close()

        await asyncio.start_server(connect, LOOPBACK, port)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(_PIECE_BYTES):
                if self._weather.delay_ms:
                    await asyncio.sleep(self._weather.delay_ms / 1000)
                if self._weather.kilobytes_per_second:
                    await asyncio.sleep(len(piece) / 1024 / self._weather.kilobytes_per_second)
                if self._weather.loss and random.random() < self._weather.loss:  # noqa: S311 - weather is no secret
                    return
                while self._weather.cut in (way, "both"):  # noqa: ASYNC110 - the file has no event
                    await asyncio.sleep(_LOOK_SECONDS)
                writer.write(piece)
                await writer.drain()


async def _main() -> None:
    knob, *routes = sys.argv[1:]
    proxy = Proxy(Path(knob))
    for route in routes:
        port, target = map(int, route.split(":"))
        await proxy.serve(port, target)
    print("proxy ready", flush=True)
    await proxy.look()


if __name__ == "__main__":
    asyncio.run(_main())
