"""Two thousand files are read, twenty at a time, and joined to an index of their words, with what each of them gave.

    backbeat dev                            # Kafka and an engine, in one terminal
    python -m backbeat.examples.pipeline    # 2,000 files, in another

Its test, on `backbeat.testing`: tests/sdk/testing/test_examples.py.
"""

import asyncio
import sys
from collections import Counter
from dataclasses import dataclass

from backbeat import Client, Fail, Limit, Results, Worker, activity, current

#: What stands for a disk: the text of each file; None: it cannot be read.
disk: dict[str, str | None] = {}
#: What stands for the place where indexes are kept, by the id of the node: what runs twice is done once.
indexes: dict[str, Counter[str]] = {}


@dataclass
class Words:
    """The words of a file."""

    file: str
    counts: dict[str, int]


@dataclass
class Index:
    """The outcome: how many files it has, its most common word, and the files that could not be read."""

    files: int
    most_common: str
    unreadable: list[str]


@activity("Index files")
async def index_files(files: list[str]) -> Index:
    """Read all of them side by side, and join them: results flow from one step to the next."""
    pipeline = current()
    words = pipeline.spread(read_file, files, failures_allowed=0.01)
    index = pipeline.add(write_index, files, words.results)
    checked = pipeline.add(check_index, index.result)
    return pipeline.returns(checked.result)


@activity("Read file", retries=5, backoff=1, limit=Limit(concurrency=20))
def read_file(file: str) -> Words:
    """A plain function runs in a thread of the worker. A file that is damaged is not read again."""
    text = disk[file]
    if text is None:
        raise Fail(f"{file} is damaged")
    return Words(file, dict(Counter(text.split())))


@activity("Write index")
async def write_index(files: list[str], words: Results[Words | None]) -> Index:
    """Go through the results page by page: however many there are, a few hundred are in memory."""
    total = Counter[str]()
    async for of_file in words:
        if of_file is not None:
            total.update(of_file.counts)
    indexes[current().id] = total
    unreadable = [files[failed.index] for failed in words.failed]
    ((most_common, _),) = total.most_common(1)
    return Index(len(words) - len(unreadable), most_common, unreadable)


@activity("Check index")
async def check_index(index: Index) -> Index:
    """Check the index that the step before it has returned."""
    if not index.files:
        raise Fail("nothing was read")
    return index


ACTIVITIES = (index_files, read_file, write_index, check_index)


def fill_disk(files: int, damaged: int = 3) -> list[str]:
    """Files to read, of which a few are damaged. Their names."""
    disk.update({f"{number:06}.txt": f"file number {number} of many files" for number in range(files)})
    disk.update({f"{number:06}.txt": None for number in range(files)[1::7][:damaged]})
    return sorted(disk)


async def main(bootstrap_servers: str = "127.0.0.1:9092", files: str = "2000") -> None:
    """Run a worker, index the files, and show what came of it."""
    names = fill_disk(int(files))
    worker = Worker(bootstrap_servers, activities=ACTIVITIES)
    running = asyncio.create_task(worker.run())
    async with Client(bootstrap_servers) as client:
        node = await client.signal("Indexes", "2026-11", index_files, names)
        print(await node.result(timeout=600))
    worker.stop()
    await running


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
