"""The engine's memory over millions of events. EVENTS says how many.

Each workflow gets signals that are answered at once, so every second command closes what the one before it opened:
memory has no reason to grow, whatever is on the disk. The arithmetic: 5,000 commands a second on two cores, with broker
and sender beside the engine, are 17 minutes for 5,000,000; and about 1 KB of disk a command.
"""

import os
import time

import psutil
import pytest

from backbeat.compose.local.kafka import KafkaBroker
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.commands import ChangeNode
from tests.integration.caller import node_of
from tests.integration.rig import rig

pytestmark = [pytest.mark.prove, pytest.mark.integration]

WORKFLOWS = 20_000
#: Commands sent, not answered yet.
AHEAD_MAX = 20_000
#: One in so many is asked for its answer, which paces the sender.
ASKED_EVERY = 2_000
#: What the newest fifth of the samples may have more than the second: allocators and caches breathe.
GROWTH_MAX = 1.08
MEBIBYTE = 1024 * 1024


def test_memory_stays_flat_over_millions_of_events(tmp_path):
    count = int(os.environ.get("EVENTS") or 5_000_000)
    with KafkaBroker(tmp_path / "kafka") as broker, rig(broker.bootstrap_servers, tmp_path / "data") as engine:
        # The activities are nobody's: what a worker would say of them is known beforehand.
        engine.hand.close()
        process = psutil.Process(engine.stack.engine_pids[0])
        samples = []
        waiting = []
        began = time.monotonic()
        for number in range(count // 2):
            signal = engine.caller.signal(b'"Camera %d"' % (number % WORKFLOWS), identity=number.to_bytes(16, "big"))
            engine.caller.send(signal)
            node = node_of(signal)
            done = ChangeNode(
                id=ids.command_id(node), user_id=engine.user, tid="t", node_id=node, status="completed", attempt=1
            )
            if number % (ASKED_EVERY // 2):
                engine.caller.send(done)
                continue
            waiting.append(engine.caller.begin(done))
            if len(waiting) > AHEAD_MAX // ASKED_EVERY:
                assert engine.caller.wait(waiting.pop(0)).changed
                samples.append(process.memory_info().rss)
            if number % (count // 40) < ASKED_EVERY // 2:
                rate = number * 2 / (time.monotonic() - began)
                print(
                    f"{number * 2:>9} events, {rate:6.0f}/s, {process.memory_info().rss / MEBIBYTE:.1f} MiB", flush=True
                )
        for answer_number in waiting:
            assert engine.caller.wait(answer_number).changed
        fifth = len(samples) // 5
        parts = [max(samples[start : start + fifth]) for start in range(0, fifth * 5, fifth)]
        print("most in each fifth of the run:", [f"{part / MEBIBYTE:.1f} MiB" for part in parts])
        assert engine.stack.engine_pids[0] == process.pid, "the engine ended on the way"
        assert parts[-1] < parts[1] * GROWTH_MAX
