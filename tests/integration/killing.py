"""Workers that are killed (-9) at random while nodes run: nothing is lost, and each repeat can be known as one."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

from backbeat import Client
from tests.waiting import until_async

_SCRIPT = Path(__file__).with_name("killed_worker.py")
_WORKERS = 2


class Workers:
    """Two processes of one client application, and the file in which they note what they run."""

    def __init__(self, bootstrap: str, name: str, ledger: Path) -> None:
        self._command = [sys.executable, str(_SCRIPT), bootstrap, name, str(ledger)]
        ledger.touch()
        self._ledger = ledger
        self._processes = [self._start() for _ in range(_WORKERS)]

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, stderr=subprocess.DEVNULL)

    def kill_one(self, chance: random.Random) -> None:
        """Kill one of them and start another."""
        which = chance.randrange(_WORKERS)
        self._processes[which].kill()
        self._processes[which].wait()
        self._processes[which] = self._start()

    def lines(self) -> list[str]:
        return self._ledger.read_text().splitlines()

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait()


async def run(bootstrap: str, name: str, folder: Path, *, seed: int, count: int, kills: int) -> int:
    """Run `count` nodes, kill a worker each time that a part of them has run. How many runs were repeats."""
    chance = random.Random(seed)
    print(f"SEED={seed}")
    workers = Workers(bootstrap, name, folder / "ledger")
    try:
        async with Client(bootstrap, name) as client:
            node = await client.signal("Sale", "A", "Begin", args=[count])
            for at in sorted(chance.sample(range(2, count), kills)):
                await until_async(lambda at=at: len(workers.lines()) >= at)
                workers.kill_one(chance)
            await node.result(600)
            tree = await client.tree(node.workflow_id)
            ran = Counter(tuple(line.split()) for line in workers.lines())
            nodes = {below.id: below for _, below in tree.walk() if below.name != f"Work ({count})"}
            assert len(nodes) == count + 2
            assert {below.status for below in nodes.values()} == {"complete"}
            # Every node was run, and a repeat has the very same node and attempt: none was tried again for an error.
            assert set(ran) == {(identity, "1") for identity in nodes}
            repeated = [identity for (identity, _), runs in ran.items() if runs > 1]
            for identity in repeated:
                # Both runs answered, or one was killed before it could: either way there is one answer.
                changes = await client.history(identity)
                machine = "current_client_status"
                client_statuses = [change.to_status for change in changes if change.status_type == machine]
                assert client_statuses.count("complete") == 1
            return len(repeated)
    finally:
        workers.stop()
