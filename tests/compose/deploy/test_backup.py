"""Backup and restore as docs/how-to/back-up.md says: the brokers' directories, and nothing else."""

from __future__ import annotations

import shutil
import sys

import pytest

from backbeat import Client
from backbeat.compose.local.child_process import ChildProcess
from backbeat.compose.local.stack import Stack

pytestmark = [pytest.mark.prove, pytest.mark.integration]


async def test_what_is_put_back_goes_on_where_the_backup_was_taken(tmp_path):
    with Stack(tmp_path / "first", partitions=4) as stack:
        async with Client(stack.bootstrap_servers) as client:
            signal = await client.signal("Purchases", "Camera 703", "Make Purchase", args={"customer": "Ada"})
            before = str(await client.tree(signal.workflow_id))
    shutil.copytree(tmp_path / "first" / "kafka", tmp_path / "second" / "kafka")
    shutil.rmtree(tmp_path / "first")

    with Stack(tmp_path / "second") as stack:
        async with Client(stack.bootstrap_servers) as client:
            assert str(await client.tree(signal.workflow_id)) == before
            worker = ChildProcess(
                "worker",
                [
                    sys.executable,
                    "-m",
                    "backbeat.compose.demo.worker",
                    stack.bootstrap_servers,
                    str(tmp_path / "ledger"),
                ],
                log_path=tmp_path / "worker.log",
                pid_path=tmp_path / "worker.pid",
            )
            worker.start()
            try:
                done = await (await client.node(signal.id)).result(timeout=120)
            finally:
                worker.stop()
            assert done == {"reserved for": "Ada"}
