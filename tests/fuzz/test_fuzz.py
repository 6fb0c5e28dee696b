"""Generated and mutated records of every topic that others may write: nothing ends, nothing else changes.

A find says its seed: `BACKBEAT_FUZZ_SEED=… pytest tests/fuzz` repeats it. What was found is a case of its own in
`tests/streams/engine/test_poison.py`. Coverage need not guide it: the schemas say what a record is made of, and what
is stored says which ids to name.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path

import pytest

from backbeat.schemas import codec
from backbeat.schemas.catalogue import RECORDS
from backbeat.schemas.cron import RecurrenceError, times_after
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.kafka.clients import ClientError, decode_client

from .generator import Generator
from .world import Fuzzed

_SEED = os.environ.get("BACKBEAT_FUZZ_SEED")
_RECORDS = int(os.environ.get("BACKBEAT_FUZZ_RECORDS") or 10_000_000)
_RECORDS_OF_A_SEED = 20_000
# The same in every process that shares the tests. New ones are drawn by `make prove`.
_SEEDS = [int(_SEED)] if _SEED else [1, 2, 3]


@pytest.fixture(autouse=True)
def _quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def run(seed: int, folder: Path, records: int) -> Fuzzed:
    world = Fuzzed(seed, folder / str(seed))
    try:
        for number in range(records):
            try:
                world.step()
            except BaseException as error:
                error.add_note(f"seed {seed}, record {number}")
                raise
    finally:
        world.close()
    return world


@pytest.mark.parametrize("seed", _SEEDS)
def test_commands_queries_and_signals(tmp_path, seed):
    world = run(seed, tmp_path, 2_000)
    assert world.engine.counts["commands"] > 2_000
    assert world.sent["backbeat.activities.shop"] > 20


@pytest.mark.parametrize("seed", _SEEDS)
def test_whatever_is_read_is_a_value_or_a_decode_error(seed):
    generator = Generator(seed, 4)
    readers = {"Activity": codec.decode_activity, "StatusChanges": codec.decode_status_changes}
    for _ in range(2_000):
        name = generator.chance.choice(sorted(RECORDS))
        value = generator.record(name)
        for read in {readers.get(name, codec.decode_reply), codec.decode_query, codec.decode_command}:
            try:
                read(value)
            except DecodeError:
                continue


@pytest.mark.parametrize("seed", _SEEDS)
def test_clients_and_schedules(seed):
    generator = Generator(seed, 4)
    taken = 0
    for _ in range(2_000):
        try:
            _, client = decode_client(*generator.client())
        except ClientError:
            continue
        assert client is not None
        taken += bool(client.topic)
    assert taken > 30
    worked_out = 0
    for _ in range(1_000):
        plan, after = generator.plan(), generator.time()
        try:
            times = list(islice(times_after(plan, after), 3))
        except RecurrenceError:
            continue
        assert times == sorted(set(times))
        assert all(at > after for at in times)
        worked_out += bool(times)
    assert worked_out > 20


def _run_quietly(seed: int, folder: Path) -> int:
    logging.disable(logging.CRITICAL)
    run(seed, folder, _RECORDS_OF_A_SEED)
    shutil.rmtree(folder / str(seed))
    return seed


@pytest.mark.prove
def test_ten_million_records(tmp_path):
    seeds = random.sample(range(10**9), max(1, _RECORDS // _RECORDS_OF_A_SEED))
    with ProcessPoolExecutor() as processes:
        for done, seed in enumerate(processes.map(_run_quietly, seeds, [tmp_path] * len(seeds)), 1):
            print(f"{done * _RECORDS_OF_A_SEED} records, seed {seed}", flush=True)
