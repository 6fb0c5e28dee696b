"""Figure (console): pages of the console over many nodes: time in the gateway, and bytes as they are sent."""

from __future__ import annotations

import asyncio
import gzip
import re
import time
from statistics import median

import msgspec

from backbeat.compose.bench.figure import Figure
from backbeat.compose.bench.http_rig import HttpRig
from backbeat.compose.bench.prepared_commands import Maker, subject_of
from backbeat.compose.bench.rig import ALONE, Raw, Say
from backbeat.compose.cli.errors import SetupError
from backbeat.compose.local.stack import Stack
from backbeat.gateway.console.rendering import read_static_files
from backbeat.payload.values import id_text
from backbeat.schemas.codec import encode_command
from backbeat.schemas.kafka.topics import ACTIVITIES_PREFIX
from backbeat.schemas.messages import commands, ids

NODES = 1_000_000
_LEAVES = 100_000
#: Nodes that have failed, of two causes: one in so many.
_FAILED_EVERY = 10
_REPEATS = 20
_OK = 200
_NODE = re.compile(rb'data-node="([0-9a-f-]+)"')
#: Goals of the design for two cores: milliseconds, kB as sent.
GOALS = {
    "overview": (15, 12),
    "workflows": (100, 20),
    "nodes": (100, 20),
    "tree": (60, 25),
    "unfold 1,000": (150, 45),
    "node": (60, 15),
    "stuck": (20, 15),
    "timeline": (100, 25),
}


class ConsoleRig(HttpRig):
    """A rig whose gateway has the console, and lets everybody in."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = Stack(ephemeral=True, long_lived=True, engines=0, gateways=[["--ui=on", "--ui-login=none"]])

    async def page(self, address: str) -> tuple[float, bytes]:
        """Milliseconds until a page is there, and the page as it is sent: compressed."""
        began_at = time.perf_counter()
        headers = {"Accept-Encoding": "gzip"}
        url = f"{self.stack.http_urls[0]}/ui/{address}"
        async with self._session.get(url, headers=headers, auto_decompress=False) as response:
            body = await response.read()
            if response.status != _OK:
                raise SetupError(f"/ui/{address} was answered with {response.status}")
        return (time.perf_counter() - began_at) * 1_000, body


async def pages(nodes: int, say: Say) -> Figure:
    """Pages of the console over so many nodes, of which a tenth has failed."""
    say("(console) starting Kafka, an engine and a gateway")
    async with ConsoleRig() as rig:
        return await rig.supervise(_measured(rig, nodes, say))


async def _measured(rig: ConsoleRig, nodes: int, say: Say) -> Figure:
    maker = Maker(rig.user_id, rig.partitions)
    leaves = min(_LEAVES, nodes)
    began_at = time.monotonic()
    for number in range(max(1, nodes // leaves)):
        fan = maker.fan(subject_of(number, "console"), leaves)
        await _sent(rig, fan.commands, leaves + 1)
        # The first workflow has one failed node; of the others every tenth has failed.
        failed = fan.children[-10:-9] if number == 0 else fan.children[::_FAILED_EVERY]
        await asyncio.to_thread(rig.publish, [_failure(rig, node, place) for place, node in enumerate(failed)])
        say(f"(console) {(number + 1) * leaves:,} nodes after {time.monotonic() - began_at:.0f} s")
    await rig.until_settled()
    workflow = id_text(maker.workflow_id(subject_of(0, "console")))
    _, body = await rig.page(f"workflows/{workflow}?open=,")
    found = _NODE.search(gzip.decompress(body))
    assert found is not None, "a workflow has a node"
    signal = found[1].decode()
    addresses = {
        "overview": "",
        "workflows": "workflows",
        "nodes": "nodes?status=retries_exhausted",
        "tree": f"workflows/{workflow}",
        "unfold 1,000": f"workflows/{workflow}/rows?parent={signal}&limit=1000",
        "node": f"nodes/{signal}",
        "stuck": "stuck",
        "timeline": f"workflows/{workflow}/timeline?below={signal}",
    }
    figures: Figure = {"nodes": nodes}
    for name, address in addresses.items():
        # The first reading of what pages share is not theirs.
        await rig.page(address)
        measured = [await rig.page(address) for _ in range(_REPEATS)]
        times, size = [taken for taken, _ in measured], max(len(body) for _, body in measured)
        goal_ms, goal_kb = GOALS[name]
        figures[name] = {
            "p50_ms": round(median(times), 1),
            "worst_ms": round(max(times), 1),
            "kb": round(size / 1e3, 1),
        }
        say(f"(console) {name}: {median(times):.0f} ms (goal {goal_ms}), {size / 1e3:.1f} kB (goal {goal_kb})")
    files = sum(len(gzip.compress(file.body, 5)) for file in read_static_files().values())
    figures["assets"] = {"kb": round(files / 1e3, 1)}
    say(f"(console) assets, once: {files / 1e3:.1f} kB")
    return figures


async def _sent(rig: ConsoleRig, records: list[Raw], dispatches: int) -> None:
    topic = f"{ACTIVITIES_PREFIX}{ALONE}"
    wanted = rig.count(topic) + dispatches
    await asyncio.to_thread(rig.publish, records)
    await rig.until(lambda: rig.count(topic) >= wanted, "the children")


def _failure(rig: ConsoleRig, node: bytes, place: int) -> Raw:
    message = f"connection refused by bank-{place % 7}:443" if place % 2 else f"550 mailbox <{place}> unknown"
    command = commands.ChangeNode(
        id=ids.command_id(b"console", node),
        user_id=rig.user_id,
        tid="",
        node_id=node,
        status="errored",
        response=msgspec.json.encode({"error": {"message": message}}),
        retriable=False,
        attempt=1,
    )
    return Raw(ids.partition_of(node, rig.partitions), encode_command(command))
