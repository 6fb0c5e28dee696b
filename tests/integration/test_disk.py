"""A real engine whose disk fails it: files that vanish or change, while it is down and while it runs, and no room."""

import os
import random
import re
import subprocess
import sys
from pathlib import Path

from tests.integration.installation import install
from tests.integration.rig import PARTITIONS, START_SECONDS_MAX
from tests.integration.test_restore import commit_all, trees, without_meta, work
from tests.streams.observe.scrape import get, scrape
from tests.streams.state.small_disk import fill, small_disk
from tests.waiting import until

SET_ASIDE = r"partition (\d): .*It is made anew from the changelog; the damaged one is kept in (\S+)"


def damage(path, partition):
    """Another damage for each partition."""
    tables = sorted(path.glob("*.sst"))
    assert tables, "everything is in memory"
    match partition:
        case 0:
            (path / "CURRENT").unlink()
        case 1:
            (manifest,) = path.glob("MANIFEST-*")
            os.truncate(manifest, 10)
        case 2:
            tables[0].write_bytes(random.Random(1).randbytes(tables[0].stat().st_size))
        case _:
            tables[0].unlink()


def test_damaged_stores_are_made_anew_after_kill_9_and_nothing_is_missing(kafka, tmp_path):
    with install(kafka, tmp_path) as system:
        work(system)
        commit_all(system)
        system.stop()  # Whatever is in memory is written out.
        stored = [without_meta(system.scan(partition)) for partition in range(PARTITIONS)]
        system.start()
        before = trees(system)
        assert all(before)
        system.kill()
        for partition in range(PARTITIONS):
            damage(system.path(partition), partition)
        system.start()
        assert trees(system) == before
        repaired = re.findall(SET_ASIDE, system.log())
        assert sorted(int(number) for number, _ in repaired) == list(range(PARTITIONS))
        assert all(Path(aside).is_dir() for _, aside in repaired)
        figures = scrape(system.stack.status_urls[0])
        assert figures["backbeat_engine_stores_set_aside"][""] == PARTITIONS
        assert figures["backbeat_engine_disk_free_bytes"][""] > 0
        system.stop()
        assert [without_meta(system.scan(partition)) for partition in range(PARTITIONS)] == stored


def refuse_second_engine(system, kafka):
    """A second engine on one data directory says who has it, and leaves the first alone."""
    words = ["engine", "--development", "--instance-id", "other", "--bootstrap-servers", kafka, "--log-format", "text"]
    words += ["--data-dir", str(system.stack.data_dir / "engine-1")]
    command = [sys.executable, "-m", "backbeat.compose", *words]
    second = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS_MAX, check=False)
    assert second.returncode == 4, second.stderr
    line = second.stderr.splitlines()[-1]
    assert "CRITICAL" in line
    assert f"is in use by another engine (pid {system.stack.engine_pids[0]}). What to do: stop that one" in line
    assert "Traceback" not in second.stderr
    assert system.caller.ask(system.caller.signal(b'"still here"')).id


def test_a_second_engine_is_refused_and_tables_that_are_cut_under_the_first_are_noticed_and_it_goes_on(kafka, tmp_path):
    with install(kafka, tmp_path) as system:
        nodes = work(system)
        refuse_second_engine(system, kafka)
        commit_all(system)
        system.stop()
        system.start()
        pid = system.stack.engine_pids[0]
        for partition in range(PARTITIONS):
            for table in system.path(partition).glob("*.sst"):
                os.truncate(table, 40)
        damaged_trees = trees(system)
        assert system.say(nodes[2]).changed
        assert re.findall(SET_ASIDE, system.log())
        assert system.stack.engine_pids[0] == pid
        system.kill()
        system.start()
        assert trees(system)[0] == damaged_trees[0]
        assert len(trees(system)) == 12


def test_an_engine_on_a_full_disk_waits_and_goes_on_by_itself(kafka, tmp_path):
    with small_disk(tmp_path / "engine-1", 64) as disk, install(kafka, tmp_path) as system:
        pid, status = system.stack.engine_pids[0], system.stack.status_urls[0]
        filler = fill(disk)
        # More than RocksDB keeps in memory, for every partition; and nothing that could be compressed.
        chance = random.Random(1)
        sent = [
            system.caller.begin(
                system.caller.signal(
                    b'"%d"' % number, client_data=b'{"x":"%s"}' % chance.randbytes(100_000).hex().encode()
                )
            )
            for number in range(PARTITIONS * 40)
        ]
        until(lambda: "is full (0." in system.log(), "the disk is full", START_SECONDS_MAX)
        code, text = get(f"{status}/ready")
        assert code == 503
        assert "is full: the engine goes on when there is room" in text
        assert scrape(status)["backbeat_engine_disk_full"][""] == 1
        filler.unlink()
        for number in sent:
            assert system.caller.wait(number).id
        commit_all(system)
        until(lambda: get(f"{status}/ready")[0] == 200, "it is ready")
        assert system.stack.engine_pids[0] == pid
        assert system.log().count("is full (0.") == 1

        system.kill()
        filler = fill(disk)
        waiting = system.caller.begin(system.caller.signal(b'"while the disk was full"'))
        system.stack.start_engine(0)
        until(lambda: system.log().count("is full (0.") == 2, "it waits at its start", START_SECONDS_MAX)
        filler.unlink()
        assert system.caller.wait(waiting).id
        system.stop()
