"""Structs that several threads decode for the first time at once: the process lives on."""

import subprocess
import sys
from collections import Counter

#: In a process of its own, which ends with a segmentation fault where msgspec is asked by each thread for itself.
THREADS = """
import sys, threading, msgspec
from backbeat.schemas.requests.decoding import from_json, from_msgpack, prepare
from backbeat.streams.core.records import Meta
sys.setswitchinterval(1e-6)
meta = Meta(high_water={1: (1, 2)})
together = threading.Barrier(8)
seen = []
def first(decode):
    together.wait()
    seen.append(decode() == meta)
packed, text = msgspec.msgpack.encode(meta), msgspec.json.encode(meta)
def converted():
    prepare(Meta)
    return msgspec.convert(msgspec.msgpack.decode(packed), Meta)
ways = [lambda: from_msgpack(packed, Meta), lambda: from_json(text, Meta), converted]
threads = [threading.Thread(target=first, args=(ways[number % 3],)) for number in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(seen == [True] * 8)
"""
RUNS = 20


def test_threads_that_decode_a_struct_for_the_first_time_at_once_do_not_end_the_process():
    def run():
        return subprocess.run([sys.executable, "-c", THREADS], check=False, capture_output=True, text=True)

    runs = [run() for _ in range(RUNS)]
    assert Counter((ended.returncode, ended.stdout.strip()) for ended in runs) == {(0, "True"): RUNS}, runs[0].stderr
