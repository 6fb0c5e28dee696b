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


def test_damaged_stores_are_made_anew_after_kill_9_and_nothing_is_missing(own_kafka, tmp_path):
    with install(own_kafka, tmp_path) as one:
        work(one)
        commit_all(one)
        one.stop()  # Whatever is in memory is written out.
        stored = [without_meta(one.scan(partition)) for partition in range(PARTITIONS)]
        one.start()
        before = trees(one)
        assert all(before)
        one.kill()
        for partition in range(PARTITIONS):
            damage(one.path(partition), partition)
        one.start()
        assert trees(one) == before
        repaired = re.findall(SET_ASIDE, one.log())
        assert sorted(int(number) for number, _ in repaired) == list(range(PARTITIONS))
        assert all(Path(aside).is_dir() for _, aside in repaired)
        figures = scrape(one.stack.status_urls[0])
        assert figures["backbeat_engine_stores_set_aside"][""] == PARTITIONS
        assert figures["backbeat_engine_disk_free_bytes"][""] > 0
        one.stop()
        assert [without_meta(one.scan(partition)) for partition in range(PARTITIONS)] == stored


def refuse_second_engine(one, kafka):
    """A second engine on one data directory says who has it, and leaves the first alone."""
    words = ["engine", "--development", "--instance-id", "other", "--bootstrap-servers", kafka, "--log-format", "text"]
    words += ["--data-dir", str(one.stack.data_dir / "engine-1")]
    command = [sys.executable, "-m", "backbeat.compose", *words]
    second = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS_MAX, check=False)
    assert second.returncode == 4, second.stderr
    line = second.stderr.splitlines()[-1]
    assert "CRITICAL" in line
    assert f"is in use by another engine (pid {one.stack.engine_pids[0]}). What to do: stop that one" in line
    assert "Traceback" not in second.stderr
    assert one.caller.ask(one.caller.signal(b'"still here"')).id


def test_a_second_engine_is_refused_and_tables_that_are_cut_under_the_first_are_noticed_and_it_goes_on(
    own_kafka, tmp_path
):
    with install(own_kafka, tmp_path) as one:
        nodes = work(one)
        refuse_second_engine(one, own_kafka)
        commit_all(one)
        one.stop()
        one.start()
        pid = one.stack.engine_pids[0]
        for partition in range(PARTITIONS):
            for table in one.path(partition).glob("*.sst"):
                os.truncate(table, 40)
        found = trees(one)
        assert one.say(nodes[2]).changed
        assert re.findall(SET_ASIDE, one.log())
        assert one.stack.engine_pids[0] == pid
        one.kill()
        one.start()
        assert trees(one)[0] == found[0]
        assert len(trees(one)) == 12


def test_an_engine_on_a_full_disk_waits_and_goes_on_by_itself(own_kafka, tmp_path):
    with small_disk(tmp_path / "engine-1", 64) as disk, install(own_kafka, tmp_path) as one:
        pid, status = one.stack.engine_pids[0], one.stack.status_urls[0]
        filler = fill(disk)
        # More than RocksDB keeps in memory, for every partition; and nothing that could be compressed.
        chance = random.Random(1)
        sent = [
            one.caller.begin(
                one.caller.signal(
                    b'"%d"' % number, client_data=b'{"x":"%s"}' % chance.randbytes(100_000).hex().encode()
                )
            )
            for number in range(PARTITIONS * 40)
        ]
        until(lambda: "is full (0." in one.log(), "the disk is full", START_SECONDS_MAX)
        code, text = get(f"{status}/ready")
        assert code == 503
        assert "is full: the engine goes on when there is room" in text
        assert scrape(status)["backbeat_engine_disk_full"][""] == 1
        filler.unlink()
        for number in sent:
            assert one.caller.wait(number).id
        commit_all(one)
        until(lambda: get(f"{status}/ready")[0] == 200, "it is ready")
        assert one.stack.engine_pids[0] == pid
        assert one.log().count("is full (0.") == 1

        one.kill()
        filler = fill(disk)
        waiting = one.caller.begin(one.caller.signal(b'"while the disk was full"'))
        one.stack.start_engine(0)
        until(lambda: one.log().count("is full (0.") == 2, "it waits at its start", START_SECONDS_MAX)
        filler.unlink()
        assert one.caller.wait(waiting).id
        one.stop()
